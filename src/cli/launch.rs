//! Starts a daemon from a configuration: in the foreground, in the background or for a service manager.

#![expect(clippy::disallowed_methods, reason = "waiting for another start needs the clock")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Exit;
use super::context::Context;
use super::failure::CommandFailure;
use super::privileges;
use super::running::{END_LIMIT, GONE_LIMIT, GONE_POLL, beside, running};
use super::terminal::{self, eprint_line};
use crate::check::{Checker, silence_contained_panics};
use crate::control::Rights;
use crate::daemon::{self, CommandSetup, Limits, LoadedFile, Setup};
use crate::http::{self, HttpSetup};
use crate::net::cause;
use crate::settings::{Backend, HttpAddress, LogFormat, UncheckedPolicy};
use crate::sys::detach::{self, Side, StartResult, Started};
use crate::sys::limits;
use crate::sys::log::{Log, LogDestination};
use crate::sys::pidfile::PidFile;
use crate::sys::process::{self, Process};

/// The longest `[stop] grace` that leaves time for the stop itself within [`END_LIMIT`].
const LONGEST_GRACE: Duration = Duration::from_secs(8);
/// How long `start` waits for the file system of the log. Longer than a busy machine needs.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// A daemon that is ready to be launched.
pub(super) struct Prepared {
    setup: Setup,
    foreground: Option<LogDestination>,
}

/// Makes every check that can refuse the daemon. Another daemon may still run at this time.
pub(super) fn prepare(
    context: &Context,
    path: PathBuf,
    loaded: LoadedFile,
) -> Result<Prepared, CommandFailure> {
    let ipvs = context.open_table().map_err(CommandFailure::Table)?;
    let config = loaded.spec.config();
    privileges::judge(context, &path, config).map_err(CommandFailure::Privileges)?;
    let globals = &config.globals;
    let foreground = match (context.debug, globals.supervised) {
        (true, _) => Some(LogDestination::Stderr),
        (false, true) => Some(LogDestination::Stdout),
        (false, false) => None,
    };
    let grace = context.settings.stop.grace;
    if grace > LONGEST_GRACE {
        eprint_line!(
            "Warning: [stop] grace = {} s is too long: stop and restart kill the daemon after {} s; use at most {} s",
            grace.as_secs_f64(),
            END_LIMIT.as_secs(),
            LONGEST_GRACE.as_secs()
        );
    }
    let log = Log::new(&context.name, daemon::log_target(&globals.logfile));
    log.set_journald(context.settings.log.journald);
    log.set_json(context.settings.log.format == LogFormat::Json);
    let checker = Checker::new().map_err(CommandFailure::Checker)?;
    let control = &context.settings.control;
    let rights = Rights::new(&control.read_group, &control.write_group)
        .map_err(|error| CommandFailure::Setting { file: context.settings_file.clone(), error })?;
    let setup = Setup {
        checker: checker.with_commands(context.acts.commands),
        path,
        name: context.name.clone(),
        loaded,
        ipvs,
        state_directory: context.state_directory(),
        http: HttpSetup::new(&context.settings.http, &context.name, rights.clone()),
        overrides: (context.settings.table.backend == Backend::Kernel).then(|| context.overrides_file()),
        // Another program acts on these files, as on a command.
        track: Some(&context.settings.paths.track)
            .filter(|path| context.acts.commands && !path.as_os_str().is_empty())
            .cloned(),
        rights,
        remember: context.settings.table.backend == Backend::Kernel,
        verify_interval: context.settings.table.verify_interval(),
        check_limits: check_limits(context),
        unchecked_is_down: context.settings.checks.unchecked == UncheckedPolicy::Down,
        grace,
        acts: context.acts,
        mail: context.settings.mail.clone(),
        monitor_mode: context.settings.log.monitor_mode,
        metrics: context.settings.metrics,
        log,
        log_by_configuration: foreground.is_none(),
        commands: CommandSetup {
            timeout: context.settings.commands.timeout,
            fallbackcommand_at_stop: context.settings.commands.fallbackcommand_at_stop,
            own: context.own.clone(),
        },
        launcher: None,
    };
    Ok(Prepared { setup, foreground })
}

pub(super) fn launch(
    context: &Context,
    Prepared { setup, foreground }: Prepared,
) -> Result<Exit, CommandFailure> {
    match foreground {
        Some(target) => Ok(in_foreground(context, setup, target)),
        None if context.foreground => attached(context, setup),
        None => in_background(context, setup),
    }
}

