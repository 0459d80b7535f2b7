//! Finds the running daemon and ends it.

#![expect(clippy::disallowed_methods, reason = "waiting for another process needs the clock")]

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Exit;
use super::context::Context;
use super::failure::CommandFailure;
use super::terminal::eprint_line;
use crate::sys::instance::{self, Instance};
use crate::sys::lock::{self, Holder};
use crate::sys::pidfile::{self, DaemonState, PidFile};
use crate::sys::process::{self, Process, ProcessHandle, Signal};
use crate::sys::socket;

/// How long a daemon of ours may take to end after a signal. It needs a few seconds at most, even with hung checks.
pub(super) const END_LIMIT: Duration = Duration::from_secs(10);
/// How long a killed process may take to disappear, if it hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(3);
/// How long to wait for a start in progress, or for the end of the original.
pub(super) const GONE_LIMIT: Duration = Duration::from_secs(30);
pub(super) const GONE_POLL: Duration = Duration::from_millis(10);

/// Whether a daemon runs under this name, or with this configuration under another name, by lock, pid file and control
/// socket.
///
/// # Errors
/// The pid file or the lock cannot be read, so the state is unknown.
pub(super) fn state(context: &Context) -> io::Result<DaemonState> {
    // No daemon can have such a name.
    if context.check_name().is_err() {
        return Ok(DaemonState::Stopped);
    }
    match pidfile::state(&context.pid_file(), &context.lock_file())? {
        DaemonState::Starting => {
            // On a full disk the lock does not name its daemon.
            let socket = socket::place(&context.state_directory(), &context.name);
            let daemon = socket::listener(&socket).filter(|pid| process::is_ours(*pid));
            Ok(daemon.map_or(DaemonState::Starting, |pid| DaemonState::Running(Process::at(pid))))
        }
        DaemonState::Running(process) => Ok(DaemonState::Running(process)),
        state => Ok(by_file(context).unwrap_or(state)),
    }
}

/// The daemon or the start that holds the lock of this configuration, whatever its name.
fn by_file(context: &Context) -> Option<DaemonState> {
    match lock::holder(&context.file_lock()?).ok()? {
        Holder::Daemon(process) => Some(DaemonState::Running(process)),
        Holder::Start => Some(DaemonState::Starting),
        Holder::Nobody => None,
    }
}

/// The daemon that runs this configuration under another name, while none has the name of the context. The lock of that
/// name must name the same daemon: otherwise a user who owns one lock file could point root at the daemon of another
/// user.
pub(super) fn under_another_name(context: &Context) -> Option<(Process, Instance)> {
    let found = instance::held(&context.file_lock()?).ok()??;
    let (process, instance) = &found;
    let of_name = context.with_name(instance.name.clone());
    let (own, other) = (pidfile::state(&context.pid_file(), &context.lock_file()), of_name.lock_file());
    let says_the_same = instance::held(&other).ok()? == Some((*process, instance.clone()));
    let is_another = instance.name != context.name && !matches!(own, Ok(DaemonState::Running(_)));
    (is_another && says_the_same).then_some(found)
}

/// The context with the name of a crashed daemon of this configuration, if none has the name of the context: the files
/// that it left have its name.
pub(super) fn as_it_crashed(context: Context) -> Context {
    let last = || {
        let about: Instance = lock::last(&context.file_lock()?)?.parse().ok()?;
        let crashed = context.with_name(about.name);
        let is_gone =
            !matches!(state(&crashed), Ok(DaemonState::Running(_) | DaemonState::Starting) | Err(_));
        is_gone.then_some(crashed)
    };
    match state(&context) {
        Ok(DaemonState::Stopped) => last().unwrap_or(context),
        _ => context,
    }
}

/// The context with the name of the running daemon of its configuration: all files of a daemon have the name that it
/// was started with.
pub(super) fn as_it_runs(context: Context) -> Context {
    match under_another_name(&context) {
        Some((_, Instance { name, .. })) => context.with_name(name),
        None => context,
    }
}

