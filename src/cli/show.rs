//! `show`: prints the state that the running daemon reports.

use std::collections::BTreeSet;
use std::io;

use super::Exit;
use super::ask::ask;
use super::context::Context;
use super::failure::CommandFailure;
use super::list;
use super::terminal::{self, answer, print_line};
use crate::control::{ClientError, ControlRequest, CounterDetail};
use crate::report::{self, StateSnapshot};
use crate::sys::pidfile::DaemonState;
use crate::sys::socket;
use crate::value::shown::escaped;

/// `show` without a configuration: all running daemons, with their names if there are several. If none runs, the error
/// for the default configuration.
pub(super) fn run_all(context: &Context, json: bool, all: bool) -> Result<Exit, CommandFailure> {
    let runs = |found: &list::FoundDaemon| matches!(found.state, DaemonState::Running(_));
    let mut names: BTreeSet<String> =
        list::found(context).0.into_iter().filter(runs).map(|found| found.name).collect();
    if names.is_empty() {
        names.insert(context.name.clone());
    }
    let with_name = names.len() > 1 && !json;
    let of = |name: String| {
        if with_name {
            print_line!("{}:", escaped(&name));
        }
        // Below the name of its daemon, and the others are still to come.
        run(&context.with_name(name), json, all).unwrap_or_else(|failure| terminal::report(&failure))
    };
    // The highest exit code counts.
    Ok(names.into_iter().map(of).max_by_key(|exit| *exit as u8).unwrap_or(Exit::Ok))
}

/// The failure for a daemon that does not answer, with the names of the running daemons.
pub(super) fn no_answer(context: &Context, error: io::Error) -> CommandFailure {
    let runs = |found: &list::FoundDaemon| {
        matches!(found.state, DaemonState::Running(_)) && found.name != context.name
    };
    let others = list::found(context)
        .0
        .iter()
        .filter(|found| runs(found))
        .map(|found| escaped(&found.name).into_owned())
        .collect();
    let socket = socket::place(&context.state_directory(), &context.name);
    CommandFailure::NoAnswer { config: context.display_config(), socket, error, others }
}

pub(super) fn run(context: &Context, json: bool, all: bool) -> Result<Exit, CommandFailure> {
    let socket = socket::place(&context.state_directory(), &context.name);
    match ask(context, &ControlRequest::Show { service: None, counters: CounterDetail::Connections }) {
        Err(ClientError::Io(error)) => Err(no_answer(context, error)),
        Err(error) => Err(CommandFailure::ShowRefused { socket, error }),
        Ok(text) if json => answer(text, Exit::Ok),
        Ok(text) => match serde_json::from_str::<StateSnapshot>(&text) {
            Ok(snapshot) => answer(report::render(&snapshot, terminal::look(all)), Exit::Ok),
            Err(error) => Err(CommandFailure::OtherVersion { socket, error, advice: "; try --json" }),
        },
    }
}
