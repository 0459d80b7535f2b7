//! Requests and answers of the control socket.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rights::Right;
use crate::health::{OverrideWeight, What};
use crate::value::shown::escaped;

/// The version of the protocol. A new field in an answer does not change it.
pub const VERSION: u32 = 1;

/// A request, with the version of the protocol that the client speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionedRequest {
    /// The version.
    pub v: u32,
    /// The request.
    #[serde(flatten)]
    pub request: ControlRequest,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum ControlRequest {
    /// The version of the program and of the protocol.
    Version,
    /// The state in one line.
    Status,
    /// The state of all virtual services, or of one.
    Show {
        /// The id of the service, `tcp:10.0.0.1:80` or `fwm:5`. `None`: all services.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// What the answer has of the kernel's counters.
        #[serde(default, skip_serializing_if = "CounterDetail::is_none")]
        counters: CounterDetail,
    },
    /// Everything known about one server.
    ShowServer(ServerTarget),
    /// All events from now on, one a line, until the client closes the connection.
    Events,
    /// All metrics, in Prometheus' text format.
    Metrics,
    /// Reload the configuration.
    Reload,
    /// The operations of a reload at this moment. Changes nothing.
    Plan,
    /// Set an override of a server.
    Override(OverrideRequest),
    /// End an override.
    Undo(ServerTarget),
}

/// What the answer to [`ControlRequest::Show`] has of the kernel's counters. Reading them takes some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CounterDetail {
    /// Nothing.
    #[default]
    None,
    /// The connections of each destination.
    Connections,
    /// Also the traffic of each service and destination.
    Traffic,
}

impl CounterDetail {
    fn is_none(&self) -> bool {
        *self == CounterDetail::None
    }
}

/// A real server, in one virtual service or in all services that have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTarget {
    /// Its address and port in the configuration.
    pub server: SocketAddr,
    /// The id of the service. `None`: all services that have the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// A request to set an override.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OverrideFields", into = "OverrideFields")]
pub struct OverrideRequest {
    /// As in [`ServerTarget`].
    pub server: SocketAddr,
    /// As in [`ServerTarget`].
    pub service: Option<String>,
    /// The kind of override.
    pub what: What,
    /// The reason, at most 256 bytes.
    pub note: String,
    /// Seconds until the override expires, 1 to 316,224,000. `None`: never.
    pub seconds: Option<u64>,
    /// Set the override even if a virtual service loses its last server in rotation.
    pub force: bool,
}

/// [`OverrideRequest`] as JSON. Unknown fields are errors: with a misspelled `seconds` the override would never expire.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideFields {
    server: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<OverrideWeight>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    #[serde(default)]
    force: bool,
}

impl TryFrom<OverrideFields> for OverrideRequest {
    type Error = String;

    fn try_from(fields: OverrideFields) -> Result<OverrideRequest, String> {
        let OverrideFields { server, service, what, weight, note, seconds, force } = fields;
        let what = What::from_names(&what, weight)?;
        Ok(OverrideRequest { server, service, what, note, seconds, force })
    }
}

impl From<OverrideRequest> for OverrideFields {
    fn from(request: OverrideRequest) -> OverrideFields {
        let OverrideRequest { server, service, what, note, seconds, force } = request;
        let weight = what.weight();
        OverrideFields { server, service, what: what.as_str().to_owned(), weight, note, seconds, force }
    }
}

impl fmt::Display for ServerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.server)?;
        self.service.as_ref().map_or(Ok(()), |service| write!(f, " of {}", escaped(service)))
    }
}

impl fmt::Display for OverrideRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what.as_str(), self.server)?;
        self.what.weight().map_or(Ok(()), |weight| write!(f, " {weight}"))?;
        self.service.as_ref().map_or(Ok(()), |service| write!(f, " of {}", escaped(service)))?;
        self.seconds.map_or(Ok(()), |seconds| write!(f, " for {seconds} s"))?;
        if self.force { f.write_str(", forced") } else { Ok(()) }
    }
}

