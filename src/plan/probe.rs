//! One execution of one check, as a value: equal probes are one probe.

use std::net::SocketAddr;
use std::time::Duration;

use super::HttpMethod;
use crate::value::Pattern;

/// What to ask of which server, and for how long at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Address and port to connect to (for ping the port is not used). A port of 0 can only fail.
    pub target: SocketAddr,
    /// After this time the server counts as down, whatever the probe is doing.
    pub deadline: Duration,
    /// What to do there.
    pub action: Action,
}

/// The protocol of a probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Nothing is asked: always up (`checktype=on`, `service=none`).
    Nothing,
    /// TCP connect, close.
    Connect,
    /// ICMP echo, so many attempts, each with an equal share of the deadline.
    Ping {
        /// At least 1.
        attempts: u32,
    },
    /// HTTP or HTTPS, to the server itself or through it as a proxy.
    Http(HttpProbe),
    /// A text, then lines of which one must match.
    SimpleTcp(SimpleTcpProbe),
    /// A command of the operator.
    External(ExternalProbe),
}

/// The URL scheme of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain.
    Http,
    /// In TLS.
    Https,
}

/// An HTTP request and what its answer must be: a status of 200 to 299 and a body that matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpProbe {
    /// HTTP or HTTPS, or for a proxy the scheme spoken to the proxy (always HTTP).
    pub scheme: Scheme,
    /// GET or HEAD.
    pub method: HttpMethod,
    /// What to ask for, as configured: a path with its leading `/` (escaped by the check, like the original: blank → `%20`);
    /// an absolute URL when `proxy` is set, or when a real server's own request is one (then its host and port are connected to,
    /// not the target).
    pub request: String,
    /// The Host header; may be empty (sent as empty). Absent for a proxy: taken from the URL.
    pub host: Option<String>,
    /// The name asked for in TLS (SNI); absent: none is sent.
    pub server_name: Option<String>,
    /// What the body must match; absent: any body will do.
    pub receive: Option<Pattern>,
    /// Whether the target is a proxy that is asked for an absolute URL.
    pub proxy: bool,
}

/// A line dialogue of the simplest kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimpleTcpProbe {
    /// What is sent, ready for the wire: without the leading `/`, `\n` made newlines. Then the sending side is closed.
    pub request: String,
    /// Some line of the answer must match; absent: any line will do.
    pub receive: Option<Pattern>,
    /// Over UDP: one datagram each way instead of a connection.
    pub udp: bool,
}

/// A command of the operator: exit code 0 means up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExternalProbe {
    /// `checkcommand`: the path of a program; where no such file exists, a shell-like list of words (without a shell).
    pub command: String,
    /// Run by `perl` (`checktype=external-perl`) instead of directly.
    pub perl: bool,
    /// Virtual address or mark, virtual port or 0, real address, real port.
    pub arguments: [String; 4],
}
