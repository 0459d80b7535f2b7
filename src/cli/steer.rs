//! `drain`, `down`, `up`, `undo`: set or end an override in the running daemon.

use serde::Deserialize;

use super::Exit;
use super::context::Context;
use super::show;
use super::terminal::{answer, eprint_line};
use crate::control::{self, ClientError, Request};
use crate::sys::socket;

#[derive(Deserialize)]
struct Done {
    services: Vec<String>,
}

pub(super) fn run(context: &Context, request: &Request) -> Exit {
    let path = socket::place(&context.state_directory(), &context.name);
    match control::ask(&path, request) {
        Err(ClientError::Io(error)) => show::no_answer(context, &error),
        Err(error) => {
            eprint_line!("{request}: refused: {error}");
            Exit::Failure
        }
        Ok(text) => match serde_json::from_str::<Done>(&text) {
            Ok(done) => answer(format!("{request}: done in {}", done.services.join(", ")), Exit::Ok),
            Err(error) => {
                eprint_line!("the daemon at {} has another version: {error}", path.display());
                Exit::Failure
            }
        },
    }
}
