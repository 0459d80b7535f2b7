//! `service=http` and `https`: each request on its own connection, driven inside the check, without a client object.

mod answer;
mod exchange;
mod judge;
mod lenient;
mod open;
mod url;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};

use super::clients::Clients;
use super::failure::judge_error;
use super::format;
use super::progress::{CheckStep, Progress};
use crate::net::lookup::Lookups;
use crate::spec::{HttpMethod, HttpProbe, Probe, Redirects, Scheme};
use crate::value::host::without_port;
use crate::value::{Secret, Tls, Verdict};
use answer::HttpAnswer;
use exchange::Wanted;
use judge::judge;
use open::{PeerAddress, open};
use url::{Url, escape};

/// The value of `User-Agent`.
const AGENT: &str = concat!("ldirectord-rs/", env!("CARGO_PKG_VERSION"));

/// The most redirects that are followed.
const MAX_HOPS: usize = 7;

/// The destination of one request of a check. The parts of the first are borrowed from the probe.
struct Hop<'a> {
    scheme: Scheme,
    peer: PeerAddress<'a>,
    /// The target in the request line: a path, or the whole URL for a proxy.
    path: Cow<'a, str>,
    host: &'a str,
    /// The user and the password of the URL. None for a path.
    credentials: Option<&'a Secret>,
    tls: Cow<'a, Tls>,
}

/// The context of all requests of one check.
struct HttpCheck<'a> {
    clients: &'a Clients,
    lookups: &'a Lookups,
    probe: &'a Probe,
    http: &'a HttpProbe,
    progress: &'a Progress,
}

/// An answer, and where it came from.
struct HttpReply {
    /// The request, to begin the reason with.
    name: String,
    answer: HttpAnswer,
}

/// Sends the request, follows redirects, and judges the last answer.
pub(super) async fn run(
    clients: &Clients,
    lookups: &Lookups,
    probe: &Probe,
    http: &HttpProbe,
    progress: &Progress,
) -> Verdict {
    let mut target: Option<Url> = None;
    let first = escape(&http.request);
    if http.proxy || !first.starts_with('/') {
        match Url::parse(&first) {
            Ok(absolute) => target = Some(absolute),
            Err(why) => return Verdict::down(format!("{}: {why}", http.method_word())),
        }
    }
    let check = HttpCheck { clients, lookups, probe, http, progress };
    let mut asked_first = None;
    for hops in 0.. {
        let hop = hop(probe, http, &first, target.as_ref(), hops);
        let reply = match check.ask(&hop, target.as_ref(), hops, &mut asked_first).await {
            Ok(reply) => reply,
            Err(verdict) => return verdict,
        };
        let Some(location) = reply.answer.redirect() else {
            return judge(&reply.name, reply.answer, http.receive.as_ref(), progress).await;
        };
        let base = || base(probe, http, &first);
        match follow(http, probe, target.as_ref(), base, &location, hops) {
            Ok(next) => target = Some(next),
            Err(why) => {
                let status = reply.answer.status_line();
                return Verdict::down(format!("{}: {status}{why}", reply.name)).with_monitor(status);
            }
        }
    }
    Verdict::down("too many redirects")
}

/// The target of a redirect. The error continues a sentence.
fn follow(
    http: &HttpProbe,
    probe: &Probe,
    target: Option<&Url>,
    base: impl Fn() -> Url,
    location: &str,
    hops: usize,
) -> Result<Url, String> {
    if http.redirects == Redirects::No {
        return Err(", not followed (redirects=no)".to_owned());
    }
    if hops == MAX_HOPS {
        return Err(format!(", more than {MAX_HOPS} redirects"));
    }
    let next = match target {
        Some(target) => target.join(location),
        None => base().join(location),
    };
    let next = next.map_err(|why| format!(" to a URL that cannot be checked: {why}"))?;
    if http.redirects == Redirects::SameHost && !is_same_host(http, probe, &next) {
        return Err(format!(" to {next}, not followed (redirects=same-host)"));
    }
    Ok(next)
}

/// Whether a URL names the checked server: by its address, by the name in the Host header, or by the host of the
/// request if that is a URL.
fn is_same_host(http: &HttpProbe, probe: &Probe, next: &Url) -> bool {
    let own = Url::parse(&http.request).ok();
    match own {
        Some(own) => own.host.eq_ignore_ascii_case(&next.host) || names_host(http, &next.host),
        None => next.address() == Some(probe.target.ip()) || names_host(http, &next.host),
    }
}

/// Whether a host equals the one in the Host header, whose port is ignored.
fn names_host(http: &HttpProbe, host: &str) -> bool {
    let own = without_port(http.host.as_deref().unwrap_or_default());
    !own.is_empty() && own.eq_ignore_ascii_case(host)
}

/// The request, to begin the reason with.
fn name(probe: &Probe, http: &HttpProbe, target: Option<&Url>, hops: usize, elsewhere: bool) -> String {
    let mut name = format!("{} ", http.method_word());
    match target {
        Some(target) => name.push_str(&target.to_string()),
        None => name.push_str(&format::url(&http.request)),
    }
    if target.is_some_and(|target| proxied(http, target)) {
        name.push_str(&format!(" through the proxy {}", probe.target));
    }
    if hops > 0 {
        let elsewhere = if elsewhere { ", by another host" } else { "" };
        name.push_str(&format!(" (after {}{elsewhere})", format::count(hops as u64, "redirect")));
    }
    name
}

