//! `events`: prints each event of the running daemon, until the operator or the reader ends it.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use serde_json::Value;

use super::Exit;
use super::ask::patiently;
use super::context::Context;
use super::failure::CommandFailure;
use super::show;
use crate::control::{self, ClientError, StreamLine};
use crate::sys::socket;

pub(super) fn run(context: &Context, json: bool) -> Result<Exit, CommandFailure> {
    let place = |context: &Context| socket::place(&context.state_directory(), &context.name);
    let mut stream = match patiently(context, |context| control::follow(&place(context))) {
        Ok(stream) => stream,
        Err(ClientError::Io(error)) => return Err(show::no_answer(context, error)),
        Err(error) => return Err(CommandFailure::ShowRefused { socket: place(context), error }),
    };
    let signals = interrupts().map_err(|error| CommandFailure::Runtime(error.into()))?;
    let out = io::stdout();
    let mut events = stream.lines();
    loop {
        match print(&events, json) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Ok),
            result => result.map_err(CommandFailure::Output)?,
        }
        events.clear();
        let (line, interrupt, reader) = (
            PollFd::new(stream.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            // Only reports that the reader of a pipe is gone, also while there is no event.
            PollFd::new(out.as_fd(), PollFlags::empty()),
        );
        let mut ready = [line, interrupt, reader];
        match poll(&mut ready, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            result => result.map_err(|error| CommandFailure::Runtime(error.into()))?,
        };
        let [line, ends @ ..] = ready.map(|place| place.any().unwrap_or(false));
        if ends.contains(&true) {
            return Ok(Exit::Ok);
        }
        if line {
            let Some(read) = stream.read().unwrap_or_default() else {
                return Err(CommandFailure::EventsEnded { config: context.display_config() });
            };
            events = read;
        }
    }
}

/// The signals that end the command. They are only read, so that its exit code is 0.
fn interrupts() -> nix::Result<SignalFd> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    SignalFd::new(&signals)
}

fn print(events: &[StreamLine], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for event in events {
        writeln!(out, "{}", if json { event.json() } else { text(event) })?;
    }
    out.flush()
}

/// An event as a line of the log, with its time.
fn text(event: &StreamLine) -> String {
    match event {
        StreamLine::Event(event) => {
            let part = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("?");
            format!("{} {}", part("time"), part("message"))
        }
        StreamLine::Lost(count) => {
            format!("{count} events lost: they were not read in time; the log has them")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line_in_the_words_of_the_log() {
        let event = json!({"time": "2026-11-30T02:14:05.123+01:00", "event": "down",
                           "message": "Real server is down: 10.0.0.2:80 (tcp:10.0.0.1:80): refused"});
        assert_eq!(
            text(&StreamLine::Event(event)),
            "2026-11-30T02:14:05.123+01:00 Real server is down: 10.0.0.2:80 (tcp:10.0.0.1:80): refused"
        );
        assert!(text(&StreamLine::Lost(17)).starts_with("17 events lost"));
        assert_eq!(StreamLine::Lost(17).json(), "{\"lost\":17}");
    }
}
