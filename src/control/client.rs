//! The client of the control socket, for the command line.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use thiserror::Error;

use super::protocol::{ControlRequest, RequestFailure, VERSION, VersionedRequest};
use crate::net::cause;
use crate::sys::socket;

/// Time limit for connecting, sending and reading. A healthy daemon answers at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Time limit for a plan: the daemon reads the file for it, and asks the name servers.
const PLAN_PATIENCE: Duration = Duration::from_secs(60);
/// Maximum size of an answer in bytes.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Why a request failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No daemon listens, or it did not answer in time.
    #[error("{}", why(.0))]
    Io(#[from] io::Error),
    /// The daemon refused the request.
    #[error("{}", .0.message)]
    Refused(RequestFailure),
    /// The daemon is of an earlier release without requests.
    #[error("the daemon is of an earlier release that does not support this request; restart it")]
    Older,
    /// The daemon ended in the middle of its answer, or closed the connection because the answer was not read in time.
    #[error("the answer of the daemon is incomplete; try again")]
    Cut,
    /// The daemon speaks another protocol.
    #[error("invalid answer from the daemon: {0}")]
    Malformed(serde_json::Error),
}

#[derive(Deserialize)]
struct ReplyLine<'a> {
    #[serde(rename = "v")]
    _version: u32,
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
    error: Option<RequestFailure>,
}

/// Sends a request to the daemon at this socket and returns the answer as JSON. A daemon of the previous release
/// answers every request with the state of all services.
///
/// # Errors
/// [`ClientError`].
pub fn ask(path: &Path, request: &ControlRequest) -> Result<String, ClientError> {
    let mut stream = socket::connect(path)?;
    stream.set_read_timeout(Some(patience(request)))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let asked = VersionedRequest { v: VERSION, request: request.clone() };
    let line = serde_json::to_string(&asked).map_err(ClientError::Malformed)? + "\n";
    match stream.write_all(line.as_bytes()) {
        // A daemon of an earlier release may have answered and closed already.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let mut bytes = Vec::new();
    match stream.take(LARGEST).read_to_end(&mut bytes) {
        // A daemon that closes the connection without reading the request causes a reset.
        Err(error) if error.kind() == ErrorKind::ConnectionReset && !bytes.is_empty() => {}
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    read(&String::from_utf8_lossy(&bytes), request)
}

fn patience(request: &ControlRequest) -> Duration {
    if matches!(request, ControlRequest::Plan) { PLAN_PATIENCE } else { PATIENCE }
}

/// Reads the line of an answer.
pub(super) fn read(text: &str, request: &ControlRequest) -> Result<String, ClientError> {
    match serde_json::from_str::<ReplyLine>(text) {
        Ok(ReplyLine { error: Some(failure), .. }) => Err(ClientError::Refused(failure)),
        Ok(ReplyLine { answer: Some(answer), .. }) => Ok(answer.get().to_owned()),
        Ok(_) => Err(ClientError::Io(ErrorKind::UnexpectedEof.into())),
        Err(error) => {
            let is_older = (text.starts_with("{\"virtuals\"") || text.starts_with("{\"name\""))
                && serde_json::from_str::<IgnoredAny>(text).is_ok();
            match request {
                _ if text.is_empty() => Err(ClientError::Io(ErrorKind::UnexpectedEof.into())),
                ControlRequest::Show { service: None, .. } if is_older => Ok(text.trim_end().to_owned()),
                _ if is_older => Err(ClientError::Older),
                _ if error.is_eof() => Err(ClientError::Cut),
                _ => Err(ClientError::Malformed(error)),
            }
        }
    }
}

/// Describes why the daemon did not answer. A socket reports "try again" both for a silent daemon and for a full
/// connection queue.
#[must_use]
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "no answer in time: the daemon is busy or stuck; try again".to_owned()
        }
        _ => cause(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::CounterDetail;

    #[test]
    fn d2_a_busy_daemon_is_told_from_one_that_does_not_run() {
        let said = |number| why(&io::Error::from_raw_os_error(number));
        assert_eq!(said(11), "no answer in time: the daemon is busy or stuck; try again");
        assert_eq!(said(2), "no such file or directory");
        assert_eq!(said(111), "connection refused");
    }

    #[test]
    fn answers_of_this_release_and_of_the_one_before_are_read() {
        let show = ControlRequest::Show { service: None, counters: CounterDetail::None };
        assert_eq!(read("{\"v\":1,\"answer\":{\"virtuals\":[]}}\n", &show).unwrap(), "{\"virtuals\":[]}");
        assert_eq!(read("{\"virtuals\":[]}", &show).unwrap(), "{\"virtuals\":[]}");
        assert!(matches!(read("{\"virtuals\":[]}", &ControlRequest::Status), Err(ClientError::Older)));
        let refused = "{\"v\":1,\"error\":{\"code\":\"forbidden\",\"message\":\"no\"}}";
        assert_eq!(read(refused, &show).unwrap_err().to_string(), "no");
        assert!(matches!(read("", &show), Err(ClientError::Io(_))));
        assert!(matches!(read("nonsense", &show), Err(ClientError::Malformed(_))));
        for cut in ["{\"v\":1,\"answer\":{\"virtuals\":[", "{\"virtuals\":["] {
            assert!(matches!(read(cut, &show), Err(ClientError::Cut)), "{cut}");
        }
    }

    /// A daemon of the previous release answers without reading the request, and closes the connection.
    #[test]
    fn a_daemon_that_does_not_read_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Reads one byte, so that the rest of the request is unread when the stream is closed.
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"{\"virtuals\":[]}").unwrap();
        });
        let answer = ask(&path, &ControlRequest::Show { service: None, counters: CounterDetail::None });
        daemon.join().unwrap();
        assert_eq!(answer.unwrap(), "{\"virtuals\":[]}");
    }
}
