//! `/api/v1/state`: the state of every server, as `show --json` prints it.

use hyper::StatusCode;

use super::answer::{HttpResponse, head, in_time, large, text};
use crate::control::DaemonAccess;
use crate::report::write_state;
use crate::value::shown::escaped;

const CONTENT_TYPE: &str = "application/json";

/// What a client wants to know.
#[derive(Debug, PartialEq, Eq)]
enum StateQuery {
    /// The state of all servers, without history.
    All,
}

/// Reads the parameters of a request.
///
/// # Errors
/// A parameter is unknown.
fn parse(query: Option<&str>) -> Result<StateQuery, String> {
    let mut parameters = query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
    match parameters.next() {
        None => Ok(StateQuery::All),
        Some(parameter) => {
            let name = parameter.split('=').next().unwrap_or_default();
            Err(format!("unknown parameter {}", escaped(name)))
        }
    }
}

pub(super) async fn answer(access: &DaemonAccess, query: Option<&str>, is_head: bool) -> HttpResponse {
    match parse(query) {
        Err(why) => text(StatusCode::BAD_REQUEST, &why),
        Ok(StateQuery::All) if is_head => head(CONTENT_TYPE),
        Ok(StateQuery::All) => match in_time(access.view()).await {
            Ok((turn, view)) => large(turn, CONTENT_TYPE, move |to| write_state(&view, to)),
            Err(answer) => answer,
        },
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
}
