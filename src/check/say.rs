//! Pieces of sentences: numbers with separators, the beginnings of replies made harmless.

use crate::value::shown::escaped;
pub(super) use crate::value::shown::url;

/// A number with a comma at each thousand.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 line`, `2,000 lines`.
pub(super) fn count(value: u64, thing: &str) -> String {
    format!("{} {thing}{}", number(value), if value == 1 { "" } else { "s" })
}

/// The beginning of a reply in quotes, in one line: control characters and what is no text are shown as escapes.
pub(super) fn beginning(bytes: &[u8], most: usize) -> String {
    let cut = bytes.len() > most;
    let mut text = String::from("\"");
    for chunk in bytes[..bytes.len().min(most)].utf8_chunks() {
        let quoted = chunk.valid().replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&escaped(&quoted));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.push_str(if cut { "…\"" } else { "\"" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, expected) in [(0, "0"), (999, "999"), (1_234, "1,234"), (1_048_576, "1,048,576")] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn beginnings_are_one_harmless_line() {
        assert_eq!(beginning(b"a\r\nb\x1b[31m\"\\", 64), r#""a\r\nb\u{1b}[31m\"\\""#);
        assert_eq!(beginning(b"caf\xe9", 64), r#""caf\xe9""#);
        assert_eq!(beginning("café".as_bytes(), 64), "\"café\"");
        assert_eq!(beginning(b"abcdef", 3), "\"abc…\"");
        assert_eq!(beginning("\u{202e}x".as_bytes(), 64), "\"\\u{202e}x\"");
    }
}
