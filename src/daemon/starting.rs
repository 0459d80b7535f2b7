//! What a starting daemon reports to the command that started it.

use std::path::Path;

use tracing::{error, warn};

use crate::control::{self, ControlSocket, DaemonInbox, Rights};
use crate::event::{Event, EventKind};
use crate::http::{self, HttpSetup};
use crate::net::cause;
use crate::notify;
use crate::report::CounterSource;
use crate::sys::detach::Launcher;

/// Maximum number of refused operations that are printed. The log has all of them.
const PRINTED: usize = 10;

/// The command that waits for the daemon.
pub(super) struct Starting {
    launcher: Launcher,
    refused: usize,
}

impl Starting {
    /// Starts to report to this command.
    pub fn new(launcher: Launcher) -> Starting {
        Starting { launcher, refused: 0 }
    }

    /// Reports the operations that the kernel refused (B11).
    pub fn report(&mut self, events: &[Event]) {
        let refused =
            |event: &&Event| matches!(event.kind, EventKind::Refused { .. } | EventKind::Unreadable { .. });
        for line in events.iter().filter(refused).filter_map(notify::line) {
            if self.refused < PRINTED {
                self.launcher.note(&format!("Warning: {line}"));
            }
            self.refused += 1;
        }
    }

    /// Ends the start. `state`: the state of all servers in one line. `is_checked`: whether each server has a result.
    pub fn ready(mut self, state: &str, is_checked: bool) {
        if let more @ 1.. = self.refused.saturating_sub(PRINTED) {
            let refusals = if more == 1 { "refusal" } else { "refusals" };
            self.launcher.note(&format!("Warning: {more} more {refusals}: see the log"));
        }
        self.launcher.ready(Some((state, is_checked)));
    }

    /// Ends the start because another command ended the daemon. The start did not fail.
    pub fn stopped(mut self) {
        self.launcher.note("The daemon was stopped before each server had been checked once");
        self.launcher.ready(None);
    }
}

/// Prints warnings on the terminal of the command that started the daemon. Empty ones are left out.
pub(super) fn print_warnings(launcher: Option<&mut Launcher>, warnings: &[String]) {
    let Some(launcher) = launcher else { return };
    for warning in warnings.iter().filter(|warning| !warning.is_empty()) {
        launcher.note(&format!("Warning: {warning}"));
    }
}

/// What readers of the daemon use.
pub(super) struct Readers {
    /// The requests of readers, and their events.
    pub inbox: DaemonInbox,
    pub control: Option<ControlSocket>,
    /// Why the control socket could not be opened. Empty if it is open.
    pub warning: String,
}

/// Starts the HTTP listener and opens the control socket. Without them the daemon can still do its work.
pub(super) fn open_readers(
    socket: &Path,
    rights: Rights,
    http: Option<HttpSetup>,
    counters: CounterSource,
) -> Readers {
    let (inbox, access) = control::access(counters);
    if let Some(setup) = http
        && let Err(error) = http::start(setup, access.clone())
    {
        error!("HTTP: no thread for the listener: {}; restart the daemon", cause(&error));
    }
    match ControlSocket::open(socket, rights, access) {
        Ok(control) => Readers { inbox, control: Some(control), warning: String::new() },
        Err(error) => {
            let warning = format!(
                "no control socket, so show, is-up, plugin, events, plan, drain, down, up, weight and undo do not work until a restart: {error}"
            );
            warn!("{warning}");
            Readers { inbox, control: None, warning }
        }
    }
}
