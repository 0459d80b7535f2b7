//! `drain`, `down`, `up`, `undo`: asks the running daemon to decide about a server.

use serde::Deserialize;

use super::Exit;
use super::context::Context;
use super::terminal::{answer, tell};
use crate::control::{self, ClientError, Request};
use crate::sys::socket;

#[derive(Deserialize)]
struct Done {
    services: Vec<String>,
}

pub(super) fn run(context: &Context, request: &Request) -> Exit {
    let path = socket::place(&context.state_directory(), &context.name);
    match control::ask(&path, request) {
        Err(error @ ClientError::Io(_)) => {
            tell!("no daemon answers at {}: {error}", path.display());
            Exit::Stopped
        }
        Err(error) => {
            tell!("not done: {error}");
            Exit::Failure
        }
        Ok(text) => match serde_json::from_str::<Done>(&text) {
            Ok(done) => answer(format!("done in {}", done.services.join(", ")), Exit::Ok),
            Err(error) => {
                tell!("the daemon at {} is of another version: {error}", path.display());
                Exit::Failure
            }
        },
    }
}
