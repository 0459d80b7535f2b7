//! Pieces of sentences: numbers with separators, the beginnings of replies made harmless.

use std::borrow::Cow;

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

/// A URL as it may be shown: without the user and the password that it may name.
pub(super) fn url(url: &str) -> Cow<'_, str> {
    // Also where it is no proper one: the error shows it.
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |length| start + length);
    match url[start..end].rfind('@') {
        Some(at) => Cow::Owned(format!("{}{}", &url[..start], &url[start + at + 1..])),
        None => Cow::Borrowed(url),
    }
}

/// The beginning of a reply in quotes, in one line: control characters and what is no text are shown as escapes.
pub(super) fn beginning(bytes: &[u8], most: usize) -> String {
    let cut = bytes.len() > most;
    let mut text = String::from("\"");
    for chunk in bytes[..bytes.len().min(most)].utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                // Marks that turn the direction of writing can make a log line lie.
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    text.extend(character.escape_unicode());
                }
                _ if character.is_control() => text.extend(character.escape_default()),
                _ => text.push(character),
            }
        }
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
    fn urls_show_no_password() {
        for (given, shown) in [
            ("http://u:secret@h:80/a@b", "http://h:80/a@b"),
            ("http://h/x?mail=a@b", "http://h/x?mail=a@b"),
            ("http://a@b@h", "http://h"),
            ("/path://x", "/path://x"),
            ("/path@x", "/path@x"),
            ("http:u:secret@h/x", "h/x"),
        ] {
            assert_eq!(url(given), shown);
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
