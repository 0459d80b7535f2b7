//! Why a command failed: the text for the operator, and the exit code.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::Exit;
use super::arguments::Wrong;
use crate::check::CheckerError;
use crate::control::{self, ClientError, ControlRequest};
use crate::daemon::LoadError;
use crate::net::cause;
use crate::settings::SettingsError;
use crate::sys::instance::LONGEST_NAME;
use crate::sys::privileges::PrivilegeError;
use crate::sys::process::Signal;

/// A query to systemd without an answer in time. It is then unknown whether a unit runs the daemon.
#[derive(Debug, Error)]
#[error("systemctl {query} gave no answer within {} s", .limit.as_secs())]
pub(super) struct NoAnswer {
    pub(super) query: String,
    pub(super) limit: Duration,
}

/// Why a command failed. `Display` is the whole text for standard error; `{:#}` shows excerpts of a file in colour.
#[derive(Debug, Error)]
pub(super) enum CommandFailure {
    // The command line, the settings and the configuration.
    #[error("argument is not UTF-8: {}", .0.display())]
    NotUtf8(OsString),
    #[error("{0}")]
    Usage(Wrong),
    #[error("{0}")]
    Settings(SettingsError),
    /// A setting that only the machine shows to be wrong.
    #[error("{}: {error}", .file.display())]
    Setting { file: PathBuf, error: String },
    #[error(
        "The name of a configuration may have {LONGEST_NAME} bytes, this one has {length}: {0}; rename the file, or start it through \
         a link with a shorter name",
        length = .0.len()
    )]
    NameTooLong(String),
    /// `text` begins with the original's words. The exit code is that of the command.
    #[error("{text}")]
    NotFound { text: String, exit: Exit },
    #[error(fmt = config_errors)]
    Config(LoadError),
    /// A unit runs the daemon, and the file is wrong (R94).
    #[error(fmt = config_errors_at_stop)]
    ConfigAtStop { error: LoadError, unit: String },
    /// A service or a server that `check` was told to probe.
    #[error("{what} is not in {}; write it as check prints it, such as tcp:10.0.0.1:80 or 10.0.0.2:80", .path.display())]
    NotInFile { what: String, path: PathBuf },
    #[error("{}: {warnings}, and --strict allows none", .path.display())]
    Warnings { path: PathBuf, warnings: String },

    // Other processes.
    #[error(
        "{} or its lock cannot be read: {}; it is unknown whether ldirectord for {config} is running; run this as root",
        .pid_file.display(), cause(.error)
    )]
    UnknownState { pid_file: PathBuf, config: String, error: io::Error, exit: Exit },
    #[error(
        "ldirectord for {config} is already running with pid {pid}, with the table {table}; nothing was started. Stop it first"
    )]
    RunsWithOtherTable { config: String, pid: i32, table: &'static str },
    #[error(
        "{config} was not started: the daemon for {file} (pid {pid}) already has the name {name}. Rename the file"
    )]
    NameTaken { config: String, file: String, pid: i32, name: String },
    #[error("ldirectord for {config} is already running with pid {pid}; stop it first{way}")]
    AlreadyRuns { config: String, pid: i32, way: &'static str },
    #[error(
        "The daemon {name} (pid {pid}) keeps the table {table}; nothing was done: a restart with another table would leave that \
         one without checks. Start the file under another name, through a link"
    )]
    KeepsOtherTable { name: String, pid: i32, table: &'static str },
    #[error("ldirectord for {config} (pid {pid}) ended before it could reload")]
    EndedBeforeReload { config: String, pid: i32 },
    #[error(
        "{lock} has been locked for {seconds} s, but no daemon was found; find the process with fuser {lock} and end it",
        lock = .lock.display()
    )]
    StopLocked { lock: PathBuf, seconds: u64 },
    #[error(
        "{lock}: locked by another `start` that has not finished after {seconds} s, or by a process of another pid namespace; find \
         it with fuser {lock}",
        lock = .lock.display()
    )]
    StartLocked { lock: PathBuf, seconds: u64 },
    #[error(
        "{pid_file} or {lock} is locked by another process, but no daemon runs; find the process with fuser {pid_file} {lock}",
        pid_file = .pid_file.display(), lock = .lock.display()
    )]
    LockedWithoutDaemon { pid_file: PathBuf, lock: PathBuf },
    #[error("{} belongs to a daemon that is just ending; try again", .0.display())]
    DaemonEnds(PathBuf),
    #[error(
        "pid {pid} is still running {seconds} s after {signal}; see its log, or end it with kill -KILL {pid} (the table then stays \
         as it is)"
    )]
    StillRuns { pid: i32, seconds: u64, signal: Signal },
    #[error("{signal} cannot be sent to pid {pid}: {}", cause(.error))]
    Signal { signal: Signal, pid: i32, error: io::Error },
    #[error("systemctl cannot be run: {0}; nothing was done")]
    Systemctl(io::Error),
    /// A daemon of a unit must be restarted and reloaded by systemd.
    #[error(
        "{0}, so it is unknown whether a unit runs the daemon; nothing was done. Try again, or use systemctl"
    )]
    SystemdSilent(NoAnswer),

    // A start.
    #[error("The kernel's IPVS table cannot be opened: {0}")]
    Table(ipvs_rs::Error),
    #[error("{0}")]
    Privileges(PrivilegeError),
    /// The daemon runs, and its user could not read the file after a restart.
    #[error("{0}; nothing was done")]
    PrivilegesOfUnit(PrivilegeError),
    #[error("{0}")]
    Checker(CheckerError),
    // The first words are the original's.
    #[error("Can not open {}: {}", .path.display(), cause(.error))]
    PidFile { path: PathBuf, error: io::Error },
    #[error("cannot detach: {0}")]
    Detach(io::Error),
    /// The daemon's own message, from the other process.
    #[error("{message}")]
    Start { message: String, exit: Exit },

    // Our own commands.
    #[error("the runtime cannot be started: {0}")]
    Runtime(io::Error),
    #[error("the checks cannot be run: {0}")]
    Checks(CheckerError),
    #[error(fmt = no_answer)]
    NoAnswer { config: String, socket: PathBuf, error: io::Error, others: Vec<String> },
    /// The file of `override import`.
    #[error("{file}: {error}; nothing was restored")]
    Import { file: String, error: String },
    #[error("{request}: refused: {error}")]
    Refused { request: Box<ControlRequest>, error: ClientError },
    #[error("the daemon at {} refused: {error}", .socket.display())]
    ShowRefused { socket: PathBuf, error: ClientError },
    /// The daemon's own message.
    #[error("{0}")]
    NoSuchServer(String),
    #[error("the daemon for {config} has no virtual service {id}; `show` without --service lists all")]
    NoSuchService { id: String, config: String },
    #[error(
        "the daemon for {config} has no traffic to show: its table is in memory, or it cannot read the kernel's counters"
    )]
    NoTraffic { config: String },
    #[error("--watch needs a terminal; without one, run `show` again and again, or follow `events`")]
    WatchWithoutTerminal,
    #[error("{path}: {}; the connections of the kernel cannot be read. Run this as root, on the director", cause(.error))]
    Connections { path: String, error: io::Error },
    /// It ended, or dropped this client because it did not read.
    #[error("the daemon for {config} ended, or events were not read for 5 s; run the command again")]
    EventsEnded { config: String },
    #[error("the daemon at {} has another version: {error}{advice}", .socket.display())]
    OtherVersion { socket: PathBuf, error: serde_json::Error, advice: &'static str },
    #[error("standard output cannot be written: {}; a part of the result is missing", cause(.0))]
    Output(io::Error),
}

