//! `metrics`: prints the metrics of the running daemon, for example for the textfile collector of node_exporter.

use serde::Deserialize;

use super::Exit;
use super::ask::ask;
use super::context::Context;
use super::failure::CommandFailure;
use super::show;
use super::terminal::answer_as_it_is;
use crate::control::{ClientError, ControlRequest};
use crate::sys::socket;

#[derive(Deserialize)]
struct MetricsText {
    metrics: String,
}

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    let socket = socket::place(&context.state_directory(), &context.name);
    match ask(context, &ControlRequest::Metrics) {
        Err(ClientError::Io(error)) => Err(show::no_answer(context, error)),
        Err(error) => Err(CommandFailure::ShowRefused { socket, error }),
        Ok(text) => match serde_json::from_str::<MetricsText>(&text) {
            Ok(found) => answer_as_it_is(found.metrics.trim_end(), Exit::Ok),
            Err(error) => Err(CommandFailure::OtherVersion { socket, error, advice: "" }),
        },
    }
}