/// The running daemon. Waits for a start in progress.
pub(super) fn running(context: &Context) -> Result<Option<Process>, CommandFailure> {
    let limit = Instant::now() + GONE_LIMIT;
    loop {
        let state = state(context).map_err(|error| unreadable(context, error, Exit::Failure))?;
        match state {
            DaemonState::Running(process) => return Ok(Some(process)),
            DaemonState::Stale(_) | DaemonState::Stopped => return Ok(None),
            DaemonState::Starting if Instant::now() < limit => std::thread::sleep(GONE_POLL),
            DaemonState::Starting => {
                let (lock, seconds) = (context.lock_file(), GONE_LIMIT.as_secs());
                return Err(CommandFailure::StartLocked { lock, seconds });
            }
        }
    }
}

/// The failure for an unknown state. The caller does nothing: it must not take a running daemon for a stopped one.
pub(super) fn unreadable(context: &Context, error: io::Error, exit: Exit) -> CommandFailure {
    CommandFailure::UnknownState {
        pid_file: context.pid_file(),
        config: context.display_config(),
        error,
        exit,
    }
}

/// The daemon that runs although this process has claimed the pid file.
pub(super) fn beside(context: &Context, own: &PidFile) -> Result<Option<Process>, CommandFailure> {
    match own.beside() {
        Ok(DaemonState::Running(process)) => Ok(Some(process)),
        Ok(_) => Ok(None),
        Err(error) => Err(unreadable(context, error, Exit::Failure)),
    }
}

/// Ends a daemon without changing the table. The signal kills the original, whose forked checkers would go on changing
/// the table: they are killed too.
pub(super) fn hand_over(daemon: Process) -> Result<(), CommandFailure> {
    let children = if process::is_ours(daemon.pid) { Vec::new() } else { process::children(daemon.pid) };
    end(daemon, Signal::SIGUSR2)?;
    for child in children.into_iter().filter(|child| process::is_forked_checker(*child)) {
        // Go on: their parent is gone, and without a new daemon nothing would be checked.
        if let Err(failure) = end(Process::at(child), Signal::SIGKILL) {
            eprint_line!("{failure}");
        }
    }
    Ok(())
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessEnd {
    /// It ended after the signal.
    Orderly,
    /// It had to be killed: its table is unchanged.
    Killed,
}

/// Sends a signal and waits until the process has ended. Kills a process of ours that hangs.
pub(super) fn end(process: Process, signal: Signal) -> Result<ProcessEnd, CommandFailure> {
    let is_ours = !process::is_original(process.pid);
    let Some(held) = signalled(process, signal)? else { return Ok(ProcessEnd::Orderly) };
    let limit = if is_ours { END_LIMIT } else { GONE_LIMIT };
    if has_ended_within(&held, limit) {
        return Ok(ProcessEnd::Orderly);
    }
    let (pid, seconds) = (process.pid, limit.as_secs());
    if is_ours && held.send(Signal::SIGKILL).is_ok() && has_ended_within(&held, KILL_LIMIT) {
        eprint_line!(
            "pid {pid} did not end within {seconds} s after {signal} and was killed; its log may show why"
        );
        return Ok(ProcessEnd::Killed);
    }
    Err(CommandFailure::StillRuns { pid, seconds, signal })
}

fn has_ended_within(held: &ProcessHandle, limit: Duration) -> bool {
    let limit = Instant::now() + limit;
    while !held.has_ended() {
        if Instant::now() >= limit {
            return false;
        }
        std::thread::sleep(GONE_POLL);
    }
    true
}

/// Sends a signal to a process. None if it has already ended.
pub(super) fn signalled(process: Process, signal: Signal) -> Result<Option<ProcessHandle>, CommandFailure> {
    let sent = process.hold().and_then(|held| held.send(signal).map(|()| held));
    match sent {
        Ok(held) => Ok(Some(held)),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
        Err(error) => Err(CommandFailure::Signal { signal, pid: process.pid, error }),
    }
}
