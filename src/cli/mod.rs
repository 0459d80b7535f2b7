//! Arguments → command → exit code.
//!
//! The original's grammar is kept: `[-d] [configfile] ACTION`, options first. Words after the second are ignored, here
//! with a warning. Some of our options are accepted at any position. Our own commands (`check`, `show`, `drain` …) are
//! accepted in place of its action or its configuration. The original has no option `-t`.

mod alert_test;
mod arguments;
mod ask;
mod check;
mod connections;
mod context;
mod events;
mod failure;
mod import;
mod is_up;
mod judge;
mod launch;
mod list;
mod load;
mod machine;
mod metrics;
mod other;
mod plan;
mod plugin;
mod privileges;
mod programs;
mod progress;
mod reload;
mod restart;
mod running;
mod show;
mod start;
mod status;
mod steer;
mod stop;
mod terminal;
mod unit;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::{Action, Command, Parsed};
use context::Context;
use failure::CommandFailure;
use running::{as_it_crashed, as_it_runs};
use terminal::eprint_line;

use crate::daemon::instances;
use crate::sys::{detach, process};

/// All exit codes of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success. `status`: running. `check`: all servers are up, and the machine has no error. `is-up`: all services are
    /// up. `plan`: no change.
    Ok = 0,
    /// Failure, or the configuration file does not exist. `status`: stale pid file. `reload`: stopped. `check`: a
    /// server is down, or the machine has an error. `is-up`: a service is not up. `plugin`: warning.
    Failure = 1,
    /// The configuration is wrong. `is-up`: no such service. `plugin`: critical. `plan`: changes.
    Config = 2,
    /// `status`: stopped. A command that asks the daemon: no daemon answers. `plugin`: unknown.
    Stopped = 3,
    /// `status`: the pid file cannot be read, so the state is unknown (the code that the LSB defines). `drain --wait`:
    /// the time-out is over.
    Unknown = 4,
    /// The command line is wrong.
    Usage = 255,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The `clap` definition of the options, for the manual.
#[must_use]
pub fn command() -> clap::Command {
    arguments::command()
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main(arguments: impl Iterator<Item = OsString>) -> Exit {
    let arguments: Result<Vec<String>, OsString> = arguments.map(OsString::into_string).collect();
    arguments
        .map_err(CommandFailure::NotUtf8)
        .and_then(|arguments| run(&arguments))
        .unwrap_or_else(|failure| terminal::report(&failure))
}

fn run(arguments: &[String]) -> Result<Exit, CommandFailure> {
    #[cfg(feature = "oracle")]
    if arguments.get(1).is_some_and(|word| word == crate::check::oracle_login::ARGUMENT) {
        return Ok(if crate::check::oracle_login::main() { Exit::Ok } else { Exit::Failure });
    }
    match arguments::parse(arguments) {
        Parsed::Answer(text) => terminal::answer(text.trim_end(), Exit::Ok),
        Parsed::Wrong(wrong) if wrong.is_of_plugin() || arguments.iter().any(|word| word == "plugin") => {
            plugin::print_unknown(&wrong.to_string())
        }
        Parsed::Wrong(wrong) => Err(CommandFailure::Usage(wrong)),
        Parsed::Run(options, command) => {
            if !options.ignored.is_empty() {
                eprint_line!(
                    "Warning: ignored: {}; only --table, --settings, --foreground and --run-commands are accepted after the action",
                    options.ignored.join(" ")
                );
            }
            let context = match Context::new(&options, &command, arguments) {
                // 2 would mean changes.
                Err(failure) if matches!(command, Command::Plan { .. }) => {
                    terminal::report(&failure);
                    return Ok(Exit::Failure);
                }
                context => context?,
            };
            match command {
                Command::Action(action) => act(context, action),
                Command::List => list::run(&context),
                Command::Check(judging, only) => check::run(&context, judging, &only),
                Command::Judge { judging, named } => judge::run(&context, judging, named),
                Command::AlertTest => alert_test::run(&context),
                Command::Show(options) => show::run(context, &options),
                Command::Metrics => metrics::run(&as_it_runs(context)),
                Command::IsUp { services, min } => is_up::run(&as_it_runs(context), &services, min),
                Command::Plugin { services, limits } => plugin::run(&as_it_runs(context), &services, &limits),
                Command::Events { json } => events::run(&as_it_runs(context), json),
                Command::Plan { diff } => plan::run(&as_it_runs(context), diff),
                Command::Import { file, force } => import::run(&as_it_runs(context), &file, force),
                Command::Steer(request, wait) => steer::run(&as_it_runs(context), &request, wait),
            }
        }
    }
}

/// Runs one of the original's actions.
fn act(mut context: Context, action: Action) -> Result<Exit, CommandFailure> {
    // `start` itself reports a daemon that runs under another name.
    if action != Action::Start {
        let asked = context.name.clone();
        context = as_it_runs(context);
        // `execute` may lead back to the same daemon under another name: act on it once.
        if context.name != asked && instances::has_called(&context.name) {
            return Ok(Exit::Ok);
        }
    }
    if matches!(action, Action::Start | Action::Restart | Action::TryRestart) {
        context.check_name()?;
        // Before this process opens anything: it may become the daemon.
        detach::close_inherited();
        process::set_umask();
    }
    match action {
        Action::Start => start::run(&context),
        Action::Stop => stop::run(&as_it_crashed(context)),
        Action::Restart => restart::run(&context),
        Action::TryRestart => restart::if_running(&context),
        Action::Reload => reload::run(&context),
        Action::Status => status::run(&context),
    }
}
