//! `show`: prints the state that the running daemon reports.

use std::collections::BTreeSet;
use std::io;

use super::Exit;
use super::context::Context;
use super::list;
use super::terminal::{self, answer, eprint_line, print_line};
use crate::control::{self, ClientError, Request};
use crate::report::{self, Snapshot};
use crate::sys::pidfile::State;
use crate::sys::socket;
use crate::value::shown::escaped;

/// `show` without a configuration: all running daemons, with their names if there are several. If none runs, the error
/// for the default configuration.
pub(super) fn run_all(context: &Context, json: bool, all: bool) -> Exit {
    let runs = |found: &list::Found| matches!(found.state, State::Running(_));
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
        run(&context.with_name(name), json, all)
    };
    // The highest exit code counts.
    names.into_iter().map(of).max_by_key(|exit| *exit as u8).unwrap_or(Exit::Ok)
}

/// Reports that the daemon does not answer, and names the running daemons.
pub(super) fn no_answer(context: &Context, error: &io::Error) -> Exit {
    let path = socket::place(&context.state_directory(), &context.name);
    eprint_line!(
        "no daemon for {} answers: {}: {}",
        context.display_config(),
        path.display(),
        control::why(error)
    );
    let runs = |found: &list::Found| matches!(found.state, State::Running(_)) && found.name != context.name;
    let others: Vec<String> = list::found(context)
        .0
        .iter()
        .filter(|found| runs(found))
        .map(|found| escaped(&found.name).into_owned())
        .collect();
    if !others.is_empty() {
        eprint_line!("running daemons: {}; name the configuration of one of them", others.join(", "));
    }
    Exit::Stopped
}

pub(super) fn run(context: &Context, json: bool, all: bool) -> Exit {
    let path = socket::place(&context.state_directory(), &context.name);
    match control::ask(&path, &Request::Show { service: None }) {
        Err(ClientError::Io(error)) => no_answer(context, &error),
        Err(error) => {
            eprint_line!("the daemon at {} refused: {error}", path.display());
            Exit::Failure
        }
        Ok(text) if json => answer(text, Exit::Ok),
        Ok(text) => match serde_json::from_str::<Snapshot>(&text) {
            Ok(snapshot) => answer(report::render(&snapshot, terminal::look(all)), Exit::Ok),
            Err(error) => {
                eprint_line!("the daemon at {} has another version: {error}; try --json", path.display());
                Exit::Failure
            }
        },
    }
}
