//! What a daemon is started with, and why it may not start.

use std::path::PathBuf;
use std::time::Duration;

use ipvs_rs::Ipvs;

use super::load::Loaded;
use super::outlets::CommandSetup;
use super::places::Limits;
use crate::check::Checker;
use crate::control::Rights;
use crate::settings::{self, Acts};
use crate::sys::detach::Launcher;
use crate::sys::log::Log;
use crate::sys::privileges::PrivilegeError;

/// What the loop is given.
pub struct Setup {
    /// The configuration file as it was found, absolute.
    pub path: PathBuf,
    /// The name of the configuration, as in the names of its files.
    pub name: String,
    /// The configuration in it.
    pub loaded: Loaded,
    /// What all checks share.
    pub checker: Checker,
    /// The table to work on.
    pub ipvs: Box<dyn Ipvs>,
    /// Where the control socket is and what must outlive a crash, `/var/run/ldirectord-rs`.
    pub state_directory: PathBuf,
    /// The file with the overrides of operators; `None` with a table in memory.
    pub overrides: Option<PathBuf>,
    /// Who may use the control socket.
    pub rights: Rights,
    /// Whether services are remembered across a crash; not where the table is only in memory.
    pub remember: bool,
    /// How often the table is read back without a cause; none: never.
    pub verify_interval: Option<Duration>,
    /// What all checks together may use.
    pub check_limits: Limits,
    /// Whether a server counts as down when its checks were not possible for long.
    pub unchecked_is_down: bool,
    /// How long checks may take to end when the daemon stops.
    pub grace: Duration,
    /// What of mail and commands is carried out.
    pub acts: Acts,
    /// How alerts are sent.
    pub mail: settings::Mail,
    /// The mode of monitor files that the daemon creates.
    pub monitor_mode: u32,
    /// The log.
    pub log: Log,
    /// Whether the log's target is that of the configuration; otherwise it stays what it is.
    pub log_by_configuration: bool,
    /// What the operator's commands need.
    pub commands: CommandSetup,
    /// Who waits for this daemon to be ready.
    pub launcher: Option<Launcher>,
}

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No runtime, no signal handlers, no sockets.
    #[error("{what}: {error}")]
    System {
        /// What was to be had.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// What is not needed cannot be given up.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The kernel's table cannot be read.
    #[error("the kernel's IPVS table cannot be read: {0}")]
    Table(#[from] ipvs_rs::Error),
}
