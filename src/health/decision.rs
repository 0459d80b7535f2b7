//! What somebody decided about a server, as a value.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// A decision about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What was decided.
    pub what: What,
    /// By whom.
    pub owner: Owner,
    /// Why, in words for people; empty where nothing was said.
    pub reason: String,
    /// Since when.
    pub since: Instant,
    /// When it ends by itself; never where there is none.
    pub until: Option<Instant>,
}

/// The kinds of decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// No new connections; those that there are go on.
    Drain,
    /// Treated as dead.
    Down,
    /// In rotation whatever the check finds.
    Up,
}

/// Who decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A file in `maintenancedir`.
    Maintenance,
    /// A person or a program, as the control socket knows it.
    Operator(String),
}

/// The owner of what files in `maintenancedir` decide, in words.
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
    /// The word of the command line and of JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            What::Drain => "drain",
            What::Down => "down",
            What::Up => "up",
        }
    }
}

/// Why an override is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its owner ended it, or somebody else did, who is named.
    Undone(Owner),
    /// Its time was over.
    Expired,
}

/// The decisions about one server: one of each kind of owner. That of a file comes first.
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
