//! `events`: prints each event of the running daemon, until the operator or the reader ends it.

use std::io::{self, ErrorKind, Stdout, Write};
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

/// A pipe that poll reports as ready takes this many bytes at once (pipe(7)).
const PIPE_BUF: usize = 4096;

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
        let text: String = events.drain(..).map(|event| line(&event, json)).collect();
        match print(text.as_bytes(), &out, &signals) {
            Ok(true) => {}
            Ok(false) => return Ok(Exit::Ok),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Ok),
            Err(error) => return Err(CommandFailure::Output(error)),
        }
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

fn line(event: &StreamLine, json: bool) -> String {
    (if json { event.json() } else { text(event) }) + "\n"
}

/// Prints text. A reader may pause for a long time: returns false if a signal ends the command meanwhile.
fn print(mut text: &[u8], out: &Stdout, signals: &SignalFd) -> io::Result<bool> {
    while !text.is_empty() {
        let mut ready =
            [PollFd::new(out.as_fd(), PollFlags::POLLOUT), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        let [_, is_ended] = ready.map(|place| place.any().unwrap_or(false));
        if is_ended {
            return Ok(false);
        }
        // A pipe that is ready takes this many bytes without blocking.
        let (piece, rest) = text.split_at(text.len().min(PIPE_BUF));
        let mut out = out.lock();
        out.write_all(piece)?;
        out.flush()?;
        text = rest;
    }
    Ok(true)
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