impl CommandFailure {
    /// The exit code of the command.
    pub fn exit(&self) -> Exit {
        match self {
            CommandFailure::NotUtf8(_) | CommandFailure::Usage(_) => Exit::Usage,
            CommandFailure::Settings(_)
            | CommandFailure::Config(_)
            | CommandFailure::ConfigAtStop { .. }
            | CommandFailure::Warnings { .. }
            | CommandFailure::PrivilegesOfUnit(_) => Exit::Config,
            CommandFailure::NotFound { exit, .. }
            | CommandFailure::UnknownState { exit, .. }
            | CommandFailure::Start { exit, .. } => *exit,
            CommandFailure::NoAnswer { .. } | CommandFailure::EventsEnded { .. } => Exit::Stopped,
            _ => Exit::Failure,
        }
    }
}

fn config_errors(error: &LoadError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&error.render(f.alternate()))
}

fn config_errors_at_stop(error: &LoadError, unit: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    config_errors(error, f)?;
    write!(f, "\nNothing was done. To stop the daemon with a wrong file: systemctl stop {unit}")
}

/// The daemon does not answer. Names those that run.
fn no_answer(
    config: &str,
    socket: &Path,
    error: &io::Error,
    others: &[String],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let (socket, why) = (socket.display(), control::why(error));
    if error.kind() == io::ErrorKind::PermissionDenied {
        return write!(
            f,
            "you may not ask the daemon for {config}: {socket}: {why}; run this as root, or add your group to [control] read_group in \
             the settings and restart the daemon"
        );
    }
    write!(f, "no daemon for {config} answers: {socket}: {why}")?;
    if !others.is_empty() {
        write!(f, "\nrunning daemons: {}; name the configuration of one of them", others.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid() -> LoadError {
        LoadError::Bug("x".to_owned())
    }

    fn denied() -> io::Error {
        io::Error::from_raw_os_error(13)
    }

    /// A script must be able to tell a wrong file, a stopped daemon and a wrong command line from other failures.
    #[test]
    fn exit_codes() {
        let unknown = |exit| CommandFailure::UnknownState {
            pid_file: "/p".into(),
            config: "x.cf".to_owned(),
            error: denied(),
            exit,
        };
        for (failure, exit) in [
            (CommandFailure::NotUtf8("x".into()), Exit::Usage),
            (CommandFailure::Usage(Wrong::default()), Exit::Usage),
            (CommandFailure::Config(invalid()), Exit::Config),
            (CommandFailure::ConfigAtStop { error: invalid(), unit: "u".to_owned() }, Exit::Config),
            (
                CommandFailure::Warnings { path: "/x.cf".into(), warnings: "1 warning".to_owned() },
                Exit::Config,
            ),
            (CommandFailure::NotFound { text: "x".to_owned(), exit: Exit::Failure }, Exit::Failure),
            (CommandFailure::NotFound { text: "x".to_owned(), exit: Exit::Config }, Exit::Config),
            (unknown(Exit::Unknown), Exit::Unknown),
            (unknown(Exit::Failure), Exit::Failure),
            (CommandFailure::Start { message: "x".to_owned(), exit: Exit::Config }, Exit::Config),
            (CommandFailure::Systemctl(denied()), Exit::Failure),
            (CommandFailure::Output(denied()), Exit::Failure),
        ] {
            assert_eq!(failure.exit(), exit, "{failure}");
        }
    }

    /// Texts of failures that the tests of the program as a process do not reach.
    #[test]
    fn texts() {
        let (lock, pid_file) = (PathBuf::from("/run/l"), PathBuf::from("/run/p"));
        for (failure, text) in [
            (
                CommandFailure::ConfigAtStop { error: invalid(), unit: "web.service".to_owned() },
                "a bug in this program while reading the configuration: x\nNothing was done. To stop the daemon with a wrong file: \
                 systemctl stop web.service",
            ),
            (
                CommandFailure::LockedWithoutDaemon { pid_file: pid_file.clone(), lock: lock.clone() },
                "/run/p or /run/l is locked by another process, but no daemon runs; find the process with fuser /run/p /run/l",
            ),
            (
                CommandFailure::StopLocked { lock: lock.clone(), seconds: 30 },
                "/run/l has been locked for 30 s, but no daemon was found; find the process with fuser /run/l and end it",
            ),
            (
                CommandFailure::StartLocked { lock, seconds: 30 },
                "/run/l: locked by another `start` that has not finished after 30 s, or by a process of another pid namespace; find \
                 it with fuser /run/l",
            ),
            (
                CommandFailure::StillRuns { pid: 7, seconds: 10, signal: Signal::SIGTERM },
                "pid 7 is still running 10 s after SIGTERM; see its log, or end it with kill -KILL 7 (the table then stays as it is)",
            ),
            (
                CommandFailure::Signal { signal: Signal::SIGHUP, pid: 7, error: denied() },
                "SIGHUP cannot be sent to pid 7: permission denied",
            ),
            (
                CommandFailure::PidFile { path: pid_file, error: denied() },
                "Can not open /run/p: permission denied",
            ),
            (
                CommandFailure::NameTooLong("x".repeat(3)),
                "The name of a configuration may have 200 bytes, this one has 3: xxx; rename the file, or start it through a link \
                 with a shorter name",
            ),
        ] {
            assert_eq!(failure.to_string(), text);
        }
    }

    #[test]
    fn other_daemons_are_named_if_one_does_not_answer() {
        let failure = |others: &[&str]| CommandFailure::NoAnswer {
            config: "x.cf".to_owned(),
            socket: Path::new("/s").to_owned(),
            error: io::Error::from_raw_os_error(2),
            others: others.iter().map(|name| (*name).to_owned()).collect(),
        };
        let first = "no daemon for x.cf answers: /s: no such file or directory";
        assert_eq!(failure(&[]).to_string(), first);
        let second = "running daemons: a.cf, b.cf; name the configuration of one of them";
        assert_eq!(failure(&["a.cf", "b.cf"]).to_string(), format!("{first}\n{second}"));
        assert_eq!(failure(&[]).exit(), Exit::Stopped);
    }
}
