//! One execution of one check, as a value: equal probes are one probe.

use std::net::SocketAddr;
use std::time::Duration;

use super::{HttpMethod, Redirects};
use crate::value::{DnsType, Pattern, Secret, Tls};

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

impl Probe {
    /// What it costs this machine.
    #[must_use]
    pub fn effort(&self) -> Effort {
        let tls = match &self.action {
            Action::Nothing => return Effort::Nothing,
            Action::External(_) => return Effort::Command,
            Action::Http(http) => http.scheme == Scheme::Https,
            Action::Ldap(ldap) => ldap.transport.tls().is_some(),
            Action::Dialogue(dialogue) => dialogue.transport.tls().is_some(),
            Action::Mysql(sql) | Action::Pgsql(sql) | Action::Oracle(sql) => sql.starttls,
            Action::Connect
            | Action::SctpConnect
            | Action::Ping { .. }
            | Action::SimpleTcp(_)
            | Action::Datagram(_)
            | Action::Dns(_)
            | Action::Radius(_) => false,
        };
        if tls { Effort::Tls } else { Effort::Plain }
    }
}

/// Kinds of probes by what they cost this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Nothing is done.
    Nothing,
    /// Packets are sent and read.
    Plain,
    /// As before, and keys are exchanged.
    Tls,
    /// A process is started.
    Command,
}

/// The protocol of a probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Nothing is asked: always up (`checktype=on`, `service=none`).
    Nothing,
    /// TCP connect, close.
    Connect,
    /// SCTP association, close.
    SctpConnect,
    /// ICMP echo, so many attempts, each with an equal share of the deadline.
    Ping {
        /// At least 1.
        attempts: u32,
    },
    /// HTTP or HTTPS, to the server itself or through it as a proxy.
    Http(HttpProbe),
    /// A text, then lines of which one must match.
    SimpleTcp(SimpleTcpProbe),
    /// A datagram that somebody must be there for, and that may have to be answered.
    Datagram(DatagramProbe),
    /// A question to a name server.
    Dns(DnsProbe),
    /// A question to a RADIUS server.
    Radius(RadiusProbe),
    /// A question to a directory.
    Ldap(LdapProbe),
    /// A query to MySQL or MariaDB.
    Mysql(SqlProbe),
    /// A query to Oracle, or as much of it as this build can do.
    Oracle(SqlProbe),
    /// A query to PostgreSQL.
    Pgsql(SqlProbe),
    /// A protocol of lines.
    Dialogue(DialogueProbe),
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

/// What a dialogue is spoken in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS from the first byte.
    Tls(Tls),
    /// Plain until the server has agreed to go over to TLS, which it must.
    StartTls(Tls),
}

impl Transport {
    /// Whether it begins with a TLS handshake.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Transport::Tls(_))
    }

    /// How TLS is spoken, where it is.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Transport::Plain => None,
            Transport::Tls(tls) | Transport::StartTls(tls) => Some(tls),
        }
    }
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
    /// How TLS is spoken, for `https` and where a redirect leads to it.
    pub tls: Tls,
    /// What the body must match; absent: any body will do.
    pub receive: Option<Pattern>,
    /// Which redirects are followed.
    pub redirects: Redirects,
    /// Whether the target is a proxy that is asked for an absolute URL.
    pub proxy: bool,
}

impl HttpProbe {
    /// The method in the words of the protocol.
    #[must_use]
    pub fn method_word(&self) -> &'static str {
        match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        }
    }
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

/// A datagram to a UDP service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatagramProbe {
    /// What is sent, ready for the wire; may be empty.
    pub payload: Vec<u8>,
    /// What an answer must match; absent: none is waited for, and only a refusal (ICMP) is bad.
    pub reply: Option<Pattern>,
}

/// A question to a name server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsProbe {
    /// The host name whose addresses, or the address whose name is asked for; empty: none was given.
    pub name: String,
    /// The record that is asked for; absent: A and then AAAA of a name, PTR of an address.
    pub kind: Option<DnsType>,
    /// What a record of the answer must match; absent: any will do.
    pub receive: Option<Pattern>,
    /// Over TCP from the start, not only where an answer does not fit into a datagram.
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
    /// Plain, in TLS, or with STARTTLS.
    pub transport: Transport,
    /// Who binds; without it, or without a password, nobody does.
    pub login: String,
    /// `passwd`
    pub passwd: Secret,
    /// The name of the entry.
    pub base: String,
    /// What the name of the entry found must match; absent: any will do.
    pub receive: Option<Pattern>,
}

/// A query to a database, which must give a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SqlProbe {
    /// `login`
    pub login: String,
    /// `passwd`
    pub passwd: Secret,
    /// `database`; empty: the user's own.
    pub database: String,
    /// The query.
    pub query: String,
    /// Whether the server must go over to TLS; without it MySQL is asked in plain, PostgreSQL in TLS where it offers that.
    pub starttls: bool,
    /// How TLS is spoken, where it is.
    pub tls: Tls,
}

impl SqlProbe {
    /// Whether there is nothing to log in as or to ask.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.login.is_empty() || self.query.is_empty()
    }
}

/// A protocol of lines, and what it needs to know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialogueProbe {
    /// Which protocol.
    pub protocol: Dialogue,
    /// Plain, in TLS, or with STARTTLS.
    pub transport: Transport,
    /// `login`; empty: nobody logs in. For SIP whom it asks for.
    pub login: String,
    /// `passwd`
    pub passwd: Secret,
    /// For FTP the file, with its leading `/`; `/` alone: none.
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
        /// Over UDP, else over TCP.
        udp: bool,
    },
    Smtp,
}

impl DialogueProbe {
    /// The word of the configuration for it; submission is called smtp.
    #[must_use]
    pub fn word(&self) -> &'static str {
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