impl fmt::Display for ControlRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlRequest::Version => f.write_str("version"),
            ControlRequest::Status => f.write_str("status"),
            ControlRequest::Show { .. } => f.write_str("show"),
            ControlRequest::ShowServer(target) => write!(f, "show {target}"),
            ControlRequest::Events => f.write_str("events"),
            ControlRequest::Metrics => f.write_str("metrics"),
            ControlRequest::Reload => f.write_str("reload"),
            ControlRequest::Plan => f.write_str("plan"),
            ControlRequest::Override(request) => request.fmt(f),
            ControlRequest::Undo(target) => write!(f, "undo {target}"),
        }
    }
}

/// Maximum length of a note in bytes.
pub const MAX_NOTE: usize = 256;
/// Maximum duration of an override in seconds: ten years.
pub const MAX_SECONDS: u64 = 10 * 366 * 24 * 3600;

/// Maximum length of the id of a service in bytes.
const MAX_SERVICE: usize = 100;

impl ControlRequest {
    /// Checks the limits of the fields.
    pub(super) fn check(&self) -> Result<(), Answer> {
        let bad = |message| Err(Answer::failure(ErrorCode::BadRequest, message));
        let (service, note, seconds) = match self {
            ControlRequest::Override(request) => (&request.service, request.note.as_str(), request.seconds),
            ControlRequest::Show { service, .. } => (service, "", None),
            ControlRequest::Undo(target) | ControlRequest::ShowServer(target) => (&target.service, "", None),
            _ => return Ok(()),
        };
        if service.as_ref().is_some_and(|service| service.len() > MAX_SERVICE) {
            return bad(format!("service: longer than {MAX_SERVICE} bytes"));
        }
        if note.len() > MAX_NOTE || note.chars().any(char::is_control) {
            return bad(format!("note: longer than {MAX_NOTE} bytes, or contains control characters"));
        }
        match seconds {
            Some(seconds) if !(1..=MAX_SECONDS).contains(&seconds) => {
                bad(format!("seconds: must be 1 to {MAX_SECONDS}"))
            }
            _ => Ok(()),
        }
    }

    /// The right that the request needs.
    #[must_use]
    pub fn right(&self) -> Right {
        match self {
            ControlRequest::Reload | ControlRequest::Override(_) | ControlRequest::Undo(_) => Right::Write,
            ControlRequest::Version
            | ControlRequest::Status
            | ControlRequest::Show { .. }
            | ControlRequest::ShowServer(_)
            | ControlRequest::Metrics
            | ControlRequest::Events
            | ControlRequest::Plan => Right::Read,
        }
    }
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The version of the protocol that the daemon speaks.
    pub v: u32,
    /// The result of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// One event of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// The number of events that were dropped because the client reads too slowly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Why the request failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RequestFailure>,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFailure {
    /// The kind of error, for programs.
    pub code: ErrorCode,
    /// The error in one line, for people.
    pub message: String,
}

/// The kinds of [`RequestFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The line is not a request of this protocol.
    BadRequest,
    /// The daemon speaks another version of the protocol.
    BadVersion,
    /// The user of the client lacks the right that the request needs.
    Forbidden,
    /// There is no such service or server.
    NotFound,
    /// A virtual service would have no server in rotation, or there is no override to end.
    Refused,
    /// Too many clients follow events, or too many plans are not finished.
    Busy,
    /// The daemon is stopping.
    Stopping,
}

impl Answer {
    const EMPTY: Answer = Answer { v: VERSION, answer: None, event: None, lost: None, error: None };

    /// Renders the result of a request as a line, with the line end.
    #[must_use]
    pub fn line_of<T: Serialize>(answer: &T) -> String {
        #[derive(Serialize)]
        struct Line<'a, T> {
            v: u32,
            answer: &'a T,
        }
        serde_json::to_string(&Line { v: VERSION, answer }).map(|line| line + "\n").unwrap_or_default()
    }

    /// Creates the line for events that were dropped from a stream.
    #[must_use]
    pub fn lost(count: u64) -> Answer {
        Answer { lost: Some(count), ..Answer::EMPTY }
    }

    /// Creates the answer to a request that failed.
    #[must_use]
    pub fn failure(code: ErrorCode, message: impl Into<String>) -> Answer {
        Answer::of_failure(RequestFailure { code, message: message.into() })
    }

    /// As [`Answer::failure`].
    #[must_use]
    pub fn of_failure(failure: RequestFailure) -> Answer {
        Answer { error: Some(failure), ..Answer::EMPTY }
    }

    /// Renders the answer as a line, with the line end.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).map(|line| line + "\n").unwrap_or_default()
    }
}

