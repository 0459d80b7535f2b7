//! `drain`, `down`, `up`, `weight`, `undo`: set or end an override in the running daemon, and wait for its effect.

use std::time::Duration;

use serde::Deserialize;

use super::Exit;
use super::arguments::WaitOptions;
use super::context::Context;
use super::failure::CommandFailure;
use super::show;
use super::terminal::{answer, eprint_line};
use super::wait;
use crate::control::{self, ClientError, ControlRequest};
use crate::sys::socket;

/// The answer to an override.
#[derive(Deserialize)]
pub(super) struct SteeredServices {
    services: Vec<String>,
    #[serde(default)]
    pub warning: Option<String>,
}

pub(super) fn run(
    context: &Context,
    request: &ControlRequest,
    waits: Option<WaitOptions>,
) -> Result<Exit, CommandFailure> {
    let socket = socket::place(&context.state_directory(), &context.name);
    match control::ask(&socket, request) {
        Err(ClientError::Io(error)) => Err(show::no_answer(context, error)),
        Err(error) => Err(CommandFailure::Refused { request: Box::new(request.clone()), error }),
        Ok(text) => match serde_json::from_str::<SteeredServices>(&text) {
            Ok(done) => {
                if let Some(warning) = &done.warning {
                    eprint_line!("Warning: {request}: {warning}");
                }
                let exit = answer(format!("{request}: done in {}", done.services.join(", ")), Exit::Ok)?;
                match (request, waits) {
                    (ControlRequest::Override(set), Some(WaitOptions { seconds })) => {
                        wait::run(context, set, &done.services, seconds.map(Duration::from_secs))
                    }
                    _ => Ok(exit),
                }
            }
            Err(error) => Err(CommandFailure::OtherVersion { socket, error, advice: "" }),
        },
    }
}
