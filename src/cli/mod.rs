//! Arguments → command → exit code.
//!
//! The original's grammar (`[-d] [configfile] ACTION`, options first, words after the second ignored, here with a warning) is
//! kept; some of our options count wherever they stand. The commands that it does not have (`check`, `show`, `drain` …) stand
//! where its action or configuration would; `-t` is not an option of the original.

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
use terminal::tell;

use crate::daemon::instances;

/// Every exit code that the program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It worked; `status`: running; `check`: all well.
    Ok = 0,
    /// It did not work; no such file; `status`: stale pid file; `reload`: stopped; `check`: a server is down.
    Failure = 1,
    /// The configuration is wrong.
    Config = 2,
    /// `status`: stopped.
    Stopped = 3,
    /// `status`: the pid file cannot be read, so nobody knows; the LSB's code for it.
    Unknown = 4,
    /// The command line is wrong.
    Usage = 255,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The options as `clap` knows them, for the manual.
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
            tell!("an argument that is not UTF-8: {}", word.display());
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
                tell!("{error}");
            }
            terminal::answer(text.trim_end(), exit)
        }
        Parsed::Run(options, command) => {
            if !options.ignored.is_empty() {
                tell!(
                    "Warning: ignored: {}; after the action only --table, --settings, --foreground and --run-commands count",
                    options.ignored.join(" ")
                );
            }
            let context = match Context::new(&options, &command, arguments) {
                Ok(context) => context,
                Err(message) => {
                    tell!("{message}");
                    return Exit::Config;
                }
            };
            match command {
                // It says whether the daemon has another name.
                Command::Action(Action::Start) => actions::run(&context, Action::Start),
                Command::Action(action) => {
                    let asked = context.name.clone();
                    let context = as_it_runs(context);
                    // By another name a daemon may call itself through `execute`: it is asked once.
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
                Command::Show { json } if context.is_named => show::run(&as_it_runs(context), json),
                Command::Show { json } => show::run_all(&context, json),
                Command::Steer(request) => steer::run(&as_it_runs(context), &request),
            }
        }
    }
}
