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
use super::terminal::{say, tell};
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
            tell!("{wrong}");
            return Exit::Failure;
        }
        // Before anything is opened. What runs from here on may become the daemon.
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

/// Warns of files that decide what the daemon does, and as whom, when every user may change them.
pub(super) fn warn_of_access(context: &Context, config: &Path) {
    let files = [config, &context.settings_file, &context.settings.mail.password_file];
    for warning in files.into_iter().filter_map(access::warning) {
        tell!("Warning: {warning}");
    }
}

/// The configuration, or the exit code after everything that is wrong with it has been said.
pub(super) fn load(context: &Context) -> Result<(PathBuf, Loaded), Exit> {
    load_by(context, daemon::load)
}

/// As [`load`], to start a daemon: servers that the kernel's table has keep their addresses.
fn load_to_start(context: &Context) -> Result<(PathBuf, Loaded), Exit> {
    load_by(context, |path| daemon::load_for(path, &in_use(context)))
}

/// The addresses that our services have in the kernel's table. Where it cannot be read, what follows says so.
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
        tell!("{}", context.not_found());
        return Err(Exit::Failure);
    };
    warn_of_access(context, &path);
    match load(&path) {
        Ok(loaded) => {
            for line in loaded.warning_lines(&path) {
                tell!("{line}");
            }
            Ok((path, loaded))
        }
        Err(error) => {
            report(&error);
            Err(Exit::Config)
        }
    }
}

/// Prints everything that is wrong with a file.
pub(super) fn report(error: &LoadError) {
    tell!("{}", error.render(has_colour()));
}

/// Whether diagnostics are printed in colour.
pub(super) fn has_colour() -> bool {
    io::stderr().is_terminal()
}

fn start(context: &Context) -> Result<Exit, Exit> {
    let (path, loaded) = load_to_start(context)?;
    // Whoever waits for the end of this process must not take that of a second one for it.
    if let Some(Process { pid, .. }) = running(context)?
        && !context.foreground
    {
        return say_already_running(context, pid);
    }
    launch(context, prepare(context, path, loaded)?)
}

/// R92: the original says nothing. A daemon that is not the one that was asked for is named.
fn say_already_running(context: &Context, pid: i32) -> Result<Exit, Exit> {
    let config = context.display_config();
    if let Some((Process { pid, .. }, Instance { name, .. })) = under_another_name(context) {
        let name = escaped(&name);
        tell!("ldirectord for {config} is running already as {name} with pid {pid}; nothing was started");
        return Ok(Exit::Ok);
    }
    match Other::of(context) {
        Some(Other { what: Differs::Table(table), pid, .. }) => {
            tell!(
                "ldirectord for {config} is running already with pid {pid}, on the table {table}; nothing was started; end that one first"
            );
            Err(Exit::Failure)
        }
        Some(Other { what: Differs::File(file), pid, name }) => {
            tell!(
                "The name {name} is that of the daemon for {file} (pid {pid}); {config} was not started: give it another name"
            );
            Err(Exit::Failure)
        }
        None => {
            if context.debug {
                tell!(
                    "ldirectord for {config} is running already with pid {pid}; nothing was started in the foreground"
                );
            }
            Ok(Exit::Ok)
        }
    }
}

/// Works whatever the configuration looks like: what runs can always be ended. Where a unit runs it, `systemctl stop` is the way that
/// always works, and this one reads the file first (R94).
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
        // Nothing starts while the lock is ours.
        match Lock::take(&context.lock_file()) {
            Ok(Some(lock)) => {
                clean_up(context, was_killed);
                if was_killed {
                    let _ = std::fs::remove_file(context.pid_file());
                }
                lock.remove();
                return Ok(Exit::Ok);
            }
            // A daemon starts or ends at this moment.
            Ok(None) if Instant::now() < limit => std::thread::sleep(GONE_POLL),
            Ok(None) => {
                let (lock, seconds) = (context.lock_file(), GONE_LIMIT.as_secs());
                tell!(
                    "{} is locked for {seconds} s, and no daemon is found; find it with fuser {0} and end it",
                    lock.display()
                );
                return Err(Exit::Failure);
            }
            // Without its directory no daemon has left anything.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !was_killed {
                    say_nothing_to_stop(context);
                }
                return Ok(Exit::Ok);
            }
            Err(error) => {
                say_nothing_to_stop(context);
                let lock = context.lock_file();
                tell!(
                    "Warning: whether a daemon that crashed left services in the table was not looked at: {}: {}",
                    lock.display(),
                    cause(&error)
                );
                return Ok(Exit::Ok);
            }
        }
    }
}

/// Ends what runs, or a unit that is about to start it; none where there is nothing to end.
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
                    tell!("Nothing was done; systemctl stop {unit} ends the daemon whatever its file says");
                })?;
                unit::ask(&unit, "stop", daemon)
            }
        },
    };
    // systemd does not say whether it had to kill it.
    if exit == Exit::Ok { Ok(Some(End::Killed)) } else { Err(exit) }
}

