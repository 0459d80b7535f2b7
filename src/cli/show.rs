//! `show`: prints the state that the running daemon reports.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::arguments::{ShowOptions, TrafficKind};
use super::ask::ask;
use super::context::Context;
use super::failure::CommandFailure;
use super::running::as_it_runs;
use super::terminal::{self, answer, print_line};
use super::{Exit, connections, list};
use crate::control::{ClientError, ControlRequest, CounterDetail, ErrorCode, ServerTarget};
use crate::report::{self, StateSnapshot, StoryReport};
use crate::sys::pidfile::DaemonState;
use crate::sys::socket;
use crate::value::shown::escaped;

/// Time between two listings of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Moves the cursor to the first column of the first line and clears the screen (ECMA-48, CUP and ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// One daemon, or all that run if the command line names none.
pub(super) fn run(context: Context, options: &ShowOptions) -> Result<Exit, CommandFailure> {
    let context = if context.is_named { as_it_runs(context) } else { context };
    if !options.watch {
        return once(&context, options);
    }
    if !io::stdout().is_terminal() {
        return Err(CommandFailure::WatchWithoutTerminal);
    }
    once(&context, options)?;
    loop {
        thread::sleep(WATCH_INTERVAL);
        // A terminal that is gone is reported by what follows.
        let _ = write!(io::stdout().lock(), "{CLEAR}");
        match once(&context, options) {
            Err(failure @ CommandFailure::Output(_)) => return Err(failure),
            // The daemon may be restarted.
            Err(failure) => print_line!("{failure}"),
            Ok(_) => {}
        }
    }
}

fn once(context: &Context, options: &ShowOptions) -> Result<Exit, CommandFailure> {
    if context.is_named { answer(text(context, options)?, Exit::Ok) } else { of_all(context, options) }
}

/// All running daemons, with their names if there are several. If none runs, the error for the default configuration.
fn of_all(context: &Context, options: &ShowOptions) -> Result<Exit, CommandFailure> {
    let runs = |found: &list::FoundDaemon| matches!(found.state, DaemonState::Running(_));
    let mut names: BTreeSet<String> =
        list::found(context).0.into_iter().filter(runs).map(|found| found.name).collect();
    if names.is_empty() {
        names.insert(context.name.clone());
    }
    let with_name = names.len() > 1 && !options.json;
    let (mut exits, mut missing) = (Vec::new(), None);
    for name in names {
        let mut of_name = context.with_name(name.clone());
        // For messages.
        of_name.argument.clone_from(&name);
        let result = match text(&of_name, options) {
            // Another daemon may have it.
            Err(failure @ (CommandFailure::NoSuchServer(_) | CommandFailure::NoSuchService { .. })) => {
                missing = Some(failure);
                continue;
            }
            result => result,
        };
        if with_name {
            print_line!("{}:", escaped(&name));
        }
        // Below the name of its daemon, and the others are still to come.
        let exit = result.and_then(|text| answer(text, Exit::Ok));
        exits.push(exit.unwrap_or_else(|failure| terminal::report(&failure)));
    }
    match (exits.into_iter().max_by_key(|exit| *exit as u8), missing) {
        (Some(exit), _) => Ok(exit),
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(Exit::Ok),
    }
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

/// What is printed about one daemon.
fn text(context: &Context, options: &ShowOptions) -> Result<String, CommandFailure> {
    let Some(server) = options.server else { return state(context, options) };
    let service = options.service.map(|id| id.qualified());
    let text = answered(context, &ControlRequest::ShowServer(ServerTarget { server, service }))?;
    if options.json {
        return Ok(text);
    }
    let story = parsed::<StoryReport>(context, &text)?;
    if options.connections {
        return connections::list(context, &story);
    }
    Ok(report::story(&story, terminal::look(true)))
}

/// The state of all services, or of one.
fn state(context: &Context, options: &ShowOptions) -> Result<String, CommandFailure> {
    let counters = options.traffic.map_or(CounterDetail::Connections, |_| CounterDetail::Traffic);
    let text = answered(context, &ControlRequest::Show { service: None, counters })?;
    if options.json && options.service.is_none() {
        return Ok(text);
    }
    let mut snapshot = parsed::<StateSnapshot>(context, &text)?;
    let look = report::ListingStyle { down: options.down, ..terminal::look(options.all) };
    let only = options.service.map(|id| id.qualified());
    if let Some(id) = &only {
        let is_known = snapshot.virtuals.iter().any(|v| v.id == *id)
            || snapshot.elsewhere.iter().any(|other| other.id == *id);
        if !is_known {
            return Err(CommandFailure::NoSuchService { id: id.clone(), config: context.display_config() });
        }
        if options.traffic.is_none() && !options.json {
            return Ok(report::render_one(&snapshot, id, look));
        }
        snapshot.virtuals.retain(|v| v.id == *id);
        snapshot.elsewhere.retain(|other| other.id == *id);
    }
    if options.json {
        return Ok(serde_json::to_string(&snapshot).unwrap_or_default());
    }
    let Some(kind) = options.traffic else { return Ok(report::render(&snapshot, look)) };
    let table = report::traffic_table(&snapshot, kind == TrafficKind::Rates, options.exact, look);
    table.ok_or_else(|| CommandFailure::NoTraffic { config: context.display_config() })
}

/// The answer of the daemon to a request.
fn answered(context: &Context, request: &ControlRequest) -> Result<String, CommandFailure> {
    let socket = || socket::place(&context.state_directory(), &context.name);
    ask(context, request).map_err(|error| match error {
        ClientError::Io(error) => no_answer(context, error),
        ClientError::Refused(failure) if failure.code == ErrorCode::NotFound => {
            CommandFailure::NoSuchServer(failure.message)
        }
        error => CommandFailure::ShowRefused { socket: socket(), error },
    })
}

fn parsed<T: DeserializeOwned>(context: &Context, text: &str) -> Result<T, CommandFailure> {
    serde_json::from_str(text).map_err(|error| {
        let socket = socket::place(&context.state_directory(), &context.name);
        CommandFailure::OtherVersion { socket, error, advice: "; try --json" }
    })
}
