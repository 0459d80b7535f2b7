//! The weight of a server that an operator sets: a number, or a percentage of the configured weight.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A weight, or a percentage of the configured weight. `50` and `50%` in text and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OverrideWeight {
    /// This weight, 1 to 65535.
    Fixed(u16),
    /// This percentage, 1 to 1000.
    Percent(u16),
}

/// The largest percentage.
const MOST_PERCENT: u16 = 1000;

impl OverrideWeight {
    /// The weight in the table for a configured weight. A percentage of a weight above 0 is at least 1; a percentage of
    /// 0 is 0.
    #[must_use]
    pub fn of(self, configured: u32) -> u32 {
        match self {
            OverrideWeight::Fixed(weight) => u32::from(weight),
            OverrideWeight::Percent(_) if configured == 0 => 0,
            OverrideWeight::Percent(percent) => {
                let rounded = (u64::from(configured) * u64::from(percent) + 50) / 100;
                u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

impl FromStr for OverrideWeight {
    type Err = String;

    fn from_str(text: &str) -> Result<OverrideWeight, String> {
        let (number, is_percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        // `parse` accepts a plus sign.
        let number = Some(number).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match (number.and_then(|number| number.parse().ok()), is_percent) {
            (Some(0), _) => Err("must be at least 1; to send no new connections, use drain".to_owned()),
            (Some(weight), false) => Ok(OverrideWeight::Fixed(weight)),
            (Some(percent), true) if percent <= MOST_PERCENT => Ok(OverrideWeight::Percent(percent)),
            _ => Err(format!(
                "needs a weight of 1 to 65535, or 1% to {MOST_PERCENT}% of the configured weight"
            )),
        }
    }
}

impl fmt::Display for OverrideWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OverrideWeight::Fixed(weight) => write!(f, "{weight}"),
            OverrideWeight::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl TryFrom<String> for OverrideWeight {
    type Error = String;

    fn try_from(text: String) -> Result<OverrideWeight, String> {
        text.parse().map_err(|error| format!("weight: {error}"))
    }
}

impl From<OverrideWeight> for String {
    fn from(weight: OverrideWeight) -> String {
        weight.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_number_or_a_percentage() {
        for (text, of_100, of_3, of_0) in [
            ("1", 1, 1, 1),
            ("65535", 65_535, 65_535, 65_535),
            ("50%", 50, 2, 0),
            ("1%", 1, 1, 0),
            ("16%", 16, 1, 0),
            ("17%", 17, 1, 0),
            ("100%", 100, 3, 0),
            ("1000%", 1000, 30, 0),
        ] {
            let weight: OverrideWeight = text.parse().unwrap();
            assert_eq!((weight.of(100), weight.of(3), weight.of(0)), (of_100, of_3, of_0), "{text}");
            assert_eq!(weight.to_string(), text);
            let json = serde_json::to_string(&weight).unwrap();
            assert_eq!((json.clone(), serde_json::from_str(&json).unwrap()), (format!("{text:?}"), weight));
        }
        assert_eq!(OverrideWeight::Percent(1000).of(u32::MAX), u32::MAX);
        for text in ["", "%", "-1", "+1", "1.5", "50 %", "65536", "1001%", "ten"] {
            assert!(text.parse::<OverrideWeight>().unwrap_err().starts_with("needs a weight of"), "{text}");
        }
        for text in ["0", "0%", "00"] {
            assert!(text.parse::<OverrideWeight>().unwrap_err().ends_with("use drain"), "{text}");
        }
    }
}