/// Parses a line as a request.
pub(super) fn parse(line: &str) -> Result<ControlRequest, Answer> {
    let bad = |message: String| Answer::failure(ErrorCode::BadRequest, message);
    let value: Value =
        serde_json::from_str(line).map_err(|error| bad(format!("not a JSON object: {error}")))?;
    match value.get("v").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            let message = format!(
                "protocol version {version} is not supported; this daemon supports version {VERSION}"
            );
            return Err(Answer::failure(ErrorCode::BadVersion, message));
        }
        None => return Err(bad("the field v (version of the protocol) is missing".to_owned())),
    }
    let asked: VersionedRequest =
        serde_json::from_value(value).map_err(|error| bad(format!("not a valid request: {error}")))?;
    Ok(asked.request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_written() {
        let target =
            ServerTarget { server: "10.0.0.2:80".parse().unwrap(), service: Some("fwm:5".to_owned()) };
        for request in [
            ControlRequest::Version,
            ControlRequest::Status,
            ControlRequest::Show { service: None, counters: CounterDetail::None },
            ControlRequest::Show {
                service: Some("tcp:10.0.0.1:80".to_owned()),
                counters: CounterDetail::Traffic,
            },
            ControlRequest::ShowServer(target.clone()),
            ControlRequest::Events,
            ControlRequest::Metrics,
            ControlRequest::Reload,
            ControlRequest::Plan,
            ControlRequest::Undo(target.clone()),
            ControlRequest::Override(OverrideRequest {
                server: target.server,
                service: None,
                what: What::Drain,
                note: "new kernel".to_owned(),
                seconds: Some(1800),
                force: false,
            }),
            ControlRequest::Override(OverrideRequest {
                server: "10.0.0.2:80".parse().unwrap(),
                service: None,
                what: What::Weight(OverrideWeight::Percent(50)),
                note: String::new(),
                seconds: None,
                force: true,
            }),
        ] {
            let line =
                serde_json::to_string(&VersionedRequest { v: VERSION, request: request.clone() }).unwrap();
            assert_eq!(parse(&line), Ok(request), "{line}");
        }
        assert_eq!(
            parse(r#"{"v":1,"request":"show","service":"fwm:5"}"#),
            Ok(ControlRequest::Show { service: Some("fwm:5".to_owned()), counters: CounterDetail::None })
        );
    }

    #[test]
    fn a_wrong_request_has_a_code_and_a_reason() {
        for (line, code) in [
            ("", ErrorCode::BadRequest),
            ("show", ErrorCode::BadRequest),
            ("[]", ErrorCode::BadRequest),
            (r#"{"request":"show"}"#, ErrorCode::BadRequest),
            (r#"{"v":2,"request":"show"}"#, ErrorCode::BadVersion),
            (r#"{"v":1,"request":"destroy"}"#, ErrorCode::BadRequest),
            (r#"{"v":1}"#, ErrorCode::BadRequest),
            (
                r#"{"v":1,"request":"override","server":"10.0.0.2:80","what":"drain","secs":5}"#,
                ErrorCode::BadRequest,
            ),
            (r#"{"v":1,"request":"undo","server":"10.0.0.2:80","servcie":"fwm:5"}"#, ErrorCode::BadRequest),
            (r#"{"v":1,"request":"override","server":"10.0.0.2:80","what":"weight"}"#, ErrorCode::BadRequest),
            (
                r#"{"v":1,"request":"override","server":"10.0.0.2:80","what":"weight","weight":"0"}"#,
                ErrorCode::BadRequest,
            ),
            (
                r#"{"v":1,"request":"override","server":"10.0.0.2:80","what":"drain","weight":"5"}"#,
                ErrorCode::BadRequest,
            ),
        ] {
            let failure = parse(line).unwrap_err().error.unwrap();
            assert_eq!(failure.code, code, "{line}: {}", failure.message);
        }
    }
}