/// R83: removes what a daemon that crashed left in the table.
fn clean_up(context: &Context, was_killed: bool) {
    let (config, directory) = (context.display_config(), context.state_directory());
    let left = match context.settings.table.backend {
        // It is gone with its daemon.
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
            tell!("ldirectord for {config} does not run; removed {services} that it had left in the table");
        }
        Leftovers::Left(why) => {
            tell!("ldirectord for {config} does not run in the background");
            tell!(
                "Warning: its services stay in the table: {why}; list them with ipvsadm -Ln, remove them with ipvsadm -D"
            );
        }
    }
}

/// R81: a wrong name must not look like success.
fn say_nothing_to_stop(context: &Context) {
    let file = match context.find_config() {
        Some(_) => "",
        None => ", and there is no such configuration file",
    };
    tell!("ldirectord for {} does not run; nothing to stop{file}", context.display_config());
}

/// Two files of one name have one daemon, as with the original: that of the file that was started.
fn warn_of_other_file(context: &Context) {
    if let Some(Other { what: Differs::File(file), .. }) = Other::of(context) {
        tell!("Warning: the daemon of this name runs for {file}; give one of the two files another name");
    }
}

fn try_restart(context: &Context) -> Result<Exit, Exit> {
    match running(context)? {
        Some(_) => restart(context),
        None => load(context).map(|_| Exit::Ok),
    }
}

/// Whatever may refuse the new daemon is asked before the old one is ended, and the table is handed over as it is.
fn restart(context: &Context) -> Result<Exit, Exit> {
    if let Some(daemon) = running(context)?
        && let Some(unit) = unit::of(daemon)
    {
        let (path, _) = load_by(context, daemon::load_for_daemon)?;
        privileges::judge_for(daemon, &path).map_err(|error| {
            tell!("{error}; nothing was done");
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

/// A restart with another table is no handover: that of the daemon that runs would be left without checks.
fn judge_table(context: &Context) -> Result<(), Exit> {
    match Other::of(context) {
        Some(Other { what: Differs::Table("in memory"), name, .. }) => {
            tell!("Warning: the daemon {name} had its table in memory; the new one keeps the kernel's");
            Ok(())
        }
        Some(Other { what: Differs::Table(table), pid, name }) => {
            tell!(
                "The daemon {name} (pid {pid}) keeps the table {table}; nothing was done: a restart with another one would leave that \
                 without checks. Try the file under another name, a link to it"
            );
            Err(Exit::Failure)
        }
        _ => Ok(()),
    }
}

fn reload(context: &Context) -> Result<Exit, Exit> {
    let (_, loaded) = load_by(context, daemon::load_for_daemon)?;
    let Some(daemon) = running(context)? else {
        let message = format!("ldirectord is stopped for {}", context.display_config());
        if privileges::become_writer(context) {
            Log::new(&context.name, daemon::log_target(&loaded.plan.config().globals.logfile)).line(&message);
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
            tell!(
                "ldirectord for {} (pid {}) ended before it could reload",
                context.display_config(),
                daemon.pid
            );
            Err(Exit::Failure)
        }
    }
}

/// Works whatever the configuration looks like; a wrong one is a warning.
fn status(context: &Context) -> Exit {
    let config = context.display_config();
    match state(context) {
        Err(error) => {
            unreadable(context, &error);
            Exit::Unknown
        }
        Ok(State::Running(Process { pid, .. })) => {
            tell!("ldirectord for {config} is running with pid: {pid}");
            warn_of_other_file(context);
            match context.find_config() {
                None => tell!(
                    "Warning: Config file {} not found; it runs with what it has read",
                    context.argument
                ),
                // A cluster manager asks every few seconds, and also while the name server is dead.
                Some(path) => match daemon::judge(&path) {
                    Ok(loaded) => status_of_instances(context, &loaded.plan.config().globals.execute),
                    Err(error) => tell!(
                        "Warning: it runs with what it has read before; the file is wrong now (errors: {}); to see them: \
                         ldirectord-rs check {}",
                        error.count(),
                        path.display()
                    ),
                },
            }
            Exit::Ok
        }
        Ok(State::Stale(_)) => {
            tell!("ldirectord stale pid file {} for {config}", context.pid_file().display());
            say!("ldirectord is stopped for {config}");
            Exit::Failure
        }
        // What starts does not run yet.
        Ok(State::Stopped | State::Starting) => {
            say!("ldirectord is stopped for {config}");
            Exit::Stopped
        }
    }
}

/// The other configurations say for themselves whether they run; the answer for this one does not depend on them. Those that
/// name each other in a circle are asked once.
fn status_of_instances(context: &Context, execute: &BTreeSet<String>) {
    let callers = instances::callers(&context.name);
    for instance in execute.iter().filter(|instance| !callers.contains(&instances::name(instance))) {
        let words = [context.own.clone(), instances::words(instance), vec!["status".to_owned()]].concat();
        let status =
            Command::new(&words[0]).args(&words[1..]).env(instances::CALLERS, callers.join("\n")).status();
        if let Err(error) = status {
            tell!("execute={instance}: {} cannot be run: {error}", words[0]);
        }
    }
}
