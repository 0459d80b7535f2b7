//! `is-up`: whether virtual services have enough servers in rotation, as an exit code for scripts.

use super::Exit;
use super::ask::ask;
use super::context::Context;
use super::failure::CommandFailure;
use super::show;
use super::terminal::{self, answer};
use crate::control::{ClientError, ControlRequest, CounterDetail, ErrorCode};
use crate::report::{Threshold, VirtualService};
use crate::sys::socket;
use crate::value::shown::escaped;

/// What is known about one virtual service.
enum Found {
    Up(String),
    NotUp(String),
    Unknown(String),
}

/// Prints one line about all services: 0 all are up, 1 one is not, 2 one is unknown, 3 no daemon answers.
pub(super) fn run(context: &Context, services: &[String], min: Threshold) -> Result<Exit, CommandFailure> {
    let mut found = Vec::new();
    for service in services {
        match look(context, service, min) {
            Ok(state) => found.push(state),
            // The state of the service is not known: 1 would mean that it is not up.
            Err(failure) => {
                terminal::report(&failure);
                return Ok(Exit::Stopped);
            }
        }
    }
    let exit = found.iter().map(Found::exit).max_by_key(|exit| *exit as u8).unwrap_or(Exit::Ok);
    let parts: Vec<&str> = found.iter().map(Found::text).collect();
    answer(parts.join("; "), exit)
}

impl Found {
    fn of(service: &VirtualService, min: Threshold) -> Found {
        let (id, in_rotation, configured) = (&service.id, service.in_rotation(), service.configured());
        let count = format!("{in_rotation} of {configured} servers in rotation");
        match min.of(configured) {
            needed if in_rotation >= needed => Found::Up(format!("{id} is up: {count}")),
            needed => Found::NotUp(format!("{id} is not up: {count}, {needed} needed")),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Found::Up(_) => Exit::Ok,
            Found::NotUp(_) => Exit::Failure,
            Found::Unknown(_) => Exit::Config,
        }
    }

    fn text(&self) -> &str {
        let (Found::Up(text) | Found::NotUp(text) | Found::Unknown(text)) = self;
        text
    }
}

fn look(context: &Context, service: &str, min: Threshold) -> Result<Found, CommandFailure> {
    let socket = || socket::place(&context.state_directory(), &context.name);
    match ask(
        context,
        &ControlRequest::Show { service: Some(service.to_owned()), counters: CounterDetail::None },
    ) {
        Ok(text) => match serde_json::from_str::<VirtualService>(&text) {
            Ok(service) => Ok(Found::of(&service, min)),
            Err(error) => Err(CommandFailure::OtherVersion { socket: socket(), error, advice: "" }),
        },
        Err(ClientError::Refused(failure)) if failure.code == ErrorCode::NotFound => {
            Ok(Found::Unknown(format!(
                "{} is unknown: the daemon has no such virtual service; `show` lists all",
                escaped(service)
            )))
        }
        Err(ClientError::Io(error)) => Err(show::no_answer(context, error)),
        Err(error) => Err(CommandFailure::ShowRefused { socket: socket(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::test_service;

    #[test]
    fn the_fallback_does_not_make_a_service_up() {
        let found = |min: &str, destinations: &[(&str, u32, &str)]| {
            let service = test_service(&[("10.0.0.2:80", "up"), ("10.0.0.3:80", "down")], destinations);
            let found = Found::of(&service, min.parse().unwrap());
            (found.exit(), found.text().to_owned())
        };
        let one = &[("10.0.0.2:80", 1, "server"), ("10.0.0.3:80", 0, "server")];
        let up = "tcp:10.0.0.1:80 is up: 1 of 2 servers in rotation".to_owned();
        assert_eq!(found("1", one), (Exit::Ok, up.clone()));
        assert_eq!(found("50%", one), (Exit::Ok, up));
        let few = "tcp:10.0.0.1:80 is not up: 1 of 2 servers in rotation, 2 needed".to_owned();
        assert_eq!(found("51%", one), (Exit::Failure, few));
        let none = "tcp:10.0.0.1:80 is not up: 0 of 2 servers in rotation, 1 needed".to_owned();
        assert_eq!(found("1", &[("127.0.0.1:80", 1, "fallback")]), (Exit::Failure, none));
    }
}
