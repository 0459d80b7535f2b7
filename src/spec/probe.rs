//! One execution of one check, as a value. Equal probes are the same probe.

use std::net::SocketAddr;
use std::time::Duration;

use super::{HttpMethod, Redirects};
use crate::value::{DnsType, Pattern, Secret, Tls};

/// What to send to which server, and the deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Address and port to connect to (for ping the port is not used). A port of 0 can only fail.
    pub target: SocketAddr,
    /// After this time the server is down, whatever the state of the probe.
    pub deadline: Duration,
    /// What to do with the server.
    pub action: ProbeAction,
}

impl Probe {
    /// The word of the configuration for what is checked: a value of `service`, or else of `checktype`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let ldap = |ldap: &LdapProbe| if ldap.transport.is_tls() { "ldaps" } else { "ldap" };
        match &self.action {
            ProbeAction::Nothing => "none",
            ProbeAction::Connect | ProbeAction::SctpConnect => "connect",
            ProbeAction::Ping { .. } => "ping",
            ProbeAction::Http(http) if http.proxy => "http_proxy",
            ProbeAction::Http(HttpProbe { scheme: Scheme::Http, .. }) => "http",
            ProbeAction::Http(HttpProbe { scheme: Scheme::Https, .. }) => "https",
            ProbeAction::SimpleTcp(_) => "simpletcp",
            ProbeAction::Datagram(_) => "udp",
            ProbeAction::Dns(_) => "dns",
            ProbeAction::Radius(_) => "radius",
            ProbeAction::Ldap(probe) => ldap(probe),
            ProbeAction::Mysql(_) => "mysql",
            ProbeAction::Oracle(_) => "oracle",
            ProbeAction::Pgsql(_) => "pgsql",
            ProbeAction::Dialogue(dialogue) => dialogue.as_str(),
            ProbeAction::External(_) => "external",
        }
    }

    /// The kind of resources that the probe needs on this machine.
    #[must_use]
    pub fn effort(&self) -> Effort {
        let tls = match &self.action {
            ProbeAction::Nothing => return Effort::Nothing,
            ProbeAction::External(_) => return Effort::Command,
            ProbeAction::Http(http) => http.scheme == Scheme::Https,
            ProbeAction::Ldap(ldap) => ldap.transport.tls().is_some(),
            ProbeAction::Dialogue(dialogue) => dialogue.transport.tls().is_some(),
            ProbeAction::Mysql(sql) | ProbeAction::Pgsql(sql) | ProbeAction::Oracle(sql) => sql.starttls,
            ProbeAction::Connect
            | ProbeAction::SctpConnect
            | ProbeAction::Ping { .. }
            | ProbeAction::SimpleTcp(_)
            | ProbeAction::Datagram(_)
            | ProbeAction::Dns(_)
            | ProbeAction::Radius(_) => false,
        };
        if tls { Effort::Tls } else { Effort::Plain }
    }
}

/// Kinds of probes by the resources that they need on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// None.
    Nothing,
    /// Sends and reads packets.
    Plain,
    /// Like `Plain`, with a key exchange.
    Tls,
    /// Starts a process.
    Command,
}

/// The protocol of a probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeAction {
    /// Sends nothing: always up (`checktype=on`, `service=none`).
    Nothing,
    /// TCP connect and close.
    Connect,
    /// SCTP association and close.
    SctpConnect,
    /// ICMP echo, with several attempts that share the deadline equally.
    Ping {
        /// At least 1.
        attempts: u32,
    },
    /// HTTP or HTTPS, to the server itself or through it as a proxy.
    Http(HttpProbe),
    /// Sends a text, then reads lines, one of which must match.
    SimpleTcp(SimpleTcpProbe),
    /// A datagram that must not be refused, and may require an answer.
    Datagram(DatagramProbe),
    /// A question to a name server.
    Dns(DnsProbe),
    /// A question to a RADIUS server.
    Radius(RadiusProbe),
    /// A question to a directory.
    Ldap(LdapProbe),
    /// A query to MySQL or MariaDB.
    Mysql(SqlProbe),
    /// A query to Oracle, or the part of it that this build supports.
    Oracle(SqlProbe),
    /// A query to PostgreSQL.
    Pgsql(SqlProbe),
    /// A line-based protocol.
    Dialogue(DialogueProbe),
    /// An operator command.
    External(ExternalProbe),
}

/// The URL scheme of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// The transport of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS from the first byte.
    Tls(Tls),
    /// Plain until STARTTLS, which the server must accept.
    StartTls(Tls),
}

impl Transport {
    /// Whether it begins with a TLS handshake.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Transport::Tls(_))
    }

    /// The TLS settings, if TLS is used.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Transport::Plain => None,
            Transport::Tls(tls) | Transport::StartTls(tls) => Some(tls),
        }
    }
}

