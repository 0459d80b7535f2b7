//! `/api/v1/state`: the state of every server, as `show --json` prints it, or everything known about one server.

use std::net::SocketAddr;

use hyper::StatusCode;
use percent_encoding::percent_decode_str;

use super::answer::{HttpResponse, head, in_time, json, large, text};
use crate::control::{DaemonAccess, LoopRequest, ServerTarget};
use crate::report::{StoryReport, write_state};
use crate::value::shown::escaped;

const CONTENT_TYPE: &str = "application/json";

/// What a client wants to know.
#[derive(Debug, PartialEq, Eq)]
enum StateQuery {
    /// The state of all servers, without history.
    All,
    /// Everything known about one server, in all services that have it.
    Server(SocketAddr),
}

/// Reads the parameters of a request.
///
/// # Errors
/// A parameter is unknown, or not an address and port.
fn parse(query: Option<&str>) -> Result<StateQuery, String> {
    let mut parameters = query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
    let (Some(first), second) = (parameters.next(), parameters.next()) else { return Ok(StateQuery::All) };
    let (name, value) = first.split_once('=').unwrap_or((first, ""));
    match (name, second) {
        // The brackets of an IPv6 address may be encoded.
        ("server", None) => {
            let value = percent_decode_str(value).decode_utf8_lossy();
            let server = value.parse().map(StateQuery::Server);
            server.map_err(|_| {
                format!("server: {} is not an address and port, such as 10.0.0.2:80", escaped(&value))
            })
        }
        ("server", Some(other)) => Err(format!("unknown parameter {}", escaped(other))),
        _ => Err(format!("unknown parameter {}", escaped(name))),
    }
}

pub(super) async fn answer(access: &DaemonAccess, query: Option<&str>, is_head: bool) -> HttpResponse {
    match parse(query) {
        Err(why) => text(StatusCode::BAD_REQUEST, &why),
        Ok(StateQuery::All) if is_head => head(CONTENT_TYPE),
        Ok(StateQuery::All) => match in_time(access.view()).await {
            Ok((turn, view)) => {
                let counters = access.counters();
                large(turn, CONTENT_TYPE, move |to| {
                    let counters = counters.read(None, false).unwrap_or_default();
                    write_state(&view, &counters, to)
                })
            }
            Err(answer) => answer,
        },
        Ok(StateQuery::Server(server)) => {
            let target = ServerTarget { server, service: None };
            match in_time(access.ask(|reply| LoopRequest::Story(target, reply))).await {
                Ok(Ok(story)) => {
                    let source = access.counters();
                    let report =
                        move || StoryReport::of(&story, &source.read(None, true).unwrap_or_default());
                    json(tokio::task::spawn_blocking(report).await.ok())
                }
                Ok(Err(failure)) => text(StatusCode::NOT_FOUND, &failure.message),
                Err(answer) => answer,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameters_are_refused() {
        for query in [None, Some(""), Some("&")] {
            assert_eq!(parse(query), Ok(StateQuery::All));
        }
        for query in ["verbose", "verbose=1", "&verbose=1&x"] {
            assert_eq!(parse(Some(query)), Err("unknown parameter verbose".to_owned()));
        }
    }

    #[test]
    fn a_server_may_be_encoded() {
        for query in ["server=[2001:db8::2]:80", "server=%5B2001%3Adb8%3A%3A2%5D%3A80"] {
            assert_eq!(parse(Some(query)), Ok(StateQuery::Server("[2001:db8::2]:80".parse().unwrap())));
        }
        for query in
            ["server", "server=web1", "server=10.0.0.2:80&x", "server=10.0.0.2:80&server=10.0.0.3:80"]
        {
            assert!(parse(Some(query)).is_err(), "{query}");
        }
    }
}
