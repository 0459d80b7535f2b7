//! Overrides: what a server does whatever its check finds, who set it, and why.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::weight::OverrideWeight;

/// An override without an end of at least this age may have been forgotten.
pub const OLD_OVERRIDE: Duration = Duration::from_secs(24 * 3600);

/// An override of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What the server does.
    pub what: What,
    /// Who set it.
    pub owner: Owner,
    /// The reason. Empty if none was given.
    pub reason: String,
    /// When it was set.
    pub since: Instant,
    /// When it expires. `None`: never.
    pub until: Option<Instant>,
}

impl Override {
    /// Whether it has no end and is at least a day old.
    #[must_use]
    pub fn is_old_without_end(&self, now: Instant) -> bool {
        self.until.is_none() && now.saturating_duration_since(self.since) >= OLD_OVERRIDE
    }
}

/// The kinds of override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// No new connections (weight 0, whatever `quiescent` says). Existing connections continue.
    Drain,
    /// Treated as if the check failed.
    Down,
    /// In rotation whatever the check finds.
    Up,
    /// Checked as usual. In rotation it has this weight.
    Weight(OverrideWeight),
}

/// Who set an override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A file in `maintenancedir`.
    Maintenance,
    /// A user of the control socket, by name.
    Operator(String),
}

/// The name of the owner [`Owner::Maintenance`] in logs and JSON.
pub const MAINTENANCE: &str = "maintenancedir";

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Owner::Maintenance => MAINTENANCE,
            Owner::Operator(who) => who,
        })
    }
}

impl What {
    /// The name on the command line and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            What::Drain => "drain",
            What::Down => "down",
            What::Up => "up",
            What::Weight(_) => "weight",
        }
    }

    /// The weight of [`What::Weight`].
    #[must_use]
    pub fn weight(self) -> Option<OverrideWeight> {
        match self {
            What::Weight(weight) => Some(weight),
            What::Drain | What::Down | What::Up => None,
        }
    }

    /// Whether the server's standing is that of the override, and results of its checks are not reported.
    #[must_use]
    pub fn replaces_check(self) -> bool {
        self.weight().is_none()
    }

    /// The kind of a name and a weight, as JSON has them.
    ///
    /// # Errors
    /// The name is unknown, or the weight does not belong to it.
    pub fn from_names(what: &str, weight: Option<OverrideWeight>) -> Result<What, String> {
        Ok(match (what, weight) {
            ("drain", None) => What::Drain,
            ("down", None) => What::Down,
            ("up", None) => What::Up,
            ("weight", Some(weight)) => What::Weight(weight),
            ("weight", None) => return Err("what: weight needs the field weight, such as \"50%\"".to_owned()),
            ("drain" | "down" | "up", Some(_)) => {
                return Err(format!("weight: does not apply to {what}"));
            }
            _ => return Err("what: must be drain, down, up or weight".to_owned()),
        })
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        self.weight().map_or(Ok(()), |weight| write!(f, " {weight}"))
    }
}

/// Why an override ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This owner ended it: a user, or the removal of a file in `maintenancedir`.
    Undone(Owner),
    /// This owner set another override.
    Replaced(Owner),
    /// It expired.
    Expired,
    /// A reload removed the server from the configuration.
    Removed,
}

/// The overrides of one server, at most one for each kind of owner. Maintenance takes precedence.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    pub(super) maintenance: Option<Arc<Override>>,
    pub(super) operator: Option<Arc<Override>>,
}

impl Overrides {
    pub(super) fn current(&self) -> Option<&Arc<Override>> {
        self.maintenance.as_ref().or(self.operator.as_ref())
    }
}
