//! `show`: asks the running daemon what it knows.

use std::io::Read;
use std::time::Duration;

use super::Exit;
use super::context::Context;
use crate::daemon;
use crate::report::{self, Snapshot};
use crate::sys::socket;

/// A daemon answers at once; one that does not in this time is in trouble.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(context: &Context, json: bool) -> Exit {
    let path = context.state_directory().join(daemon::socket_name(&context.name));
    let answer = socket::connect(&path).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    match answer {
        Err(error) => {
            eprintln!("no daemon answers at {}: {error}", path.display());
            Exit::Stopped
        }
        Ok(text) if json => {
            println!("{text}");
            Exit::Ok
        }
        Ok(text) => match serde_json::from_str::<Snapshot>(&text) {
            Ok(snapshot) => {
                anstream::println!("{}", report::render(&snapshot));
                Exit::Ok
            }
            Err(error) => {
                eprintln!("the daemon at {} is of another version: {error}; try --json", path.display());
                Exit::Failure
            }
        },
    }
}
