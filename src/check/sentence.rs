//! Each probe as a sentence, for logs and listings.

use std::fmt;

use crate::plan::HttpMethod;
use crate::plan::{Action, ExternalProbe, HttpProbe, Probe, Scheme, SimpleTcpProbe};

/// What is asked of whom, and what is expected: `GET http://10.0.0.2:80/index.html (Host: www.example.net), expecting /Test Page/`.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target;
        match &self.action {
            Action::Nothing => f.write_str("nothing (always up)"),
            Action::Connect => write!(f, "connect to {target}"),
            Action::Ping { attempts: 1 } => write!(f, "ping {}", target.ip()),
            Action::Ping { attempts } => write!(f, "ping {} ({attempts} attempts)", target.ip()),
            Action::Http(http) => http_sentence(f, self, http),
            Action::SimpleTcp(simple) => simple_sentence(f, self, simple),
            Action::External(external) => external_sentence(f, external),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

/// The method in the words of the protocol.
pub(super) fn method_word(method: HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Head => "HEAD",
    }
}

fn http_sentence(f: &mut fmt::Formatter<'_>, probe: &Probe, http: &HttpProbe) -> fmt::Result {
    write!(f, "{} ", method_word(http.method))?;
    if http.request.starts_with('/') {
        write!(f, "{}://{}", http.scheme, probe.target)?;
    }
    f.write_str(&super::say::url(&http.request))?;
    if http.proxy {
        write!(f, " through the proxy {}", probe.target)?;
    }
    if let Some(host) = &http.host {
        write!(f, " (Host: {host})")?;
    }
    if let Some(receive) = &http.receive {
        write!(f, ", expecting /{}/", receive.source())?;
    }
    Ok(())
}

fn simple_sentence(f: &mut fmt::Formatter<'_>, probe: &Probe, simple: &SimpleTcpProbe) -> fmt::Result {
    let protocol = if simple.udp { "udp" } else { "tcp" };
    let request = super::say::beginning(simple.request.as_bytes(), 100);
    write!(f, "send {request} to {protocol} {}, expecting ", probe.target)?;
    match &simple.receive {
        Some(receive) => write!(f, "/{}/", receive.source()),
        None => f.write_str("any line"),
    }
}

fn external_sentence(f: &mut fmt::Formatter<'_>, external: &ExternalProbe) -> fmt::Result {
    write!(f, "run {}{}", if external.perl { "perl " } else { "" }, external.command)?;
    external.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
}