/// An HTTP request. The answer must have a status of 200 to 299 and a body that matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpProbe {
    /// HTTP or HTTPS. For a proxy the scheme of the connection to the proxy (always HTTP).
    pub scheme: Scheme,
    /// GET or HEAD.
    pub method: HttpMethod,
    /// What to request, as configured: a path with its leading `/` (the check escapes it like the original: space →
    /// `%20`), or an absolute URL if `proxy` is set, or if a real server's own request is one (then the check
    /// connects to its host and port instead of the target).
    pub request: String,
    /// The Host header. May be empty (sent as empty). Absent for a proxy, which uses the URL.
    pub host: Option<String>,
    /// The TLS settings, for `https` and after a redirect to it.
    pub tls: Tls,
    /// What the body must match. Absent: any body.
    pub receive: Option<Pattern>,
    /// Which redirects are followed.
    pub redirects: Redirects,
    /// Whether the target is a proxy, which gets an absolute URL.
    pub proxy: bool,
}

impl HttpProbe {
    /// The name of the method in the protocol.
    #[must_use]
    pub fn method_word(&self) -> &'static str {
        match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        }
    }
}

/// The simplest line dialogue: one text, then an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimpleTcpProbe {
    /// What is sent, without the leading `/` and with `\n` replaced by newlines. Then the sending side is closed.
    pub request: String,
    /// What a line of the answer must match. Absent: any line.
    pub receive: Option<Pattern>,
    /// Whether it uses UDP: one datagram in each direction instead of a connection.
    pub udp: bool,
}

/// A datagram to a UDP service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatagramProbe {
    /// The datagram to send. May be empty.
    pub payload: Vec<u8>,
    /// What an answer must match. Absent: no answer is required, and only an ICMP refusal is a failure.
    pub reply: Option<Pattern>,
}

/// A question to a name server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsProbe {
    /// The host name or address to look up. Empty: none was given.
    pub name: String,
    /// The record type to query. Absent: A, then AAAA of a name, PTR of an address.
    pub kind: Option<DnsType>,
    /// What a record of the answer must match. Absent: any record.
    pub receive: Option<Pattern>,
    /// Whether it uses TCP from the start, not only if an answer does not fit into a datagram.
    pub tcp: bool,
}

/// A login at a RADIUS server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RadiusProbe {
    /// `login`
    pub login: String,
    /// `passwd`
    pub passwd: Secret,
    /// `secret`, shared with the server.
    pub secret: Secret,
}

/// A search in a directory for one entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LdapProbe {
    /// Plain, with TLS, or with STARTTLS.
    pub transport: Transport,
    /// The name to bind as. There is no bind without it or without a password.
    pub login: String,
    /// `passwd`
    pub passwd: Secret,
    /// The name of the entry.
    pub base: String,
    /// What the name of the entry found must match. Absent: any name.
    pub receive: Option<Pattern>,
}

/// A query to a database, which must return a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SqlProbe {
    /// `login`
    pub login: String,
    /// `passwd`
    pub passwd: Secret,
    /// `database`. Empty: the default of the user.
    pub database: String,
    /// The query.
    pub query: String,
    /// Whether the server must switch to TLS. Without it MySQL is queried without TLS, PostgreSQL with TLS if it
    /// offers that.
    pub starttls: bool,
    /// The TLS settings, if TLS is used.
    pub tls: Tls,
}

impl SqlProbe {
    /// Whether the login or the query is missing.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.login.is_empty() || self.query.is_empty()
    }
}

/// A line-based protocol and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialogueProbe {
    /// The protocol.
    pub protocol: Dialogue,
    /// Plain, with TLS, or with STARTTLS.
    pub transport: Transport,
    /// `login`. Empty: no login. For SIP the user to query.
    pub login: String,
    /// `passwd`
    pub passwd: Secret,
    /// For FTP the file, with its leading `/`. Only `/`: none.
    pub request: String,
    /// For FTP what the file must match.
    pub receive: Option<Pattern>,
}

/// The protocols of [`DialogueProbe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the protocol of its name")]
pub enum Dialogue {
    Ftp,
    Imap,
    Nntp,
    Pop,
    Sip {
        /// Whether it uses UDP, else TCP.
        udp: bool,
    },
    Smtp,
}

impl DialogueProbe {
    /// The word of the configuration for it. `smtp` for submission.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match (self.protocol, self.transport.is_tls()) {
            (Dialogue::Ftp, _) => "ftp",
            (Dialogue::Imap, false) => "imap",
            (Dialogue::Imap, true) => "imaps",
            (Dialogue::Nntp, _) => "nntp",
            (Dialogue::Pop, false) => "pop",
            (Dialogue::Pop, true) => "pops",
            (Dialogue::Sip { .. }, _) => "sip",
            (Dialogue::Smtp, _) => "smtp",
        }
    }
}

/// An operator command: exit code 0 means up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExternalProbe {
    /// `checkcommand`: the path of a program. If no such file exists, a list of words, split as by a shell (but
    /// without one).
    pub command: String,
    /// Whether it is run by `perl` (`checktype=external-perl`) instead of directly.
    pub perl: bool,
    /// Virtual address or mark, virtual port or 0, real address, real port.
    pub arguments: [String; 4],
}
