//! `stop`.

#![expect(clippy::disallowed_methods, reason = "waiting for another process needs the clock")]

use std::io;
use std::time::Instant;

use super::Exit;
use super::context::Context;
use super::failure::{CommandFailure, NoAnswer};
use super::load;
use super::running::{GONE_LIMIT, GONE_POLL, ProcessEnd, end, running};
use super::terminal::eprint_line;
use super::unit;
use crate::daemon::{self, Leftovers};
use crate::net::cause;
use crate::settings::Backend;
use crate::sys::lock::Lock;
use crate::sys::process::{self, Signal};

/// Stops the daemon, with a wrong configuration too. If a unit runs the daemon, this reads the file first (R94);
/// `systemctl stop` works with any file.
pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    if context.check_name().is_err() {
        say_nothing_to_stop(context);
        return Ok(Exit::Ok);
    }
    let limit = Instant::now() + GONE_LIMIT;
    let mut was_killed = false;
    loop {
        match end_all(context)? {
            Stopped::Nothing => {}
            Stopped::Process(ProcessEnd::Orderly) => return Ok(Exit::Ok),
            Stopped::Process(ProcessEnd::Killed) => was_killed = true,
            Stopped::Unit(Exit::Ok) => was_killed = true,
            Stopped::Unit(exit) => return Ok(exit),
        }
        // No daemon can start while this process holds the lock.
        match Lock::take(&context.lock_file()) {
            Ok(Some(lock)) => {
                clean_up(context, was_killed);
                if was_killed {
                    let _ = std::fs::remove_file(context.pid_file());
                }
                lock.remove();
                return Ok(Exit::Ok);
            }
            // A daemon is starting or ending.
            Ok(None) if Instant::now() < limit => std::thread::sleep(GONE_POLL),
            Ok(None) => {
                let (lock, seconds) = (context.lock_file(), GONE_LIMIT.as_secs());
                return Err(CommandFailure::StopLocked { lock, seconds });
            }
            // Without the state directory there is nothing to clean up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !was_killed {
                    say_nothing_to_stop(context);
                }
                return Ok(Exit::Ok);
            }
            Err(error) => {
                say_nothing_to_stop(context);
                let lock = context.lock_file();
                eprint_line!(
                    "Warning: the table was not searched for services of a crashed daemon: {}: {}",
                    lock.display(),
                    cause(&error)
                );
                return Ok(Exit::Ok);
            }
        }
    }
}

/// What has been ended.
enum Stopped {
    /// No daemon runs, and no unit is about to start one.
    Nothing,
    Process(ProcessEnd),
    /// A unit, with the result of `systemctl`, which prints its own errors. It does not report whether systemd had to
    /// kill the daemon.
    Unit(Exit),
}

/// The unit to stop. None without an answer from systemd: a `stop` must end even if systemd hangs.
fn known(unit: Result<Option<String>, NoAnswer>) -> Option<String> {
    unit.unwrap_or_else(|no_answer| {
        eprint_line!("{no_answer}; the stop goes on as if no unit ran the daemon");
        None
    })
}

/// Ends the running daemon, or the unit that is about to start it.
fn end_all(context: &Context) -> Result<Stopped, CommandFailure> {
    match running(context)? {
        None => match known(unit::waiting(context)) {
            None => Ok(Stopped::Nothing),
            Some(unit) => unit::ask_waiting(&unit, "stop").map(Stopped::Unit),
        },
        Some(daemon) => match known(unit::of(daemon)) {
            None => end(daemon, Signal::SIGTERM).map(Stopped::Process),
            Some(unit) => {
                load::load_for_daemon(context).map_err(|failure| match failure {
                    CommandFailure::Config(error) => {
                        CommandFailure::ConfigAtStop { error, unit: unit.clone() }
                    }
                    failure => failure,
                })?;
                unit::ask(&unit, "stop", daemon).map(Stopped::Unit)
            }
        },
    }
}

/// Removes the services of a crashed daemon from the table (R83).
fn clean_up(context: &Context, was_killed: bool) {
    let (config, directory) = (context.display_config(), context.state_directory());
    let left = match context.settings.table.backend {
        // The table has ended with its daemon.
        Backend::Memory => Leftovers::None,
        Backend::Kernel => {
            daemon::remove_leftovers(&directory, &context.name, process::original(), || context.open_table())
        }
    };
    match left {
        Leftovers::None if was_killed => {}
        Leftovers::None => say_nothing_to_stop(context),
        Leftovers::Removed(count) => {
            let services =
                if count == 1 { "1 virtual service".to_owned() } else { format!("{count} virtual services") };
            eprint_line!(
                "ldirectord for {config} is not running; removed {services} that it had left in the table"
            );
        }
        Leftovers::Left(why) => {
            eprint_line!("ldirectord for {config} is not running in the background");
            eprint_line!(
                "Warning: its services stay in the table: {why}; list them with ipvsadm -Ln and remove them with ipvsadm -D"
            );
        }
    }
}

/// Reports that no daemon runs. A misspelt name must not look like success (R81).
fn say_nothing_to_stop(context: &Context) {
    let file = match context.find_config() {
        Some(_) => "",
        None => ", and there is no such configuration file",
    };
    eprint_line!("ldirectord for {} is not running; nothing to stop{file}", context.display_config());
}