/// Limits of running checks. Each needs a descriptor; some are reserved for everything else.
pub(super) fn check_limits(context: &Context) -> Limits {
    let descriptors = usize::try_from(limits::raise_open_files()).unwrap_or(usize::MAX);
    if descriptors < FEW_DESCRIPTORS {
        eprint_line!(
            "Warning: this process may open {descriptors} files only, fewer than {FEW_DESCRIPTORS}, so few checks can run at the same \
             time; raise the limit of open files (ulimit -Hn, or LimitNOFILE= in the unit)"
        );
    }
    let descriptors = for_checks(descriptors, reserved_descriptors(context));
    Limits { checks: context.settings.checks.max_concurrent, descriptors }
}

/// A limit of open files below this number is a warning.
const FEW_DESCRIPTORS: usize = 256;

/// Descriptors that checks must not use, without those of the HTTP listener.
const RESERVED_DESCRIPTORS: usize = 128;

/// Descriptors that checks must not use. At most half of all.
pub(super) fn reserved_descriptors(context: &Context) -> usize {
    let has_listener = context.settings.http.listen != HttpAddress::Off;
    RESERVED_DESCRIPTORS + if has_listener { http::CONNECTIONS } else { 0 }
}

fn for_checks(descriptors: usize, reserved: usize) -> usize {
    descriptors - reserved.min(descriptors / 2)
}

fn in_foreground(context: &Context, setup: Setup, target: LogDestination) -> Exit {
    limits::survive_file_size_limit();
    limits::give_memory_back();
    setup.log.redirect(target);
    let log = setup.log.clone();
    log.install(context.settings.log.level.into());
    // The original's words, with its blank at the end.
    tracing::info!("Invoking ldirectord invoked as: {} ", context.invocation);
    tracing::info!("Starting Linux Director (ldirectord-rs {VERSION}) with pid: {}", process::own_pid());
    let result = serve(context, setup, None);
    log.finish();
    code(&result)
}

