//! The parameters of a daemon, and the errors of its start.

use std::path::PathBuf;
use std::time::Duration;

use ipvs_rs::Ipvs;

use super::load::LoadedFile;
use super::outlets::CommandSetup;
use super::places::Limits;
use crate::check::Checker;
use crate::control::Rights;
use crate::http::HttpSetup;
use crate::settings::{self, Acts};
use crate::sys::detach::Launcher;
use crate::sys::log::Log;
use crate::sys::privileges::PrivilegeError;

/// The parameters of the loop.
pub struct Setup {
    /// The absolute path of the configuration file.
    pub path: PathBuf,
    /// The name of the configuration, as in the names of its files.
    pub name: String,
    /// The loaded configuration.
    pub loaded: LoadedFile,
    /// The state that all checks share.
    pub checker: Checker,
    /// The IPVS table.
    pub ipvs: Box<dyn Ipvs>,
    /// The directory of the control socket and of files that must outlive a crash, `/var/run/ldirectord-rs`.
    pub state_directory: PathBuf,
    /// The file with the overrides of operators. `None` with a table in memory.
    pub overrides: Option<PathBuf>,
    /// The directory of files for keepalived's `track_file`. `None`: no files.
    pub track: Option<PathBuf>,
    /// Who may use the control socket.
    pub rights: Rights,
    /// The HTTP listener. `None`: there is none.
    pub http: Option<HttpSetup>,
    /// Whether owned services are saved for the next daemon. False with a table in memory.
    pub remember: bool,
    /// How often the table is verified. `None`: never.
    pub verify_interval: Option<Duration>,
    /// The limits for all checks together.
    pub check_limits: Limits,
    /// Whether a server counts as down after its checks were not possible for a long time.
    pub unchecked_is_down: bool,
    /// How long checks may take to end when the daemon stops.
    pub grace: Duration,
    /// Whether mail is sent and commands are run.
    pub acts: Acts,
    /// How alerts are sent.
    pub mail: settings::MailSettings,
    /// The mode of monitor files that the daemon creates.
    pub monitor_mode: u32,
    /// Which metrics are given.
    pub metrics: settings::MetricsSettings,
    /// The log.
    pub log: Log,
    /// Whether the configuration sets the log target. Otherwise the target never changes.
    pub log_by_configuration: bool,
    /// Settings of operator commands.
    pub commands: CommandSetup,
    /// The `start` process that waits until this daemon is ready.
    pub launcher: Option<Launcher>,
}

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused a resource.
    #[error("{what}: {error}")]
    System {
        /// What failed.
        what: &'static str,
        /// The error of the system.
        error: std::io::Error,
    },
    /// Privileges cannot be dropped.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The kernel's table cannot be read.
    #[error("the kernel's IPVS table cannot be read: {0}")]
    Table(#[from] ipvs_rs::Error),
}
