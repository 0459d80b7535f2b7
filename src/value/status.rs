//! The state of the daemon, as alerts name it.

use std::fmt;

/// The state of the daemon. Displayed in the original's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonStatus {
    /// Not every check has a verdict since the start.
    Starting,
    /// Every check has a verdict.
    Running,
    /// The daemon is stopping.
    Stopping,
    /// Not every check has a verdict since a configuration was applied.
    Reloading,
}

impl fmt::Display for DaemonStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DaemonStatus::Starting => "starting",
            DaemonStatus::Running => "running",
            DaemonStatus::Stopping => "stopping",
            DaemonStatus::Reloading => "reloading",
        })
    }
}
