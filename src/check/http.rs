//! `service=http` and `https`: a request on a connection of its own, driven inside the check, without a client object.

mod exchange;
mod judge;

use std::borrow::Cow;
use std::net::SocketAddr;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

use super::clients::Clients;
use super::progress::{Progress, Step};
use super::sentence::method_word;
use super::target::{Target, escape};
use super::{judge_error, say, unreachable};
use crate::net::{cause, dial, resolve};
use crate::plan::{HttpMethod, HttpProbe, Probe, Scheme};
use crate::value::{Secret, Tls, UnknownCause, Verdict};
use exchange::Answer;
use judge::{judge, redirect, status_line};

/// Names this program to the servers.
const AGENT: &str = concat!("ldirectord-rs/", env!("CARGO_PKG_VERSION"));

/// So many bytes of a body are read and matched; what comes after them is not waited for.
const MAX_BODY: usize = 1024 * 1024;

/// So many bytes the status line and the headers may have together.
const MAX_HEAD: usize = 64 * 1024;

/// So many redirects are followed.
const MAX_HOPS: usize = 7;

/// So many names are looked up at the same time. A lookup cannot be ended and may outlive its check; more of them could take all
/// threads that block, of which commands need some, too.
const MAX_LOOKUPS: usize = 32;

static LOOKUPS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// Where one request of a check goes. The parts of the first are borrowed from the probe.
struct Hop<'a> {
    scheme: Scheme,
    peer: Peer<'a>,
    /// What stands in the request line: a path, or for a proxy the whole URL.
    path: Cow<'a, str>,
    host: &'a str,
    /// The user and the password of the URL; none for a path.
    credentials: Option<&'a Secret>,
    tls: Cow<'a, Tls>,
}

/// Whom to connect to.
enum Peer<'a> {
    Address(SocketAddr),
    Name(&'a str, u16),
}

/// Asks, follows redirects, and judges the last answer.
pub(super) async fn run(clients: &Clients, probe: &Probe, http: &HttpProbe, progress: &Progress) -> Verdict {
    let mut target: Option<Target> = None;
    let first = escape(&http.request);
    if http.proxy || !first.starts_with('/') {
        match Target::parse(&first) {
            Ok(absolute) => target = Some(absolute),
            Err(why) => return Verdict::down(format!("{}: {why}", method_word(http.method))),
        }
    }
    for hops in 0.. {
        let hop = hop(probe, http, &first, target.as_ref(), hops);
        let answer = match ask(clients, &hop, http.method, progress).await {
            Ok(answer) => answer,
            Err(verdict) => return verdict,
        };
        let name = || name(probe, http, target.as_ref(), hops);
        let Some(location) = redirect(&answer) else {
            return judge(&name(), &answer, http.receive.as_ref());
        };
        if hops == MAX_HOPS {
            let reason = format!(
                "{}: {}, and no more than {MAX_HOPS} redirects are followed",
                name(),
                status_line(&answer)
            );
            return Verdict::down(reason).with_monitor(status_line(&answer));
        }
        let next = match &target {
            Some(target) => target.join(&location),
            None => base(probe, http, &first).join(&location),
        };
        match next {
            Ok(next) => target = Some(next),
            Err(why) => {
                let reason =
                    format!("{}: {} to a place that is not checked: {why}", name(), status_line(&answer));
                return Verdict::down(reason).with_monitor(status_line(&answer));
            }
        }
    }
    Verdict::down("the redirects have no end")
}

/// What was asked for, as the beginning of a sentence.
fn name(probe: &Probe, http: &HttpProbe, target: Option<&Target>, hops: usize) -> String {
    let mut name = format!("{} ", method_word(http.method));
    match target {
        Some(target) => name.push_str(&target.to_string()),
        None => name.push_str(&say::url(&http.request)),
    }
    if target.is_some_and(|target| proxied(http, target)) {
        name.push_str(&format!(" through the proxy {}", probe.target));
    }
    if hops > 0 {
        name.push_str(&format!(" (after {})", say::count(hops as u64, "redirect")));
    }
    name
}

/// Whether the proxy is asked for a URL. Like the original only for HTTP; what is HTTPS is connected to directly.
fn proxied(http: &HttpProbe, target: &Target) -> bool {
    http.proxy && target.scheme == Scheme::Http
}

/// The request number `hops`: the probe's own, or the one that a redirect asks for.
fn hop<'a>(
    probe: &Probe,
    http: &'a HttpProbe,
    first: &'a str,
    target: Option<&'a Target>,
    hops: usize,
) -> Hop<'a> {
    let Some(target) = target else {
        return Hop {
            scheme: http.scheme,
            peer: Peer::Address(probe.target),
            path: Cow::Borrowed(first),
            host: http.host.as_deref().unwrap_or_default(),
            credentials: None,
            tls: Cow::Borrowed(&http.tls),
        };
    };
    if proxied(http, target) {
        return Hop {
            scheme: Scheme::Http,
            peer: Peer::Address(probe.target),
            path: Cow::Owned(target.to_string()),
            host: &target.authority,
            credentials: Some(&target.credentials),
            tls: Cow::Borrowed(&http.tls),
        };
    }
    let peer = match target.address() {
        Some(address) => Peer::Address(SocketAddr::new(address, target.port)),
        None => Peer::Name(&target.host, target.port),
    };
    // Only the configured request carries the configured names; after a redirect the Location's own count.
    let (host, server_name) = match hops {
        0 => (http.host.as_deref().unwrap_or(&target.authority), http.tls.server_name.clone()),
        _ => (&*target.authority, None),
    };
    let server_name = server_name.or_else(|| Some(target.host.clone()));
    Hop {
        scheme: target.scheme,
        peer,
        path: Cow::Borrowed(&target.path),
        host,
        credentials: Some(&target.credentials),
        tls: Cow::Owned(Tls { server_name, ..http.tls.clone() }),
    }
}

