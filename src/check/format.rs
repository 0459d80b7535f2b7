//! Formats parts of reasons: numbers, durations, and text from servers.

use std::time::Duration;

pub(super) use crate::value::shown::{beginning, url};

/// A number with a comma between thousands.
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

/// A count with its noun: `1 line`, `2,000 lines`.
pub(super) fn count(value: u64, thing: &str) -> String {
    format!("{} {thing}{}", number(value), if value == 1 { "" } else { "s" })
}

/// A duration with its unit: `3 s`, `2.5 s`, `12 ms`, `0.3 ms`.
pub(super) fn spoken(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros >= 1_000_000 {
        let tenths = (micros + 50_000) / 100_000;
        if tenths.is_multiple_of(10) {
            format!("{} s", tenths / 10)
        } else {
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
    } else if micros >= 1_000 {
        format!("{} ms", micros / 1_000)
    } else if micros < 100 {
        "under 0.1 ms".to_owned()
    } else {
        format!("0.{} ms", micros / 100)
    }
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
