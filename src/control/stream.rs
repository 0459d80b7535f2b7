//! The client of an event stream, for the command line.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{ClientError, PATIENCE, read};
use super::protocol::{ControlRequest, VERSION, VersionedRequest};
use crate::sys::socket;

/// Maximum length of a line of the stream in bytes.
const LONGEST: usize = 1024 * 1024;

/// One line of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamLine {
    /// An event.
    Event(Value),
    /// The number of events that the daemon dropped because the client did not read them in time.
    Lost(u64),
}

#[derive(Deserialize)]
struct Line {
    event: Option<Value>,
    lost: Option<u64>,
}

impl StreamLine {
    /// The JSON object for programs: the event as the daemon sent it, or `{"lost":17}`.
    #[must_use]
    pub fn json(&self) -> String {
        match self {
            StreamLine::Event(event) => event.to_string(),
            StreamLine::Lost(count) => json!({ "lost": count }).to_string(),
        }
    }

    /// Parses a line. `None` for a line of a later release.
    fn parse(line: &[u8]) -> Option<StreamLine> {
        let Line { event, lost } = serde_json::from_slice(line).ok()?;
        event.map(StreamLine::Event).or(lost.map(StreamLine::Lost))
    }
}

/// A connection that follows events.
#[derive(Debug)]
pub struct EventStream {
    stream: UnixStream,
    /// The begin of the next line.
    rest: Vec<u8>,
}

/// Follows the events of the daemon at this socket. No later event is missed.
///
/// # Errors
/// As [`super::ask`].
pub fn follow(path: &Path) -> Result<EventStream, ClientError> {
    let mut stream = socket::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let asked = VersionedRequest { v: VERSION, request: ControlRequest::Events };
    let line = serde_json::to_string(&asked).map_err(ClientError::Malformed)? + "\n";
    stream.write_all(line.as_bytes())?;
    let mut stream = EventStream { stream, rest: Vec::new() };
    let first = loop {
        if let Some(line) = stream.take_line() {
            break line;
        }
        if !stream.fill()? {
            break std::mem::take(&mut stream.rest);
        }
    };
    read(&String::from_utf8_lossy(&first), &ControlRequest::Events)?;
    stream.stream.set_read_timeout(None)?;
    Ok(stream)
}

impl EventStream {
    /// Reads what has arrived, or waits for more. `None` if the daemon ended the connection.
    ///
    /// # Errors
    /// The connection failed.
    pub fn read(&mut self) -> io::Result<Option<Vec<StreamLine>>> {
        if !self.fill()? {
            return Ok(None);
        }
        Ok(Some(self.lines()))
    }

    /// The events that are already here: those that came with the first line.
    pub fn lines(&mut self) -> Vec<StreamLine> {
        std::iter::from_fn(|| self.take_line()).filter_map(|line| StreamLine::parse(&line)).collect()
    }

    /// Reads once. False at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 64 * 1024];
        let length = self.stream.read(&mut piece)?;
        self.rest.extend_from_slice(&piece[..length]);
        Ok(length > 0 && self.rest.len() <= LONGEST)
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let rest = self.rest.split_off(end + 1);
        Some(std::mem::replace(&mut self.rest, rest))
    }
}

impl AsFd for EventStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    fn serve(text: &'static str) -> Result<Vec<StreamLine>, ClientError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 64];
                let length = stream.read(&mut request).unwrap();
                assert_eq!(&request[..length], b"{\"v\":1,\"request\":\"events\"}\n");
                stream.write_all(text.as_bytes()).unwrap();
            });
            let mut stream = follow(&path)?;
            let mut all = stream.lines();
            while let Some(lines) = stream.read()? {
                all.extend(lines);
            }
            Ok(all)
        })
    }

    #[test]
    fn events_and_losses_are_read_line_by_line() {
        let found = serve(
            "{\"v\":1,\"answer\":{\"events\":\"started\"}}\n{\"v\":1,\"event\":{\"event\":\"up\"}}\n\
             {\"v\":1,\"lost\":17}\n{\"v\":1,\"later\":1}\n{\"v\":1,\"event\":{\"event\":\"do",
        );
        assert_eq!(found.unwrap(), [StreamLine::Event(json!({"event": "up"})), StreamLine::Lost(17)]);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let busy = serve("{\"v\":1,\"error\":{\"code\":\"busy\",\"message\":\"too many\"}}\n").unwrap_err();
        assert_eq!(busy.to_string(), "too many");
        assert!(matches!(serve(""), Err(ClientError::Io(_))));
    }
}