/// The exit code of a daemon. It has logged its error, and told its launcher.
fn code(result: &Result<(), daemon::StartError>) -> Exit {
    if result.is_ok() { Exit::Ok } else { Exit::Failure }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn in_background(context: &Context, mut setup: Setup) -> Result<Exit, CommandFailure> {
    let Some(pid_file) = claim(context)? else { return Ok(Exit::Ok) };
    let launcher = match detach::detach() {
        Ok(Side::Launcher(result)) => {
            pid_file.leave_to_child();
            let started = launched(result)?;
            if privileges::become_writer(context) {
                probe_log(&setup);
            }
            // Scripts get the output of the original: none.
            if let Some(started) = started.filter(|_| terminal::is_interactive()) {
                eprint_line!("{}", summary(&context.argument, context.is_named, &started));
            }
            return Ok(Exit::Ok);
        }
        Ok(Side::Daemon(launcher)) => launcher,
        Err(error) => return Err(CommandFailure::Detach(error)),
    };
    setup.launcher = Some(launcher);
    as_daemon(context, setup, pid_file)
}

/// Prints the warnings of a daemon that has started.
fn launched(result: StartResult) -> Result<Option<Started>, CommandFailure> {
    match result {
        StartResult::Ready { notes, started } => {
            notes.lines().for_each(|line| eprint_line!("{line}"));
            Ok(started)
        }
        StartResult::Failed { code, message } => {
            let exit = if code == Exit::Config as u8 { Exit::Config } else { Exit::Failure };
            Err(CommandFailure::Start { message, exit })
        }
    }
}

/// The result of a start, for a person.
fn summary(config: &str, is_named: bool, started: &Started) -> String {
    let Started { pid, state, is_checked } = started;
    let line = format!("ldirectord-rs for {config} started (pid {pid}): {state}");
    match (is_checked, is_named) {
        (true, _) => line,
        (false, true) => format!("{line}; first checks are still running: ldirectord-rs show {config}"),
        (false, false) => format!("{line}; first checks are still running: ldirectord-rs show"),
    }
}

/// Warns the operator about a log that cannot be written. The daemon runs all the same: a full disk must not stop
/// checks (R17).
fn probe_log(setup: &Setup) {
    if let Err(error) = setup.log.probe(PROBE_LIMIT) {
        // The first words are the original's.
        eprint_line!(
            "unable to open logfile: {error}; the daemon runs without a log until it can open the file"
        );
    }
}

/// Claims the pid file. None if a daemon of another start runs. Waits for a start in progress: the caller may ask for
/// the status of the daemon right after.
fn claim(context: &Context) -> Result<Option<PidFile>, CommandFailure> {
    let path = context.pid_file();
    let limit = Instant::now() + GONE_LIMIT;
    let known_as = |claimed: PidFile| match context.instance() {
        Some(instance) => claimed.known_as(&instance, &context.state_directory()),
        None => Some(claimed),
    };
    loop {
        match PidFile::claim(&path, &context.lock_file()).map(|claimed| claimed.and_then(known_as)) {
            Ok(Some(pid_file)) => return Ok(Some(pid_file)),
            Ok(None) if running(context)?.is_some() => return Ok(None),
            Ok(None) if Instant::now() < limit => std::thread::sleep(GONE_POLL),
            Ok(None) => {
                return Err(CommandFailure::LockedWithoutDaemon {
                    pid_file: path,
                    lock: context.lock_file(),
                });
            }
            Err(error) => return Err(CommandFailure::PidFile { path, error }),
        }
    }
}

/// Runs the daemon in this process, for a supervisor that waits for its end.
fn attached(context: &Context, setup: Setup) -> Result<Exit, CommandFailure> {
    let path = context.pid_file();
    let claimed = claim(context)?;
    let other = match &claimed {
        None => running(context)?,
        // The original takes no lock: only the pid file shows that it runs.
        Some(own) => beside(context, own)?,
    };
    if let Some(Process { pid, .. }) = other {
        let way = if process::is_ours(pid) { "" } else { ", or switch with ldirectord-rs-switch to-rs" };
        let config = context.display_config();
        return Err(CommandFailure::AlreadyRuns { config, pid, way });
    }
    let Some(pid_file) = claimed else {
        return Err(CommandFailure::DaemonEnds(path));
    };
    as_daemon(context, setup, pid_file)
}

fn as_daemon(context: &Context, mut setup: Setup, mut pid_file: PidFile) -> Result<Exit, CommandFailure> {
    limits::survive_file_size_limit();
    limits::give_memory_back();
    let log = setup.log.clone();
    log.install(context.settings.log.level.into());
    report_panics(log.clone());
    process::hold_signals();
    // The original's words, with its blank at the end.
    tracing::info!("Invoking ldirectord invoked as: {} ", context.invocation);
    tracing::info!("Starting Linux Director (ldirectord-rs {VERSION}) as daemon");
    if let Some(error) = pid_file.lock_error() {
        tracing::warn!(
            "{} cannot be locked: {}; start and stop rely on the pid file alone",
            context.lock_file().display(),
            cause(error)
        );
    } else if let Some(error) = pid_file.file_lock_error() {
        tracing::warn!(
            "{} has no space for a second lock: {}; a start of the configuration under another name does not find this daemon; free \
             space there and restart the daemon",
            context.state_directory().display(),
            cause(error)
        );
    }
    let unwritten = pid_file.write_own_pid().err().and_then(|error| {
        let line = format!(
            "Can not write {}: {error}; the daemon runs, but status and stop do not find it until the file can be written; free \
             space there",
            context.pid_file().display()
        );
        tracing::error!("{line}");
        match &mut setup.launcher {
            Some(launcher) => launcher.note(&line),
            None => eprint_line!("{line}"),
        }
        pid_file.write_later().map(FutureExt::boxed).ok()
    });
    let result = serve(context, setup, unwritten);
    if privileges::become_writer(context) {
        log.finish();
    }
    pid_file.remove();
    Ok(code(&result))
}

/// Logs panics, as a daemon has no terminal.
fn report_panics(log: Log) {
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("a bug in this program: {panic}");
        // The panic may end the process.
        log.finish();
    }));
    silence_contained_panics();
}

/// Runs the daemon to its end. `unwritten` writes the pid file later if that has failed.
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
    if let Some(http) = &mut setup.http {
        http.open_port();
    }
    // At this point the process has only this thread.
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
    // A pending lookup in the system's resolver must not delay the end.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::{RESERVED_DESCRIPTORS, Started, for_checks, summary};

    #[test]
    fn a_start_is_summarised() {
        let started = |is_checked| Started {
            pid: 123,
            state: "12 of 14 up, fallback of 10.0.0.1:80 active".to_owned(),
            is_checked,
        };
        let line = "ldirectord-rs for web.cf started (pid 123): 12 of 14 up, fallback of 10.0.0.1:80 active";
        assert_eq!(summary("web.cf", true, &started(true)), line);
        let more = "first checks are still running: ldirectord-rs show";
        assert_eq!(summary("web.cf", true, &started(false)), format!("{line}; {more} web.cf"));
        let line = line.replace("web.cf", "ldirectord.cf");
        assert_eq!(summary("ldirectord.cf", false, &started(false)), format!("{line}; {more}"));
    }

    #[test]
    fn a11_few_descriptors_are_shared_between_checks_and_the_rest() {
        for (all, checks) in [(0, 0), (64, 32), (128, 64), (256, 128), (1024, 896)] {
            assert_eq!(for_checks(all, RESERVED_DESCRIPTORS), checks, "{all}");
        }
        assert_eq!(for_checks(1024, RESERVED_DESCRIPTORS + 64), 832);
    }
}
