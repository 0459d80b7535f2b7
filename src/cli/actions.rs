//! The original's actions: start, stop, restart, try-restart, reload, status.

#![expect(clippy::disallowed_methods, reason = "waiting for another process needs the clock")]

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nix::errno::Errno;

use super::Exit;
use super::arguments::Action;
use super::context::Context;
use super::privileges;
use super::terminal::{say, tell};
use crate::check::{Checker, silence_contained_panics};
use crate::daemon::{self, CommandSetup, InUse, Limits, LoadError, Loaded, Setup, instances};
use crate::net::cause;
use crate::settings::{Backend, LogFormat, Unchecked};
use crate::sys::access;
use crate::sys::detach::{self, Side, Verdict};
use crate::sys::limits;
use crate::sys::log::{Log, Target};
use crate::sys::pidfile::{self, PidFile, State};
use crate::sys::process::{self, Held, Process, Signal};

/// How long `stop` and `restart` wait for the daemon to be gone. It needs a few seconds at most, even with hung checks.
const GONE_LIMIT: Duration = Duration::from_secs(30);
/// How long `start` waits for an answer of the file system with the log.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
const GONE_POLL: Duration = Duration::from_millis(10);

pub(super) fn run(context: &Context, action: Action) -> Exit {
    if matches!(action, Action::Start | Action::Restart | Action::TryRestart) {
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

/// The daemon that runs, once a start that is on its way has come to its end.
fn running(context: &Context) -> Result<Option<Process>, Exit> {
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
fn unreadable(context: &Context, error: &io::Error) {
    tell!(
        "{} cannot be read: {}; whether ldirectord runs for {} is unknown, ask as root",
        context.pid_file().display(),
        cause(error),
        context.display_config()
    );
}

fn start(context: &Context) -> Result<Exit, Exit> {
    let (path, loaded) = load_to_start(context)?;
    // Whoever waits for the end of this process must not take that of a second one for it.
    if let Some(pid) = running(context)?
        && !context.foreground
    {
        if context.debug {
            let config = context.display_config();
            tell!(
                "ldirectord for {config} is running already with pid {pid}; nothing was started in the foreground"
            );
        }
        return Ok(Exit::Ok);
    }
    launch(context, prepare(context, path, loaded)?)
}

/// A daemon that has all it needs but its place.
struct Prepared {
    setup: Setup,
    foreground: Option<Target>,
}

/// All that can refuse the daemon is asked here, while another one may still run.
fn prepare(context: &Context, path: PathBuf, loaded: Loaded) -> Result<Prepared, Exit> {
    let ipvs = context.open_table().map_err(|error| {
        tell!("The kernel's IPVS table cannot be opened: {error}");
        Exit::Failure
    })?;
    let config = loaded.plan.config();
    privileges::judge(context, &path, config).map_err(|error| {
        tell!("{error}");
        Exit::Failure
    })?;
    let globals = &config.globals;
    let foreground = match (context.debug, globals.supervised) {
        (true, _) => Some(Target::Stderr),
        (false, true) => Some(Target::Stdout),
        (false, false) => None,
    };
    let log = Log::new(&context.name, daemon::log_target(&globals.logfile));
    log.set_journald(context.settings.log.journald);
    log.set_json(context.settings.log.format == LogFormat::Json);
    let checker = Checker::new().map_err(|error| {
        tell!("{error}");
        Exit::Failure
    })?;
    let setup = Setup {
        checker: checker.with_commands(context.acts.commands),
        path,
        name: context.name.clone(),
        loaded,
        ipvs,
        state_directory: context.state_directory(),
        remember: context.settings.table.backend == Backend::Kernel,
        verify_interval: context.settings.table.verify_interval(),
        check_limits: check_limits(context),
        unchecked_is_down: context.settings.checks.unchecked == Unchecked::Down,
        grace: context.settings.stop.grace(),
        acts: context.acts,
        mail: context.settings.mail.clone(),
        monitor_mode: context.settings.log.monitor_mode,
        log,
        log_by_configuration: foreground.is_none(),
        commands: CommandSetup {
            timeout: context.settings.commands.timeout(),
            fallbackcommand_at_stop: context.settings.commands.fallbackcommand_at_stop,
            own: context.own.clone(),
        },
        launcher: None,
    };
    Ok(Prepared { setup, foreground })
}

fn launch(context: &Context, Prepared { setup, foreground }: Prepared) -> Result<Exit, Exit> {
    match foreground {
        Some(target) => Ok(in_foreground(context, setup, target)),
        None if context.foreground => attached(context, setup),
        None => in_background(context, setup),
    }
}

/// Checks in flight need descriptors; some are left for all else.
pub(super) fn check_limits(context: &Context) -> Limits {
    let descriptors = usize::try_from(limits::raise_open_files()).unwrap_or(usize::MAX);
    if descriptors < FEW_DESCRIPTORS {
        tell!(
            "warning: this process may open {descriptors} files only, fewer than {FEW_DESCRIPTORS}, so that few checks run at the \
             same time; raise the limit of open files (ulimit -Hn, or LimitNOFILE= in the unit)"
        );
    }
    Limits { checks: context.settings.checks.limit, descriptors: for_checks(descriptors) }
}

/// With fewer descriptors than this the operator is warned.
const FEW_DESCRIPTORS: usize = 256;

/// So many descriptors are left for all else, or half of them where there are few.
const RESERVED_DESCRIPTORS: usize = 128;

fn for_checks(descriptors: usize) -> usize {
    descriptors - RESERVED_DESCRIPTORS.min(descriptors / 2)
}

fn in_foreground(context: &Context, setup: Setup, target: Target) -> Exit {
    limits::survive_file_size_limit();
    setup.log.redirect(target);
    let log = setup.log.clone();
    log.install(context.settings.log.level.into());
    tracing::info!("Invoking ldirectord invoked as: {} ", context.invocation);
    tracing::info!("Starting Linux Director (ldirectord-rs {VERSION}) with pid: {}", process::own_pid());
    let result = serve(context, setup, None);
    log.finish();
    match result {
        Ok(()) => Exit::Ok,
        Err(_) => Exit::Failure,
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn in_background(context: &Context, mut setup: Setup) -> Result<Exit, Exit> {
    let Some(pid_file) = claim(context)? else { return Ok(Exit::Ok) };
    let launcher = match detach::detach() {
        Ok(Side::Launcher(verdict)) => {
            pid_file.leave_to_child();
            let exit = launched(verdict)?;
            if privileges::become_writer(context) {
                probe_log(&setup);
            }
            return Ok(exit);
        }
        Ok(Side::Daemon(launcher)) => launcher,
        Err(error) => {
            tell!("cannot detach: {error}");
            return Err(Exit::Failure);
        }
    };
    setup.launcher = Some(launcher);
    as_daemon(context, setup, pid_file)
}

fn launched(verdict: Verdict) -> Result<Exit, Exit> {
    match verdict {
        Verdict::Ready { notes } => {
            notes.lines().for_each(|line| tell!("{line}"));
            Ok(Exit::Ok)
        }
        Verdict::Failed { code, message } => {
            tell!("{message}");
            Err(if code == Exit::Config as u8 { Exit::Config } else { Exit::Failure })
        }
    }
}

/// R17: a full disk must not keep services from being checked, but the operator who starts the daemon is told.
fn probe_log(setup: &Setup) {
    if let Err(error) = setup.log.probe(PROBE_LIMIT) {
        tell!("unable to open logfile: {error}; the daemon runs without a log until it can");
    }
}

/// The pid file; none if the daemon of another start runs. While that one is on its way it is waited for: whoever starts the
/// daemon may ask for its status the moment after.
fn claim(context: &Context) -> Result<Option<PidFile>, Exit> {
    let path = context.pid_file();
    let limit = Instant::now() + GONE_LIMIT;
    loop {
        match PidFile::claim(&path, &context.lock_file()) {
            Ok(Some(pid_file)) => return Ok(Some(pid_file)),
            Ok(None) if running(context)?.is_some() => return Ok(None),
            Ok(None) if Instant::now() < limit => std::thread::sleep(GONE_POLL),
            Ok(None) => {
                tell!(
                    "{} is locked, and no daemon runs; look for who has locked it (fuser {0})",
                    path.display()
                );
                return Err(Exit::Failure);
            }
            Err(error) => {
                tell!("Can not open {}: {}", path.display(), cause(&error));
                return Err(Exit::Failure);
            }
        }
    }
}

/// Who runs besides this process, which may hold the lock.
fn running_besides(context: &Context, own: Option<&PidFile>) -> Result<Option<Process>, Exit> {
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

/// A daemon in all but its place: whoever started it waits for its end.
fn attached(context: &Context, setup: Setup) -> Result<Exit, Exit> {
    let path = context.pid_file();
    let unusable = |error: io::Error| {
        tell!("Can not open {}: {}", path.display(), cause(&error));
        Exit::Failure
    };
    let claimed = PidFile::claim(&path, &context.lock_file()).map_err(unusable)?;
    // The original takes no lock: its pid in the file is all that there is of it.
    if let Some(Process { pid, .. }) = running_besides(context, claimed.as_ref())? {
        let way = if process::is_ours(pid) { "" } else { ", or go over with ldirectord-rs-switch to-rs" };
        tell!("{} belongs to pid {pid}, which is running; end that one first{way}", path.display());
        return Err(Exit::Failure);
    }
    let Some(pid_file) = claimed else {
        tell!(
            "{} belongs to a daemon that is starting or ending; try again when that is over",
            path.display()
        );
        return Err(Exit::Failure);
    };
    as_daemon(context, setup, pid_file)
}

fn as_daemon(context: &Context, mut setup: Setup, mut pid_file: PidFile) -> Result<Exit, Exit> {
    limits::survive_file_size_limit();
    let log = setup.log.clone();
    log.install(context.settings.log.level.into());
    report_panics(log.clone());
    process::hold_signals();
    tracing::info!("Invoking ldirectord invoked as: {} ", context.invocation);
    tracing::info!("Starting Linux Director (ldirectord-rs {VERSION}) as daemon");
    let unwritten = pid_file.write_own_pid().err().and_then(|error| {
        let line = format!(
            "Can not write {}: {error}; the daemon runs, but status and stop do not find it until the file can be written: free \
             space there",
            context.pid_file().display()
        );
        tracing::error!("{line}");
        match &mut setup.launcher {
            Some(launcher) => launcher.note(&line),
            None => tell!("{line}"),
        }
        pid_file.write_later().map(FutureExt::boxed).ok()
    });
    let result = serve(context, setup, unwritten);
    if privileges::become_writer(context) {
        log.finish();
    }
    pid_file.remove();
    result.map(|()| Exit::Ok).map_err(|_| Exit::Failure)
}

/// A daemon has no terminal to die on.
fn report_panics(log: Log) {
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("a bug in this program: {panic}");
        // It may be the end of the process.
        log.finish();
    }));
    silence_contained_panics();
}

/// `unwritten` writes the pid file where that was not possible.
fn serve(
    context: &Context,
    mut setup: Setup,
    unwritten: Option<BoxFuture<'static, ()>>,
) -> Result<(), daemon::StartError> {
    let runtime =
        daemon::runtime().map_err(|error| daemon::StartError::System { what: "the runtime", error })?;
    {
        let _inside = runtime.enter();
        setup.checker.open_pings();
    }
    // The runtime has no thread yet besides this one.
    if let Err(error) = privileges::settle(context, &mut setup) {
        return Err(daemon::give_up(setup.launcher.take(), error.into()));
    }
    if let Err(error) = setup.log.start_writer() {
        let error = daemon::StartError::System { what: "a thread for the log", error };
        return Err(daemon::give_up(setup.launcher.take(), error));
    }
    if setup.log_by_configuration && setup.launcher.is_none() {
        probe_log(&setup);
    }
    unwritten.map(|unwritten| runtime.spawn(unwritten));
    let result = runtime.block_on(daemon::run(setup));
    // A name that the system's resolver still asks for must not delay the end.
    runtime.shutdown_background();
    result
}

/// Works whatever the configuration looks like: what runs can always be ended.
fn stop(context: &Context) -> Result<Exit, Exit> {
    match running(context)? {
        None => {
            say_nothing_to_stop(context);
            Ok(Exit::Ok)
        }
        Some(daemon) => end(daemon, Signal::SIGTERM).map(|()| Exit::Ok),
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

fn try_restart(context: &Context) -> Result<Exit, Exit> {
    match running(context)? {
        Some(_) => restart(context),
        None => load(context).map(|_| Exit::Ok),
    }
}

/// Whatever may refuse the new daemon is asked before the old one is ended, and the table is handed over as it is.
fn restart(context: &Context) -> Result<Exit, Exit> {
    let (path, loaded) = load_to_start(context)?;
    let prepared = prepare(context, path, loaded)?;
    if let Some(daemon) = running(context)? {
        hand_over(daemon)?;
    }
    launch(context, prepared)
}

/// The end of a daemon that leaves the table as it is. The original is killed by the signal, and would leave what it has forked to
/// check its servers at work on the table.
fn hand_over(daemon: Process) -> Result<(), Exit> {
    let children = if process::is_ours(daemon.pid) { Vec::new() } else { process::children(daemon.pid) };
    end(daemon, Signal::SIGUSR2)?;
    for child in children.into_iter().filter(|child| process::is_forked_checker(*child)) {
        // What went wrong has been said. Their parent is gone: without a new daemon it would be worse.
        let _ = end(Process::at(child), Signal::SIGKILL);
    }
    Ok(())
}

/// Sends a signal and waits until the process is gone.
fn end(process: Process, signal: Signal) -> Result<(), Exit> {
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
fn signalled(process: Process, signal: Signal) -> Result<Option<Held>, Exit> {
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

fn reload(context: &Context) -> Result<Exit, Exit> {
    let (_, loaded) = load_by(context, daemon::load_for_daemon)?;
    let Some(daemon) = running(context)? else {
        let message = format!("ldirectord is stopped for {}", context.display_config());
        if privileges::become_writer(context) {
            Log::new(&context.name, daemon::log_target(&loaded.plan.config().globals.logfile)).line(&message);
        }
        return Err(Exit::Failure);
    };
    match signalled(daemon, Signal::SIGHUP)? {
        Some(_) => Ok(Exit::Ok),
        None => {
            tell!("pid {} has ended meanwhile", daemon.pid);
            Err(Exit::Failure)
        }
    }
}

/// Works whatever the configuration looks like; a wrong one is a warning.
fn status(context: &Context) -> Exit {
    let config = context.display_config();
    match pidfile::state(&context.pid_file(), &context.lock_file()) {
        Err(error) => {
            unreadable(context, &error);
            Exit::Unknown
        }
        Ok(State::Running(Process { pid, .. })) => {
            tell!("ldirectord for {config} is running with pid: {pid}");
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

#[cfg(test)]
mod tests {
    use super::for_checks;

    #[test]
    fn a11_few_descriptors_are_shared_between_checks_and_the_rest() {
        for (all, checks) in [(0, 0), (64, 32), (128, 64), (256, 128), (1024, 896)] {
            assert_eq!(for_checks(all), checks, "{all}");
        }
    }
}
