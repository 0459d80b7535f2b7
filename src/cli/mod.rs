//! Arguments → command → exit code.
//!
//! The original's grammar is kept: `[-d] [configfile] ACTION`, options first. Words after the second are ignored, here
//! with a warning. Some of our options are accepted at any position. Our own commands (`check`, `show`, `drain` …) are
//! accepted in place of its action or its configuration. The original has no option `-t`.

mod actions;
mod alert_test;
mod arguments;
mod check;
mod context;
mod judge;
mod launch;
mod list;
mod other;
mod privileges;
mod programs;
mod running;
mod show;
mod steer;
mod terminal;
mod unit;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::{Action, Command, Parsed};
use context::Context;
use running::{as_it_crashed, as_it_runs};
use terminal::eprint_line;

use crate::daemon::instances;

/// All exit codes of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success; `status`: running; `check`: all servers are up.
    Ok = 0,
    /// Failure, or the configuration file does not exist; `status`: stale pid file; `reload`: stopped; `check`: a
    /// server is down.
    Failure = 1,
    /// The configuration is wrong.
    Config = 2,
    /// `status`: stopped.
    Stopped = 3,
    /// `status`: the pid file cannot be read, so the state is unknown (the code that the LSB defines).
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
    let arguments: Vec<String> = match arguments.map(OsString::into_string).collect() {
        Ok(arguments) => arguments,
        Err(word) => {
            eprint_line!("argument is not UTF-8: {}", word.display());
            return Exit::Usage;
        }
    };
    run(&arguments)
}

fn run(arguments: &[String]) -> Exit {
    #[cfg(feature = "oracle")]
    if arguments.get(1).is_some_and(|word| word == crate::check::oracle_login::ARGUMENT) {
        return if crate::check::oracle_login::main() { Exit::Ok } else { Exit::Failure };
    }
    match arguments::parse(arguments) {
        Parsed::Answer { text, error, exit } => {
            if let Some(error) = error {
                eprint_line!("{error}");
            }
            terminal::answer(text.trim_end(), exit)
        }
        Parsed::Run(options, command) => {
            if !options.ignored.is_empty() {
                eprint_line!(
                    "Warning: ignored: {}; only --table, --settings, --foreground and --run-commands are accepted after the action",
                    options.ignored.join(" ")
                );
            }
            let context = match Context::new(&options, &command, arguments) {
                Ok(context) => context,
                Err(message) => {
                    eprint_line!("{message}");
                    return Exit::Config;
                }
            };
            match command {
                // `start` itself reports a daemon that runs under another name.
                Command::Action(Action::Start) => actions::run(&context, Action::Start),
                Command::Action(action) => {
                    let asked = context.name.clone();
                    let context = as_it_runs(context);
                    // `execute` may lead back to the same daemon under another name: act on it once.
                    if context.name != asked && instances::has_called(&context.name) {
                        return Exit::Ok;
                    }
                    let context = if action == Action::Stop { as_it_crashed(context) } else { context };
                    actions::run(&context, action)
                }
                Command::List => list::run(&context),
                Command::Check(judging) => check::run(&context, judging),
                Command::Judge { judging, named } => judge::run(&context, judging, named),
                Command::AlertTest => alert_test::run(&context),
                Command::Show { json, all } if context.is_named => show::run(&as_it_runs(context), json, all),
                Command::Show { json, all } => show::run_all(&context, json, all),
                Command::Steer(request) => steer::run(&as_it_runs(context), &request),
            }
        }
    }
}
