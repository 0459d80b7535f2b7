//! The original's actions: start, stop, restart, try-restart, reload, status.

#![expect(clippy::disallowed_methods, reason = "waiting for another process needs the clock")]

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::Exit;
use super::arguments::Action;
use super::context::Context;
use super::launch::{launch, prepare};
use super::other::{Differs, Other};
use super::privileges;
use super::running::{
    End, GONE_LIMIT, GONE_POLL, end, hand_over, running, signalled, state, under_another_name, unreadable,
};
use super::terminal::{eprint_line, print_line};
use super::unit;
use crate::daemon::{self, InUse, Leftovers, LoadError, Loaded, instances};
use crate::net::cause;
use crate::settings::Backend;
use crate::sys::instance::Instance;
use crate::sys::lock::Lock;
use crate::sys::log::Log;
use crate::sys::pidfile::State;
use crate::sys::process::{self, Process, Signal};
use crate::sys::{access, detach};
use crate::value::shown::escaped;

pub(super) fn run(context: &Context, action: Action) -> Exit {
    if matches!(action, Action::Start | Action::Restart | Action::TryRestart) {
        if let Some(wrong) = context.name_too_long() {
            eprint_line!("{wrong}");
            return Exit::Failure;
        }
        // Before this process opens anything: it may become the daemon.
        detach::close_inherited();
        process::set_umask();
    }
    let result = match action {
        Action::Start => start(context),
        Action::Stop => stop(context),
        Action::Restart => restart(context),
        Action::TryRestart => try_restart(context),
        Action::Reload => reload(context),
        Action::Status => Ok(status(context)),
    };
    result.unwrap_or_else(|exit| exit)
}

/// Warns about world-writable files that control what the daemon does, and as which user.
pub(super) fn warn_of_access(context: &Context, config: &Path) {
    let files = [config, &context.settings_file, &context.settings.mail.password_file];
    for warning in files.into_iter().filter_map(access::warning) {
        eprint_line!("Warning: {warning}");
    }
}

/// Loads the configuration. Prints its errors, if any, and returns the exit code instead.
pub(super) fn load(context: &Context) -> Result<(PathBuf, Loaded), Exit> {
    load_by(context, daemon::load)
}

/// As [`load`], to start a daemon: server names that resolve to several addresses keep the address that the kernel's
/// table has.
fn load_to_start(context: &Context) -> Result<(PathBuf, Loaded), Exit> {
    load_by(context, |path| daemon::load_for(path, &in_use(context)))
}

/// The addresses that our services have in the kernel's table. Empty if it cannot be read: the next step reports that.
fn in_use(context: &Context) -> InUse {
    match context.settings.table.backend {
        Backend::Memory => InUse::default(),
        Backend::Kernel => {
            let table = context.open_table().and_then(|mut table| table.dump()).unwrap_or_default();
            daemon::in_use(&context.state_directory(), &context.name, &table)
        }
    }
}

fn load_by(
    context: &Context,
    load: impl FnOnce(&Path) -> Result<Loaded, LoadError>,
) -> Result<(PathBuf, Loaded), Exit> {
    let Some(path) = context.find_config() else {
        eprint_line!("{}", context.not_found());
        return Err(Exit::Failure);
    };
    warn_of_access(context, &path);
    match load(&path) {
        Ok(loaded) => {
            for line in loaded.warning_lines(&path) {
                eprint_line!("{line}");
            }
            Ok((path, loaded))
        }
        Err(error) => {
            report(&error);
            Err(Exit::Config)
        }
    }
}

/// Prints all errors of a file.
pub(super) fn report(error: &LoadError) {
    eprint_line!("{}", error.render(has_colour()));
}

/// Whether diagnostics are printed in colour.
pub(super) fn has_colour() -> bool {
    io::stderr().is_terminal()
}

fn start(context: &Context) -> Result<Exit, Exit> {
    let (path, loaded) = load_to_start(context)?;
    // With --foreground a running daemon is an error (see `attached`): a supervisor would take exit code 0 for the
    // daemon's end.
    if let Some(Process { pid, .. }) = running(context)?
        && !context.foreground
    {
        return say_already_running(context, pid);
    }
    launch(context, prepare(context, path, loaded)?)
}

