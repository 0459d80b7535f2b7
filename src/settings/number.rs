//! Reads numbers with a range, so that no computation with them overflows.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Reads a number from `MIN` to `MAX`.
pub(super) fn within<'de, D: Deserializer<'de>, T: TryFrom<u64>, const MIN: u64, const MAX: u64>(
    value: D,
) -> Result<T, D::Error> {
    // Numbers become texts, so that the error has what the operator wrote.
    let text = String::deserialize(value)?;
    let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
        D::Error::custom(format!("\"{text}\" is not valid: must be a number from {MIN} to {MAX}"))
    })
}