/// Whether a URL is requested through the proxy. As in the original only HTTP is; HTTPS URLs are connected to directly.
fn proxied(http: &HttpProbe, target: &Url) -> bool {
    http.proxy && target.scheme == Scheme::Http
}

/// The request after `hops` redirects: the probe's own, or the redirected one.
fn hop<'a>(
    probe: &Probe,
    http: &'a HttpProbe,
    first: &'a str,
    target: Option<&'a Url>,
    hops: usize,
) -> Hop<'a> {
    let Some(target) = target else {
        return Hop {
            scheme: http.scheme,
            peer: PeerAddress::Address(probe.target),
            path: Cow::Borrowed(first),
            host: http.host.as_deref().unwrap_or_default(),
            credentials: None,
            tls: Cow::Borrowed(&http.tls),
        };
    };
    if proxied(http, target) {
        return Hop {
            scheme: Scheme::Http,
            peer: PeerAddress::Address(probe.target),
            path: Cow::Owned(target.to_string()),
            host: &target.authority,
            credentials: Some(&target.credentials),
            tls: Cow::Borrowed(&http.tls),
        };
    }
    let peer = match target.address() {
        Some(address) => PeerAddress::Address(SocketAddr::new(address, target.port)),
        // The name resolves to the virtual service, where another real server may answer.
        None if hops > 0 && http.redirects == Redirects::SameHost && names_host(http, &target.host) => {
            PeerAddress::Address(SocketAddr::new(probe.target.ip(), target.port))
        }
        None => PeerAddress::Name(&target.host, target.port),
    };
    // The configured names apply to the configured request only; after a redirect those of the Location apply.
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

/// The URL of a probe that has only a path. A relative `Location` is resolved against it.
fn base(probe: &Probe, http: &HttpProbe, path: &str) -> Url {
    Url {
        scheme: http.scheme,
        authority: probe.target.to_string(),
        credentials: Secret::default(),
        host: probe.target.ip().to_string(),
        port: probe.target.port(),
        path: path.to_owned(),
    }
}

/// The host that answers: the connected server, or the host that is requested from a proxy.
#[derive(Clone, PartialEq, Eq)]
enum Responder {
    Address(IpAddr),
    Host(String),
}

impl HttpCheck<'_> {
    /// Sends one request and reads one answer, on one connection.
    async fn ask(
        &self,
        hop: &Hop<'_>,
        target: Option<&Url>,
        hops: usize,
        asked_first: &mut Option<Responder>,
    ) -> Result<HttpReply, Verdict> {
        let progress = self.progress;
        let request = request(hop, self.http)?;
        let (stream, address) = open(&hop.peer, self.probe.target, self.lookups, progress).await?;
        let who = match target {
            Some(target) if proxied(self.http, target) => Responder::Host(target.host.clone()),
            _ => Responder::Address(address.ip()),
        };
        let elsewhere = *asked_first.get_or_insert_with(|| who.clone()) != who;
        let name = name(self.probe, self.http, target, hops, elsewhere);
        let wanted = Wanted { name: &name, body: self.http.receive.is_some() };
        let answer = match hop.scheme {
            Scheme::Http => {
                progress.connected(CheckStep::Answer("the status line"));
                exchange::run(stream, request, &wanted, progress).await
            }
            Scheme::Https => {
                progress.connected(CheckStep::Handshake);
                let shaken = self.clients.handshake(&hop.tls, address.ip(), stream, progress).await;
                let stream = shaken.map_err(|why| {
                    judge_error(format!("connect to {address}: {why}"), &why)
                        .with_monitor(format!("500 Can't connect to {address} ({why})"))
                })?;
                progress.step(CheckStep::Answer("the status line"));
                exchange::run(stream, request, &wanted, progress).await
            }
        };
        let answer = answer.map_err(|why| {
            let what = format!("{} {}", self.http.method_word(), format::url(&hop.path));
            judge_error(format!("{what}: {why} (from {address})"), &why).with_monitor(format!("500 {why}"))
        })?;
        Ok(HttpReply { name, answer })
    }
}

fn request(hop: &Hop<'_>, http: &HttpProbe) -> Result<Request<Empty<Bytes>>, Verdict> {
    let refuse =
        |what: &str| Verdict::down(format!("{} {}: {what}", http.method_word(), format::url(&hop.path)));
    let uri =
        Uri::try_from(&*hop.path).map_err(|error| refuse(&format!("the path cannot be sent: {error}")))?;
    let host = HeaderValue::from_bytes(hop.host.as_bytes())
        .map_err(|_| refuse("invalid character in the Host header"))?;
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri;
    *request.method_mut() = match http.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
    };
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some(credentials) = hop.credentials.map(Secret::reveal).filter(|text| !text.is_empty()) {
        let mut value = HeaderValue::try_from(format!("Basic {credentials}"))
            .map_err(|_| refuse("the user name and the password cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}
