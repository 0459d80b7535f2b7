//! The daemon that runs: who it is, and how it is ended.

#![expect(clippy::disallowed_methods, reason = "waiting for another process needs the clock")]

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Exit;
use super::context::Context;
use super::terminal::tell;
use crate::net::cause;
use crate::sys::pidfile::{self, PidFile, State};
use crate::sys::process::{self, Held, Process, Signal};

/// How long `stop` and `restart` wait for the daemon to be gone. It needs a few seconds at most, even with hung checks.
pub(super) const GONE_LIMIT: Duration = Duration::from_secs(30);
pub(super) const GONE_POLL: Duration = Duration::from_millis(10);

/// The daemon that runs, once a start that is on its way has come to its end.
pub(super) fn running(context: &Context) -> Result<Option<Process>, Exit> {
    let limit = Instant::now() + GONE_LIMIT;
    loop {
        let state = pidfile::state(&context.pid_file(), &context.lock_file()).map_err(|error| {
            unreadable(context, &error);
            Exit::Failure
        })?;
        match state {
            State::Running(process) => return Ok(Some(process)),
            State::Stale(_) | State::Stopped => return Ok(None),
            State::Starting if Instant::now() < limit => std::thread::sleep(GONE_POLL),
            State::Starting => {
                tell!(
                    "{} is held by a start that has not come to its end for {} s; look for it (fuser {0}) and end it",
                    context.lock_file().display(),
                    GONE_LIMIT.as_secs()
                );
                return Err(Exit::Failure);
            }
        }
    }
}

/// Nothing is done then: a daemon that runs must not be taken for one that is stopped.
pub(super) fn unreadable(context: &Context, error: &io::Error) {
    tell!(
        "{} cannot be read: {}; whether ldirectord runs for {} is unknown, ask as root",
        context.pid_file().display(),
        cause(error),
        context.display_config()
    );
}

/// Who runs besides this process, which may hold the lock.
pub(super) fn running_besides(context: &Context, own: Option<&PidFile>) -> Result<Option<Process>, Exit> {
    match own {
        None => running(context),
        Some(_) => match pidfile::state_without_lock(&context.pid_file()) {
            Ok(State::Running(process)) => Ok(Some(process)),
            Ok(_) => Ok(None),
            Err(error) => {
                unreadable(context, &error);
                Err(Exit::Failure)
            }
        },
    }
}

/// The end of a daemon that leaves the table as it is. The original is killed by the signal, and would leave what it has forked to
/// check its servers at work on the table.
pub(super) fn hand_over(daemon: Process) -> Result<(), Exit> {
    let children = if process::is_ours(daemon.pid) { Vec::new() } else { process::children(daemon.pid) };
    end(daemon, Signal::SIGUSR2)?;
    for child in children.into_iter().filter(|child| process::is_forked_checker(*child)) {
        // What went wrong has been said. Their parent is gone: without a new daemon it would be worse.
        let _ = end(Process::at(child), Signal::SIGKILL);
    }
    Ok(())
}

/// Sends a signal and waits until the process is gone.
pub(super) fn end(process: Process, signal: Signal) -> Result<(), Exit> {
    let Some(held) = signalled(process, signal)? else { return Ok(()) };
    let limit = Instant::now() + GONE_LIMIT;
    while !held.has_ended() {
        if Instant::now() >= limit {
            tell!(
                "pid {0} is still there {1} s after {signal}; look at its log, or end it with kill -KILL {0} (the table \
                 then stays as it is)",
                process.pid,
                GONE_LIMIT.as_secs()
            );
            return Err(Exit::Failure);
        }
        std::thread::sleep(GONE_POLL);
    }
    Ok(())
}

/// A process that got a signal; none where it has ended before.
pub(super) fn signalled(process: Process, signal: Signal) -> Result<Option<Held>, Exit> {
    let sent = process.hold().and_then(|held| held.send(signal).map(|()| held));
    match sent {
        Ok(held) => Ok(Some(held)),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
        Err(error) => {
            tell!("{signal} cannot be sent to pid {}: {}", process.pid, cause(&error));
            Err(Exit::Failure)
        }
    }
}
