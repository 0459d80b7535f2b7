//! Reads times: a text with a unit, or a number of seconds. Their range keeps sums with the clock from overflowing.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Reads a time of `MIN` to `MAX` seconds: `"4s"`, `"500ms"`, `"1m 30s"`, or a number of seconds.
pub(super) fn within<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    value: D,
) -> Result<Duration, D::Error> {
    read::<D, MIN, MAX>(value, false)
}

/// As [`within`]. 0 is valid, too: never.
pub(super) fn within_or_never<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    value: D,
) -> Result<Duration, D::Error> {
    read::<D, MIN, MAX>(value, true)
}

fn read<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    value: D,
    never: bool,
) -> Result<Duration, D::Error> {
    // Numbers become texts, too.
    let text = String::deserialize(value)?;
    let time = parse(&text).filter(|time| {
        (Duration::from_secs(MIN)..=Duration::from_secs(MAX)).contains(time) || (never && time.is_zero())
    });
    time.ok_or_else(|| {
        let zero = if never { "0 or " } else { "" };
        D::Error::custom(format!(
            "\"{text}\" is not valid: must be {zero}a time from {} to {}, such as \"500ms\", \"4s\" or \"2m\"; a number without \
             a unit is in seconds",
            shown(MIN),
            shown(MAX)
        ))
    })
}

fn parse(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

/// Whole days, hours or seconds.
fn shown(seconds: u64) -> String {
    match seconds {
        0 => "0 s".to_owned(),
        _ if seconds.is_multiple_of(86400) && seconds > 86400 => format!("{} days", seconds / 86400),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    #[test]
    fn units() {
        for (text, milliseconds) in [
            ("4s", 4000),
            ("4 s", 4000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1m 30s", 90_000),
            ("1h", 3_600_000),
            ("4", 4000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "s", "-1", "4 parsecs", "1.5", "4s2", "99999999999999999999", "99999999999999999y"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_range_is_inclusive_and_named() {
        let read = |text: &'static str| {
            let text: StrDeserializer<'_, Error> = text.into_deserializer();
            within_or_never::<_, 1, { 366 * 86400 }>(text).map_err(|error| error.to_string())
        };
        for (text, seconds) in [("0", 0), ("0s", 0), ("1s", 1), ("366days", 366 * 86400)] {
            assert_eq!(read(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        let error = read("999ms").unwrap_err();
        assert_eq!(
            error,
            "\"999ms\" is not valid: must be 0 or a time from 1 s to 366 days, such as \"500ms\", \"4s\" or \"2m\"; a number without \
             a unit is in seconds"
        );
        assert!(read("366days 1ms").is_err());
    }
}
