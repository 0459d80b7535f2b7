//! `override import`: restores the overrides that a saved `show --json` has.

#![expect(clippy::disallowed_methods, reason = "the remaining time of an override follows the wall clock")]

use std::fs::File;
use std::io::{self, Read};
use std::time::SystemTime;

use super::Exit;
use super::ask::ask;
use super::context::Context;
use super::failure::CommandFailure;
use super::show;
use super::steer::SteeredServices;
use super::terminal::{answer, eprint_line, print_line};
use crate::control::{self, ClientError, ControlRequest, MAX_NOTE, MAX_SECONDS, OverrideRequest};
use crate::net::cause;
use crate::report::{SavedOverride, SavedState, saved_states};
use crate::sys::socket;
use crate::value::shown::escaped;

/// Maximum size of the file in bytes. The state of 10,000 servers has less than a tenth of it.
const LARGEST: u64 = 64 * 1024 * 1024;

pub(super) fn run(context: &Context, file: &str, force: bool) -> Result<Exit, CommandFailure> {
    let wrong = |error: String| CommandFailure::Import { file: escaped(file).into_owned(), error };
    let text = read(file).map_err(|error| wrong(cause(&error)))?;
    let states = saved_states(&text).map_err(wrong)?;
    let state = pick(states, context).map_err(wrong)?;
    let (overrides, skipped) = state.overrides(SystemTime::now()).map_err(wrong)?;
    for one in &skipped {
        print_line!("{}: not restored: {}", one.about, one.why);
    }
    if overrides.is_empty() {
        return answer("no override to restore", Exit::Ok);
    }
    let me = control::own_owner();
    let mut exit = Exit::Ok;
    for saved in overrides {
        let request = request(saved, &me, force);
        let done = match ask(context, &request) {
            Err(ClientError::Io(error)) => return Err(show::no_answer(context, error)),
            Err(error) => Err(error),
            Ok(text) => Ok(serde_json::from_str::<SteeredServices>(&text).map_err(|error| {
                let socket = socket::place(&context.state_directory(), &context.name);
                CommandFailure::OtherVersion { socket, error, advice: "" }
            })?),
        };
        match done {
            Ok(done) => {
                if let Some(warning) = &done.warning {
                    eprint_line!("Warning: {request}: {warning}");
                }
                answer(format!("{request}: done"), Exit::Ok)?;
            }
            Err(error) => {
                exit = Exit::Failure;
                answer(format!("{request}: refused: {error}"), Exit::Ok)?;
            }
        }
    }
    Ok(exit)
}

fn read(file: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    match file {
        "-" => io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes)?,
        // Not only a regular file: a shell passes the output of a command as a pipe.
        path => File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?,
    };
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {LARGEST} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

/// The state of the daemon of a context. A file with one state is used whatever its daemon: it may be of the other
/// director.
fn pick(mut states: Vec<SavedState>, context: &Context) -> Result<SavedState, String> {
    if states.len() == 1 {
        return Ok(states.remove(0));
    }
    let config = context.display_config();
    // The last one: the file may have grown.
    match states.iter().rposition(|state| state.is_of(&context.name, &config)) {
        Some(index) => Ok(states.remove(index)),
        None => {
            let names: Vec<String> = states.iter().map(|state| escaped(state.name()).into_owned()).collect();
            Err(format!(
                "it has the daemons {}, but not {}; use -c",
                names.join(", "),
                escaped(&context.name)
            ))
        }
    }
}

/// The request for an override that `me` restores.
fn request(saved: SavedOverride, me: &str, force: bool) -> ControlRequest {
    ControlRequest::Override(OverrideRequest {
        server: saved.server,
        service: Some(saved.service.qualified()),
        what: saved.what,
        note: note(&saved.note, &saved.owner, me),
        seconds: saved.lasts.map(|lasts| lasts.as_secs().clamp(1, MAX_SECONDS)),
        force,
    })
}

/// The note of an override that now belongs to another user. It names the earlier one, and is cut to the longest note.
fn note(note: &str, owner: &str, me: &str) -> String {
    if owner == me || owner.is_empty() {
        return note.to_owned();
    }
    let by = format!("set by {owner}");
    if note.is_empty() {
        return by;
    }
    let mut end = note.len().min(MAX_NOTE.saturating_sub(by.len() + 3));
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} ({by})", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_names_the_earlier_owner() {
        assert_eq!(note("kernel", "anna", "anna"), "kernel");
        assert_eq!(note("kernel", "anna", "root"), "kernel (set by anna)");
        assert_eq!(note("", "anna", "root"), "set by anna");
        let long = note(&"ü".repeat(128), "anna", "root");
        assert!(long.len() <= MAX_NOTE && long.ends_with("ü (set by anna)"), "{long}");
    }
}