/// The URL of a probe that has only a path, to resolve a relative `Location` against.
fn base(probe: &Probe, http: &HttpProbe, path: &str) -> Target {
    Target {
        scheme: http.scheme,
        authority: probe.target.to_string(),
        credentials: Secret::default(),
        host: probe.target.ip().to_string(),
        port: probe.target.port(),
        path: path.to_owned(),
    }
}

/// One request, one answer, on one connection.
async fn ask(
    clients: &Clients,
    hop: &Hop<'_>,
    method: HttpMethod,
    progress: &Progress,
) -> Result<Answer, Verdict> {
    let request = request(hop, method)?;
    let (stream, address) = open(&hop.peer, progress).await?;
    let answer = match hop.scheme {
        Scheme::Http => {
            progress.connected(Step::Answer("the status line"));
            exchange::run(stream, request, progress).await
        }
        Scheme::Https => {
            progress.connected(Step::Handshake);
            let shaken = clients.shake_hands(&hop.tls, address.ip(), stream, progress).await;
            let stream = shaken.map_err(|why| {
                judge_error(format!("connect to {address}: {why}"), &why)
                    .with_monitor(format!("500 Can't connect to {address} ({why})"))
            })?;
            progress.step(Step::Answer("the status line"));
            exchange::run(stream, request, progress).await
        }
    };
    answer.map_err(|why| {
        let reason = format!("{} {}: {why} (from {address})", method_word(method), say::url(&hop.path));
        judge_error(reason, &why).with_monitor(format!("500 {why}"))
    })
}

fn request(hop: &Hop<'_>, method: HttpMethod) -> Result<Request<Empty<Bytes>>, Verdict> {
    let refuse =
        |what: &str| Verdict::down(format!("{} {}: {what}", method_word(method), say::url(&hop.path)));
    let uri =
        Uri::try_from(&*hop.path).map_err(|error| refuse(&format!("the path cannot be sent: {error}")))?;
    let host = HeaderValue::from_bytes(hop.host.as_bytes())
        .map_err(|_| refuse("the Host header has a character that cannot be sent"))?;
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri;
    *request.method_mut() = match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
    };
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some(credentials) = hop.credentials.map(Secret::reveal).filter(|text| !text.is_empty()) {
        let mut value = HeaderValue::try_from(format!("Basic {credentials}"))
            .map_err(|_| refuse("the user and the password cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// The monitor file has the system's own words, which begin with a capital.
fn as_the_system_says(why: &str) -> String {
    let mut letters = why.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Looks something up on a thread that may block. Its place is free when the work is done, not when nobody waits for it any more.
pub(super) async fn look_up<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    // It is never closed.
    let place = places.acquire().await;
    spawn_blocking(move || {
        let _place = place;
        work()
    })
    .await
}

/// Connects to the peer; of a name, to the first of its addresses that lets us.
async fn open(peer: &Peer<'_>, progress: &Progress) -> Result<(TcpStream, SocketAddr), Verdict> {
    let failed = |address: SocketAddr, error: std::io::Error| {
        let verdict = unreachable(&format!("connect to {address}"), &error);
        if verdict.is_unknown() {
            verdict
        } else {
            verdict.with_monitor(format!(
                "500 Can't connect to {address} ({})",
                as_the_system_says(&cause(&error))
            ))
        }
    };
    let (name, port) = match *peer {
        Peer::Address(address) => {
            progress.connecting(address);
            return match dial::connect(address).await {
                Ok(stream) => Ok((stream, address)),
                Err(error) => Err(failed(address, error)),
            };
        }
        Peer::Name(name, port) => (name.to_owned(), port),
    };
    progress.step(Step::Resolve(name.clone()));
    let bad_name = format!("500 Can't connect to {name}:{port} (Bad hostname)");
    let addresses = match look_up(&LOOKUPS, move || resolve::any_host(&name)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(Verdict::down(error.to_string()).with_monitor(bad_name)),
        Err(error) => {
            return Err(Verdict::unknown(
                UnknownCause::Panic,
                format!("the resolver's thread failed: {error}"),
            ));
        }
    };
    let mut verdict = Verdict::down("the name has no address");
    for address in addresses {
        let address = SocketAddr::new(address, port);
        progress.connecting(address);
        match dial::connect(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => verdict = failed(address, error),
        }
    }
    Err(verdict)
}
