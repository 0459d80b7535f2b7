//! Parts of reasons: numbers, durations, and text of servers as it is shown.

pub(super) use crate::value::shown::{beginning, url};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, expected) in [(0, "0"), (999, "999"), (1_234, "1,234"), (1_048_576, "1,048,576")] {
            assert_eq!(number(value), expected);
        }
    }
}
