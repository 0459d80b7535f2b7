//! Which endpoint answers a request, and what every response has.

use std::sync::Arc;

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, StatusCode};
use tokio::sync::Semaphore;

use super::answer::{HttpResponse, text};
use super::hosts::HostNames;
use super::{events, health, metrics, state};
use crate::control::DaemonAccess;

/// The headers of every response. No response may be kept, taken for another type, or load anything.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'")),
];

/// What all connections share.
#[derive(Debug)]
pub(super) struct HttpContext {
    pub access: DaemonAccess,
    pub hosts: HostNames,
    /// One permit for each client that follows events.
    pub followers: Arc<Semaphore>,
}

/// How a client has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientOrigin {
    /// Over TCP: from any program of any machine that reaches the address, so the host name is checked.
    Network,
    /// Over a Unix socket. Whether the user of the client may read.
    Local { may_read: bool },
}

/// Answers a request.
pub(super) async fn answer<B>(
    context: &HttpContext,
    origin: ClientOrigin,
    request: &Request<B>,
) -> HttpResponse {
    let mut answer = route(context, origin, request).await;
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, value);
    }
    answer
}

async fn route<B>(context: &HttpContext, origin: ClientOrigin, request: &Request<B>) -> HttpResponse {
    match origin {
        ClientOrigin::Network => {
            if let Err((status, why)) = context.hosts.judge(request) {
                return text(status, why);
            }
        }
        ClientOrigin::Local { may_read: true } => {}
        ClientOrigin::Local { may_read: false } => {
            let why = "this user has no right to read; see [control] in the settings of the daemon";
            return text(StatusCode::FORBIDDEN, why);
        }
    }
    let Some(endpoint) = Endpoint::at(request.uri().path()) else {
        return text(StatusCode::NOT_FOUND, "not found: /metrics, /api/v1/state, /api/v1/events, /healthz");
    };
    let is_head = *request.method() == Method::HEAD;
    if !is_head && *request.method() != Method::GET {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are possible");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let access = &context.access;
    match endpoint {
        Endpoint::Metrics => metrics::answer(access, is_head).await,
        Endpoint::State => state::answer(access, request.uri().query(), is_head).await,
        Endpoint::Events => events::answer(access, &context.followers, is_head),
        Endpoint::Health => health::answer(access).await,
    }
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Metrics,
    State,
    Events,
    Health,
}

impl Endpoint {
    fn at(path: &str) -> Option<Endpoint> {
        match path {
            "/metrics" => Some(Endpoint::Metrics),
            "/api/v1/state" => Some(Endpoint::State),
            "/api/v1/events" => Some(Endpoint::Events),
            "/healthz" => Some(Endpoint::Health),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control;
    use crate::report::CounterSource;

    #[tokio::test]
    async fn requests_that_need_no_loop_are_answered_at_once() {
        let (_inbox, access) = control::access(CounterSource::none());
        let hosts = HostNames::new(&[], "lb1");
        let context = HttpContext { access, hosts, followers: Arc::new(Semaphore::new(1)) };
        let refused = ClientOrigin::Local { may_read: false };
        let allowed = ClientOrigin::Local { may_read: true };
        for (method, target, origin, status) in [
            ("GET", "/", allowed, 404),
            ("POST", "/", allowed, 404),
            ("GET", "/metrics/", allowed, 404),
            ("GET", "//metrics", allowed, 404),
            ("GET", "/api/v1/state/../state", allowed, 404),
            ("POST", "/metrics", allowed, 405),
            ("OPTIONS", "/healthz", allowed, 405),
            ("HEAD", "/metrics", allowed, 200),
            ("HEAD", "/metrics", refused, 403),
            ("HEAD", "/api/v1/state", allowed, 200),
            ("HEAD", "/api/v1/state?x=1", allowed, 400),
            ("GET", "/api/v1/state?x=1", allowed, 400),
            ("HEAD", "/api/v1/events", allowed, 200),
            ("GET", "/api/v1/events", refused, 403),
            // No Host.
            ("GET", "/metrics", ClientOrigin::Network, 400),
        ] {
            let request = Request::builder().method(method).uri(target).body(()).unwrap();
            let answer = answer(&context, origin, &request).await;
            assert_eq!(answer.status(), status, "{method} {target}");
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(answer.headers()[CONTENT_SECURITY_POLICY], "default-src 'none'");
            assert_eq!(answer.headers().get(ALLOW).is_some(), status == 405);
        }
    }
}
