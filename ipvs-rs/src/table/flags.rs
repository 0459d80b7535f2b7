//! The flags of a virtual service, with the names of `ipvsadm --sched-flags`.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use std::str::FromStr;

/// A set of flags of a virtual service (`IP_VS_SVC_F_*` of `linux/ip_vs.h`).
///
/// The flags for persistence and "hashed" are not included: the first follows from
/// [`ServiceConfig::persistence`](crate::ServiceConfig::persistence), the second is internal to the kernel.
///
/// ```
/// use ipvs_rs::ServiceFlags;
///
/// let flags: ServiceFlags = "sh-fallback,sh-port".parse()?;
/// assert_eq!(flags, ServiceFlags::SCHEDULER_1 | ServiceFlags::SCHEDULER_2);
/// # Ok::<(), ipvs_rs::ParseFlagsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceFlags(u32);

impl ServiceFlags {
    /// Schedules each packet separately. Useful for UDP.
    pub const ONE_PACKET: Self = Self(0x04);
    /// The first flag of the scheduler: `flag-1`, `sh-fallback`, `mh-fallback`.
    pub const SCHEDULER_1: Self = Self(0x08);
    /// The second flag of the scheduler: `flag-2`, `sh-port`, `mh-port`.
    pub const SCHEDULER_2: Self = Self(0x10);
    /// The third flag of the scheduler: `flag-3`.
    pub const SCHEDULER_3: Self = Self(0x20);
    /// All flags.
    pub const ALL: Self = Self(0x3c);

    /// The bits, as the kernel numbers them.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set for the kernel's bits. Bits of unknown flags are left out.
    pub fn from_bits_truncate(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of the scheduler with the names of `ipvsadm`, separated by commas. `sh` and `mh` have their own
    /// names.
    pub fn scheduler_names(self, scheduler: &str) -> String {
        let names = match scheduler {
            "sh" => ["sh-fallback", "sh-port", "flag-3"],
            "mh" => ["mh-fallback", "mh-port", "flag-3"],
            _ => ["flag-1", "flag-2", "flag-3"],
        };
        [Self::SCHEDULER_1, Self::SCHEDULER_2, Self::SCHEDULER_3]
            .into_iter()
            .zip(names)
            .filter_map(|(flag, name)| self.contains(flag).then_some(name))
            .collect::<Vec<_>>()
            .join(",")
    }
}

impl BitOr for ServiceFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ServiceFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Reads the flags of the scheduler in `ipvsadm -b` notation, such as `sh-fallback,sh-port` or `flag-1`.
///
/// It is not checked whether a name fits the scheduler (`sh-port` with `mh`); the kernel does not check it either.
impl FromStr for ServiceFlags {
    type Err = ParseFlagsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').try_fold(Self::default(), |flags, name| {
            let flag = match name.trim() {
                "flag-1" | "sh-fallback" | "mh-fallback" => Self::SCHEDULER_1,
                "flag-2" | "sh-port" | "mh-port" => Self::SCHEDULER_2,
                "flag-3" => Self::SCHEDULER_3,
                unknown => return Err(ParseFlagsError { name: unknown.to_owned() }),
            };
            Ok(flags | flag)
        })
    }
}

/// A name that is not a flag of a scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseFlagsError {
    /// The unknown name.
    pub name: String,
}

impl fmt::Display for ParseFlagsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a scheduler flag: use flag-1, flag-2, flag-3, sh-fallback, sh-port, mh-fallback or mh-port",
            self.name
        )
    }
}

impl std::error::Error for ParseFlagsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_given() {
        let check = |text: &str, scheduler: &str, bits: u32, names: &str| {
            let flags: ServiceFlags = text.parse().unwrap();
            assert_eq!(flags.bits(), bits);
            assert_eq!(flags.scheduler_names(scheduler), names);
        };
        check("sh-fallback,sh-port", "sh", 0x18, "sh-fallback,sh-port");
        check("mh-port, flag-3", "mh", 0x30, "mh-port,flag-3");
        check("flag-1,flag-1", "wlc", 0x08, "flag-1");
    }

    #[test]
    fn other_names_are_refused() {
        for text in ["", "sh-ports", "flag-1,,flag-2", "ops"] {
            assert!(text.parse::<ServiceFlags>().is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_bits_are_left_out() {
        assert_eq!(ServiceFlags::from_bits_truncate(!0), ServiceFlags::ALL);
        assert!(ServiceFlags::from_bits_truncate(0x43).is_empty());
    }
}
