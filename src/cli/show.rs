//! `show`: asks the running daemon what it knows.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use super::Exit;
use super::context::Context;
use super::list;
use super::terminal::{answer, say, tell};
use crate::net::cause;
use crate::report::{self, Snapshot};
use crate::sys::pidfile::State;
use crate::sys::socket;
use crate::value::shown::escaped;

/// A daemon answers at once; one that does not in this time is in trouble.
const PATIENCE: Duration = Duration::from_secs(5);

/// Without a configuration: every daemon that runs, with its name if there are several. With none, what is said of the default one.
pub(super) fn run_all(context: &Context, json: bool) -> Exit {
    let runs = |found: &list::Found| matches!(found.state, State::Running(_));
    let mut names: BTreeSet<String> =
        list::found(context).0.into_iter().filter(runs).map(|found| found.name).collect();
    if names.is_empty() {
        names.insert(context.name.clone());
    }
    let with_name = names.len() > 1 && !json;
    let of = |name: String| {
        if with_name {
            say!("{}:", escaped(&name));
        }
        run(&context.with_name(name), json)
    };
    // The worst of what is said of them counts.
    names.into_iter().map(of).max_by_key(|exit| *exit as u8).unwrap_or(Exit::Ok)
}

pub(super) fn run(context: &Context, json: bool) -> Exit {
    let path = socket::place(&context.state_directory(), &context.name);
    let read = socket::connect(&path).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    match read {
        Err(error) => {
            tell!("no daemon answers at {}: {}", path.display(), why(&error));
            Exit::Stopped
        }
        Ok(text) if json => answer(text.trim_end(), Exit::Ok),
        Ok(text) => match serde_json::from_str::<Snapshot>(&text) {
            Ok(snapshot) => answer(report::render(&snapshot), Exit::Ok),
            Err(error) => {
                tell!("the daemon at {} is of another version: {error}; try --json", path.display());
                Exit::Failure
            }
        },
    }
}

/// Why the daemon did not answer. A socket reports "try again" both for a silent daemon and for a full queue of callers.
fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("no answer within {} s; the daemon is busy or stuck, try again", PATIENCE.as_secs())
        }
        _ => cause(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_a_busy_daemon_is_told_from_one_that_does_not_run() {
        let said = |number| why(&io::Error::from_raw_os_error(number));
        assert_eq!(said(11), "no answer within 5 s; the daemon is busy or stuck, try again");
        assert_eq!(said(2), "no such file or directory");
        assert_eq!(said(111), "connection refused");
    }
}