/// Reports a daemon that runs under another name, with another table or with another file (R92; the original prints
/// nothing).
fn say_already_running(context: &Context, pid: i32) -> Result<Exit, Exit> {
    let config = context.display_config();
    if let Some((Process { pid, .. }, Instance { name, .. })) = under_another_name(context) {
        let name = escaped(&name);
        eprint_line!(
            "ldirectord for {config} is already running as {name} with pid {pid}; nothing was started"
        );
        return Ok(Exit::Ok);
    }
    match Other::of(context) {
        Some(Other { what: Differs::Table(table), pid, .. }) => {
            eprint_line!(
                "ldirectord for {config} is already running with pid {pid}, with the table {table}; nothing was started. Stop it first"
            );
            Err(Exit::Failure)
        }
        Some(Other { what: Differs::File(file), pid, name }) => {
            eprint_line!(
                "{config} was not started: the daemon for {file} (pid {pid}) already has the name {name}. Rename the file"
            );
            Err(Exit::Failure)
        }
        None => {
            if context.debug {
                eprint_line!(
                    "ldirectord for {config} is already running with pid {pid}; nothing was started in the foreground"
                );
            }
            Ok(Exit::Ok)
        }
    }
}

/// Stops the daemon, with a wrong configuration too. If a unit runs the daemon, this reads the file first (R94);
/// `systemctl stop` works with any file.
fn stop(context: &Context) -> Result<Exit, Exit> {
    if context.name_too_long().is_some() {
        say_nothing_to_stop(context);
        return Ok(Exit::Ok);
    }
    let limit = Instant::now() + GONE_LIMIT;
    let mut was_killed = false;
    loop {
        match end_all(context)? {
            Some(End::Orderly) => return Ok(Exit::Ok),
            Some(End::Killed) => was_killed = true,
            None => {}
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
                eprint_line!(
                    "{} has been locked for {seconds} s, but no daemon was found; find the process with fuser {0} and end it",
                    lock.display()
                );
                return Err(Exit::Failure);
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

/// Ends the running daemon, or the unit that is about to start it. Returns none if there is neither.
fn end_all(context: &Context) -> Result<Option<End>, Exit> {
    let exit = match running(context)? {
        None => match unit::waiting(context) {
            None => return Ok(None),
            Some(unit) => unit::ask_waiting(&unit, "stop"),
        },
        Some(daemon) => match unit::of(daemon) {
            None => return end(daemon, Signal::SIGTERM).map(Some),
            Some(unit) => {
                load_by(context, daemon::load_for_daemon).inspect_err(|_| {
                    eprint_line!(
                        "Nothing was done. To stop the daemon with a wrong file: systemctl stop {unit}"
                    );
                })?;
                unit::ask(&unit, "stop", daemon)
            }
        },
    };
    // systemd does not report whether it had to kill the daemon.
    if exit == Exit::Ok { Ok(Some(End::Killed)) } else { Err(exit) }
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

/// Warns if the daemon of this name was started with another file: as in the original, two files of one name share a
/// daemon.
fn warn_of_other_file(context: &Context) {
    if let Some(Other { what: Differs::File(file), .. }) = Other::of(context) {
        eprint_line!("Warning: the daemon of this name runs for {file}; rename one of the two files");
    }
}

fn try_restart(context: &Context) -> Result<Exit, Exit> {
    match running(context)? {
        Some(_) => restart(context),
        None => load(context).map(|_| Exit::Ok),
    }
}

/// Restarts the daemon. Makes every check that can refuse the new daemon before it ends the old one; the table stays as
/// it is.
fn restart(context: &Context) -> Result<Exit, Exit> {
    if let Some(daemon) = running(context)?
        && let Some(unit) = unit::of(daemon)
    {
        let (path, _) = load_by(context, daemon::load_for_daemon)?;
        privileges::judge_for(daemon, &path).map_err(|error| {
            eprint_line!("{error}; nothing was done");
            Exit::Config
        })?;
        unit::warn_of_restart(&unit);
        return Ok(unit::ask(&unit, "restart", daemon));
    }
    if running(context)?.is_none()
        && let Some(unit) = unit::waiting(context)
    {
        load_by(context, daemon::load_for_daemon)?;
        return Ok(unit::ask_waiting(&unit, "restart"));
    }
    let (path, loaded) = load_to_start(context)?;
    let prepared = prepare(context, path, loaded)?;
    judge_table(context)?;
    warn_of_other_file(context);
    if let Some(daemon) = running(context)? {
        hand_over(daemon)?;
    }
    launch(context, prepared)
}

/// Refuses a restart with another table: the table of the running daemon would be left without checks.
fn judge_table(context: &Context) -> Result<(), Exit> {
    match Other::of(context) {
        Some(Other { what: Differs::Table("in memory"), name, .. }) => {
            eprint_line!(
                "Warning: the daemon {name} had its table in memory; the new one works on the kernel's table"
            );
            Ok(())
        }
        Some(Other { what: Differs::Table(table), pid, name }) => {
            eprint_line!(
                "The daemon {name} (pid {pid}) keeps the table {table}; nothing was done: a restart with another table would leave that \
                 one without checks. Start the file under another name, through a link"
            );
            Err(Exit::Failure)
        }
        _ => Ok(()),
    }
}

fn reload(context: &Context) -> Result<Exit, Exit> {
    let (_, loaded) = load_by(context, daemon::load_for_daemon)?;
    let Some(daemon) = running(context)? else {
        // The original's words.
        let message = format!("ldirectord is stopped for {}", context.display_config());
        if privileges::become_writer(context) {
            Log::new(&context.name, daemon::log_target(&loaded.spec.config().globals.logfile)).line(&message);
        }
        return Err(Exit::Failure);
    };
    warn_of_other_file(context);
    if let Some(unit) = unit::of(daemon) {
        return Ok(unit::ask(&unit, "reload", daemon));
    }
    match signalled(daemon, Signal::SIGHUP)? {
        Some(_) => Ok(Exit::Ok),
        None => {
            eprint_line!(
                "ldirectord for {} (pid {}) ended before it could reload",
                context.display_config(),
                daemon.pid
            );
            Err(Exit::Failure)
        }
    }
}

/// Prints whether the daemon runs. A wrong configuration is only a warning.
fn status(context: &Context) -> Exit {
    let config = context.display_config();
    match state(context) {
        Err(error) => {
            unreadable(context, &error);
            Exit::Unknown
        }
        Ok(State::Running(Process { pid, .. })) => {
            eprint_line!("ldirectord for {config} is running with pid: {pid}");
            warn_of_other_file(context);
            match context.find_config() {
                None => eprint_line!(
                    "Warning: Config file {} not found; the daemon keeps its current configuration",
                    context.argument
                ),
                // Resolves no names: a cluster manager asks every few seconds, also while the name server is down.
                Some(path) => match daemon::judge(&path) {
                    Ok(loaded) => status_of_instances(context, &loaded.spec.config().globals.execute),
                    Err(error) => eprint_line!(
                        "Warning: the configuration file is now invalid (errors: {}); the daemon keeps its current configuration; \
                         to see the errors: ldirectord-rs check {}",
                        error.count(),
                        path.display()
                    ),
                },
            }
            Exit::Ok
        }
        Ok(State::Stale(_)) => {
            // The original's words, as in all answers of `status`.
            eprint_line!("ldirectord stale pid file {} for {config}", context.pid_file().display());
            print_line!("ldirectord is stopped for {config}");
            Exit::Failure
        }
        // A starting daemon does not run yet.
        Ok(State::Stopped | State::Starting) => {
            print_line!("ldirectord is stopped for {config}");
            Exit::Stopped
        }
    }
}

/// Runs `status` for the configurations of `execute=`. Their answers do not change this one's exit code. Configurations
/// that name each other in a circle are asked once.
fn status_of_instances(context: &Context, execute: &BTreeSet<String>) {
    let callers = instances::callers(&context.name);
    for instance in execute.iter().filter(|instance| !callers.contains(&instances::name(instance))) {
        let words = [context.own.clone(), instances::words(instance), vec!["status".to_owned()]].concat();
        let status =
            Command::new(&words[0]).args(&words[1..]).env(instances::CALLERS, callers.join("\n")).status();
        if let Err(error) = status {
            eprint_line!("execute={instance}: {} cannot be run: {error}", words[0]);
        }
    }
}
