//! What the daemon is about, as alerts name it.

use std::fmt;

/// The state of the daemon; displayed in the original's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonStatus {
    /// Not every check has spoken since the start.
    Starting,
    /// Every check has spoken.
    Running,
    /// It ends.
    Stopping,
    /// Not every check has spoken since a configuration was taken up.
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
