//! How many descriptors a check holds at the same time.

use crate::plan::{Action, Dialogue, Probe};

/// Descriptors that a probe holds at the same time at most.
#[must_use]
pub fn descriptors(probe: &Probe) -> usize {
    match &probe.action {
        // Pings share their sockets.
        Action::Nothing | Action::Ping { .. } => 0,
        // Data have a connection of their own.
        Action::Dialogue(dialogue) if dialogue.protocol == Dialogue::Ftp => 2,
        // While it starts: both ends of its output (one of them twice), its input, and the pipe that tells whether it could be run.
        // Later one end of its output and the handle of the process.
        Action::External(_) => 6,
        _ => 1,
    }
}
