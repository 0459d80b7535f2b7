//! All daemons of this machine: `status --all`, and `show` without a configuration.

use std::collections::BTreeSet;
use std::path::Path;

use super::Exit;
use super::context::Context;
use super::failure::CommandFailure;
use super::terminal::{answer, eprint_line};
use crate::net::cause;
use crate::sys::instance::{self, Instance};
use crate::sys::pidfile::{self, DaemonState};
use crate::sys::place::TablePlace;
use crate::sys::process::Process;
use crate::sys::socket;
use crate::value::shown::escaped;

/// A name that has a pid file or a lock.
pub(super) struct FoundDaemon {
    pub name: String,
    pub state: DaemonState,
    /// The identity of a running daemon. None for the original and for a daemon of an earlier release.
    pub instance: Option<Instance>,
}

/// `status --all`.
pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    let (found, is_whole) = found(context);
    let runs = |found: &FoundDaemon| matches!(found.state, DaemonState::Running(_));
    let exit = match found.iter().any(runs) {
        true => Exit::Ok,
        false if !is_whole => Exit::Unknown,
        false if found.iter().any(|found| matches!(found.state, DaemonState::Stale(_))) => Exit::Failure,
        false => Exit::Stopped,
    };
    let lines: Vec<String> = found.iter().filter_map(|found| line(context, found)).collect();
    match lines.is_empty() {
        true => answer("no ldirectord is running", exit),
        false => answer(lines.join("\n"), exit),
    }
}

/// All daemons with a pid file, a lock or a socket, sorted by name. False if one of the files cannot be read, which is
/// reported.
pub(super) fn found(context: &Context) -> (Vec<FoundDaemon>, bool) {
    let run = &context.settings.paths.run;
    let mut names = names(run, "ldirectord.", ".pid");
    for ending in [".lock", ".sock"] {
        names.extend(self::names(&context.state_directory(), "", ending));
    }
    let (mut found, mut is_whole) = (Vec::new(), true);
    for name in names {
        let context = context.with_name(name);
        let (pid_file, lock) = (context.pid_file(), context.lock_file());
        match pidfile::state(&pid_file, &lock) {
            Ok(state) => {
                let instance = instance::held(&lock).ok().flatten().map(|(_, instance)| instance);
                found.push(FoundDaemon {
                    state: or_in_foreground(&context, state),
                    name: context.name,
                    instance,
                });
            }
            Err(error) => {
                is_whole = false;
                eprint_line!(
                    "{} or its lock cannot be read: {}; run this as root",
                    pid_file.display(),
                    cause(&error)
                );
            }
        }
    }
    (found, is_whole)
}

/// Corrects the state by the socket: a daemon in the foreground has no pid file and no lock.
fn or_in_foreground(context: &Context, state: DaemonState) -> DaemonState {
    let listener = || socket::listener(&socket::place(&context.state_directory(), &context.name));
    match state {
        DaemonState::Running(_) | DaemonState::Starting => state,
        DaemonState::Stale(_) | DaemonState::Stopped => {
            listener().map_or(state, |pid| DaemonState::Running(Process::at(pid)))
        }
    }
}

/// The daemon names in the names of the files in a directory.
fn names(directory: &Path, begin: &str, end: &str) -> BTreeSet<String> {
    let entries = directory.read_dir().into_iter().flatten().flatten();
    let name = |file: String| Some(file.strip_prefix(begin)?.strip_suffix(end)?.to_owned());
    entries
        .filter_map(|entry| name(entry.file_name().into_string().ok()?))
        .filter(|name| instance::is_name(name))
        .collect()
}

fn line(context: &Context, found: &FoundDaemon) -> Option<String> {
    let name = escaped(&found.name);
    match (found.state, &found.instance) {
        (DaemonState::Running(Process { pid, .. }), None) => {
            Some(format!("{name} is running with pid: {pid}"))
        }
        (DaemonState::Running(Process { pid, .. }), Some(instance)) => Some(format!(
            "{name} is running with pid: {pid}, for {}{}",
            escaped(&instance.file.display().to_string()),
            table(instance)
        )),
        (DaemonState::Starting, _) => Some(format!("{name} is starting")),
        (DaemonState::Stale(_), _) => {
            let file = context.with_name(found.name.clone()).pid_file();
            Some(format!("{name} is stopped; stale pid file {}", escaped(&file.display().to_string())))
        }
        (DaemonState::Stopped, _) => None,
    }
}

/// A note about a table that is not the kernel's table in this network namespace.
fn table(instance: &Instance) -> &'static str {
    let here = TablePlace::here().map(|place| place.network).ok();
    match &instance.network {
        None => " (its table is in memory)",
        Some(network) if here.as_ref().is_some_and(|here| here != network) => {
            " (in another network namespace)"
        }
        Some(_) => "",
    }
}
