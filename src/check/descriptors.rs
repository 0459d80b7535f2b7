//! How many file descriptors a check needs at the same time.

use crate::spec::{Dialogue, Probe, ProbeAction};

/// The most file descriptors that a probe has open at the same time.
#[must_use]
pub fn descriptors(probe: &Probe) -> usize {
    match &probe.action {
        // Pings share their sockets.
        ProbeAction::Nothing | ProbeAction::Ping { .. } => 0,
        // The file has its own connection.
        ProbeAction::Dialogue(dialogue) if dialogue.protocol == Dialogue::Ftp => 2,
        // During the start: both ends of its output (one of them twice), its input, and the pipe that reports
        // whether exec failed. Later one end of its output and the handle of the process.
        ProbeAction::External(_) => 6,
        _ => 1,
    }
}
