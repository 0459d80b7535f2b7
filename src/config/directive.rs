//! The one table of directives: name, where it may stand, what it takes, its default, and a line of help.
//! Whatever knows a directive's name knows it from here.

use std::fmt;

use Scope::{Both, Global, Virtual};

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Outside virtuals.
    Global,
    /// Inside a virtual.
    Virtual,
    /// Outside as the default of all virtuals, inside for one.
    Both,
}

impl Scope {
    /// Whether it may stand inside a virtual (or outside).
    #[must_use]
    pub fn allows(self, inside: bool) -> bool {
        match self {
            Global => !inside,
            Virtual => inside,
            Both => true,
        }
    }
}

/// What a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`, exactly.
    YesNo,
    /// A number of seconds above 0.
    Seconds,
    /// A number above 0.
    Count,
    /// A number; 0 too.
    Number,
    /// A number with which the value must begin.
    LeadingNumber,
    /// A port, as a number.
    Port,
    /// Text in double quotes, not empty.
    Quoted,
    /// Text in double quotes, may be empty.
    QuotedOrEmpty,
    /// Text, with or without double quotes, not empty.
    Text,
    /// The rest of the line as it stands, not empty.
    Line,
    /// The rest of the line as it stands, may be empty.
    LineOrEmpty,
    /// Mail addresses.
    Recipients,
    /// A list of states of the daemon.
    AlertStatus,
    /// A host name.
    Host,
    /// The first word of the rest of the line.
    Word,
    /// A path in double quotes.
    Request,
    /// A regular expression in double quotes.
    Pattern,
    /// Text up to a double quote.
    VirtualHost,
    /// The name of a kind of DNS record.
    DnsType,
    /// `any`, `same-host` or `no`
    Redirects,
    /// Bytes in double quotes: text with `\n`, `\r`, `\t`, `\\` and `\xHH`; may be empty.
    Bytes,
    /// `checktype`
    CheckType,
    /// `service`
    Service,
    /// `GET` or `HEAD`
    HttpMethod,
    /// The name of a scheduler.
    Scheduler,
    /// `tcp` or `udp`; `fwm` for a firewall mark.
    Protocol,
    /// `gue:port`, `gre`, either with `,csum`.
    Tunnel,
    /// The name of a persistence engine.
    PersistEngine,
    /// Three numbers of seconds with commas.
    Timeouts,
    /// A dotted quad or, in `virtual6`, a prefix length.
    Netmask,
    /// `address:port`, or a firewall mark.
    Virtual,
    /// `address[->address][:port] method [weight] ["request", "receive"] [l:n] [u:n]`
    Real,
    /// `address[:port] [method]`
    Fallback,
    /// Text in double quotes that nothing reads.
    Ignored,
    /// Always an error: it has been replaced.
    Refused,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::YesNo => "yes|no",
            Kind::Seconds => "seconds",
            Kind::Count | Kind::Number | Kind::LeadingNumber => "number",
            Kind::Port => "port number",
            Kind::Quoted | Kind::QuotedOrEmpty | Kind::Ignored => "\"text\"",
            Kind::Text => "text|\"text\"",
            Kind::Line | Kind::LineOrEmpty => "text",
            Kind::Recipients => "address[, address…]",
            Kind::AlertStatus => "all|none|starting|running|stopping|reloading[, …]",
            Kind::Host => "host",
            Kind::Word => "word",
            Kind::Request => "\"path\"",
            Kind::Pattern => "\"regular expression\"",
            Kind::VirtualHost => "\"host\"",
            Kind::DnsType => "A|AAAA|CAA|CNAME|MX|NAPTR|NS|PTR|SOA|SRV|TXT",
            Kind::Redirects => "any|same-host|no",
            Kind::Bytes => "\"text, \\n, \\r, \\t, \\\\, \\xHH\"",
            Kind::CheckType => "connect|negotiate|ping|on|off|external|external-perl|number",
            Kind::Service => "protocol",
            Kind::HttpMethod => "GET|HEAD",
            Kind::Scheduler => "scheduler",
            Kind::Protocol => "tcp|udp|fwm",
            Kind::Tunnel => "gue:port[,csum]|gre[,csum]",
            Kind::PersistEngine => "sip",
            Kind::Timeouts => "tcp,tcpfin,udp",
            Kind::Netmask => "netmask|prefix length",
            Kind::Virtual => "address:port|mark",
            Kind::Real => {
                "address[->address][:port] gate|masq|ipip [weight] [\"request\", \"receive\"] [l:n] [u:n]"
            }
            Kind::Fallback => "address[:port] [gate|masq|ipip]",
            Kind::Refused => "nothing",
        })
    }
}

/// Which directive; the names of [`DIRECTIVES`] in Rust's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "tlskey is a directive")]
pub enum Key {
    Autoreload,
    Callback,
    CheckCommand,
    CheckCount,
    CheckInterval,
    CheckPort,
    CheckTimeout,
    CheckType,
    CleanStop,
    Comment,
    ConnectTimeout,
    Database,
    DnsType,
    EmailAlert,
    EmailAlertFreq,
    EmailAlertFrom,
    EmailAlertStatus,
    Execute,
    FailureCount,
    Fallback,
    Fallback6,
    FallbackCommand,
    Fork,
    HttpMethod,
    Load,
    LogFile,
    Login,
    MaintenanceDir,
    MonitorFile,
    NegotiateTimeout,
    Netmask,
    Ops,
    Passwd,
    PasswdFile,
    PersistEngine,
    Persistent,
    Protocol,
    Quiescent,
    ReadDQuiescent,
    Real,
    Real6,
    Receive,
    Redirects,
    Request,
    SchedFlags,
    Scheduler,
    Secret,
    SecretFile,
    Service,
    ServiceName,
    Smtp,
    StartTls,
    Supervised,
    Timeout,
    Timeouts,
    Tunnel,
    UdpProbe,
    UdpReply,
    TlsCa,
    TlsCert,
    TlsKey,
    TlsLegacy,
    TlsName,
    TlsVerify,
    TlsWarn,
    Virtual,
    Virtual6,
    VirtualHost,
}

/// A row of the table.
#[derive(Debug)]
pub struct Directive {
    /// Which.
    pub key: Key,
    /// As it is written.
    pub name: &'static str,
    /// Where it may stand.
    pub scope: Scope,
    /// What it takes.
    pub kind: Kind,
    /// What holds when it is not written; empty: nothing.
    pub default: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
    /// The original does not know it; behind `#rs:` it is a comment there.
    pub extension: bool,
    /// The original's words about a value that is none, inside a virtual or everywhere.
    pub refusal: &'static str,
    /// The same outside virtuals, where the words differ.
    pub refusal_outside: Option<&'static str>,
}

impl Directive {
    /// The original's words about a value that is none.
    #[must_use]
    pub fn refusal(&self, inside: bool) -> &'static str {
        self.refusal_outside.filter(|_| !inside).unwrap_or(self.refusal)
    }

    /// Whether its value is a password.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.key, Key::Passwd | Key::Secret)
    }

    const fn extension(mut self) -> Directive {
        self.extension = true;
        self
    }

    const fn outside(mut self, refusal: &'static str) -> Directive {
        self.refusal_outside = Some(refusal);
        self
    }
}

/// A row, in the order of its columns.
const fn row(
    key: Key,
    name: &'static str,
    (scope, kind): (Scope, Kind),
    default: &'static str,
    refusal: &'static str,
    help: &'static str,
) -> Directive {
    Directive { key, name, scope, kind, default, help, extension: false, refusal, refusal_outside: None }
}

/// All directives, in the order in which the manual describes them.
#[rustfmt::skip]
pub static DIRECTIVES: &[Directive] = &[
    row(Key::Virtual, "virtual", (Global, Kind::Virtual), "", "invalid address for virtual server",
        "opens a virtual service: IPv4 address and port, or a firewall mark"),
    row(Key::Virtual6, "virtual6", (Global, Kind::Virtual), "", "invalid address for virtual server",
        "opens an IPv6 virtual service: address in brackets and port, or a firewall mark"),
    row(Key::Real, "real", (Virtual, Kind::Real), "", "invalid address for real server (wrong format)",
        "a server behind the virtual service; may be repeated"),
    row(Key::Real6, "real6", (Virtual, Kind::Real), "", "invalid address for real server (wrong format)",
        "a server behind an IPv6 virtual service; may be repeated"),
    row(Key::Fallback, "fallback", (Both, Kind::Fallback), "", "invalid port for fallback server",
        "takes the connections when no real server is up"),
    row(Key::Fallback6, "fallback6", (Both, Kind::Fallback), "", "invalid port for fallback server",
        "takes the connections of an IPv6 service when no real server is up"),
    row(Key::FallbackCommand, "fallbackcommand", (Both, Kind::Text), "", "invalid fallback command",
        "run with start and stop when the fallback comes in and goes out"),
    row(Key::Scheduler, "scheduler", (Virtual, Kind::Scheduler), "wrr",
        "invalid scheduler, should be only lowercase letters (a-z)",
        "how the kernel chooses a server"),
    row(Key::SchedFlags, "schedflags", (Virtual, Kind::Word), "", "invalid sched-flags",
        "flags of the scheduler, as ipvsadm names them"),
    row(Key::Persistent, "persistent", (Virtual, Kind::Number), "", "invalid persistent timeout",
        "for how many seconds a client stays with its server"),
    row(Key::Netmask, "netmask", (Virtual, Kind::Netmask), "", "invalid netmask: dotted quad notation is required",
        "how many clients count as one for persistent"),
    row(Key::Protocol, "protocol", (Virtual, Kind::Protocol), "tcp; udp on port 53; fwm for a mark",
        "protocol must be tcp or udp if the virtual service is an address and port",
        "the transport protocol of the service"),
    row(Key::Ops, "ops", (Virtual, Kind::YesNo), "no", "",
        "schedules each UDP packet for itself"),
    row(Key::CheckType, "checktype", (Virtual, Kind::CheckType), "negotiate",
        "checktype must be \"connect\", \"negotiate\", \"on\", \"off\", \"ping\", \"external\", \"external-perl\" or a positive number",
        "how servers are checked; a number: one negotiate, then so many connects"),
    row(Key::Service, "service", (Virtual, Kind::Service), "by the port of the virtual, else none",
        "service must be dns, ftp, http, https, http_proxy, imap, imaps, ldap, ldaps, mysql, nntp, none, oracle, pop, pops, radius, pgsql, simpletcp, sip, smtp or submission",
        "what a negotiate check speaks"),
    row(Key::CheckCommand, "checkcommand", (Virtual, Kind::Text), "/bin/true", "invalid check command",
        "the program of an external check"),
    row(Key::CheckPort, "checkport", (Virtual, Kind::Port), "the port of the real server", "invalid port",
        "the port that checks connect to"),
    row(Key::CheckTimeout, "checktimeout", (Both, Kind::Seconds), "negotiatetimeout if set, else 5", "invalid check timeout",
        "after how long a connect, ping or external check has failed").outside("invalid check timeout value"),
    row(Key::NegotiateTimeout, "negotiatetimeout", (Both, Kind::Seconds), "checktimeout if set, else 30", "invalid negotiate timeout",
        "after how long a negotiate check has failed").outside("invalid negotiate timeout value"),
    row(Key::CheckInterval, "checkinterval", (Both, Kind::Seconds), "10", "invalid checkinterval",
        "from one check of a server to its next; inside a virtual only with fork=yes").outside("invalid check interval value"),
    row(Key::CheckCount, "checkcount", (Both, Kind::Count), "1", "invalid check count",
        "how often a ping check tries (deprecated)").outside("invalid check count value"),
    row(Key::FailureCount, "failurecount", (Both, Kind::Count), "1", "invalid failure count",
        "after how many failures in a row a server is down").outside("invalid failure count value"),
    row(Key::Request, "request", (Virtual, Kind::Request), "\"/\"", "no request string specified",
        "what a negotiate check asks for"),
    row(Key::Receive, "receive", (Virtual, Kind::Pattern), "", "invalid receive string",
        "what the answer must match"),
    row(Key::HttpMethod, "httpmethod", (Virtual, Kind::HttpMethod), "GET", "httpmethod must be GET or HEAD",
        "the method of HTTP checks"),
    row(Key::VirtualHost, "virtualhost", (Virtual, Kind::VirtualHost), "the address of the real server", "invalid virtualhost",
        "the Host header of HTTP checks, and the name asked for in TLS"),
    row(Key::Login, "login", (Virtual, Kind::Quoted), "ftp: anonymous, sip: ldirectord@HOST", "invalid login string",
        "the user name of checks that log in"),
    row(Key::Passwd, "passwd", (Virtual, Kind::Quoted), "ftp: ldirectord@HOST", "invalid password",
        "the password of checks that log in"),
    row(Key::Database, "database", (Virtual, Kind::Quoted), "", "invalid database",
        "the database of SQL checks"),
    row(Key::Secret, "secret", (Virtual, Kind::Quoted), "", "invalid secret",
        "the shared secret of radius checks"),
    row(Key::Load, "load", (Virtual, Kind::Ignored), "", "invalid string for load testing",
        "accepted, without effect"),
    row(Key::Quiescent, "quiescent", (Both, Kind::YesNo), "no", "",
        "keeps a dead server with weight 0 instead of removing it"),
    row(Key::CleanStop, "cleanstop", (Both, Kind::YesNo), "yes", "",
        "removes the services when the daemon stops"),
    row(Key::MonitorFile, "monitorfile", (Virtual, Kind::Text), "", "unable to open monitorfile : No such file or directory",
        "every check is written there"),
    row(Key::ServiceName, "servicename", (Virtual, Kind::LineOrEmpty), "", "",
        "named in alerts"),
    row(Key::Comment, "comment", (Virtual, Kind::LineOrEmpty), "", "",
        "named in alerts"),
    row(Key::EmailAlert, "emailalert", (Both, Kind::Recipients), "", "no email address specified",
        "who gets mail when a server goes down or comes up"),
    row(Key::EmailAlertFreq, "emailalertfreq", (Both, Kind::LeadingNumber), "0", "invalid email alert frequency",
        "after how many seconds a server that is still down is mailed again; 0: never"),
    row(Key::EmailAlertStatus, "emailalertstatus", (Both, Kind::AlertStatus), "all", "invalid email alert status at: ",
        "in which states of the daemon mail is sent"),
    row(Key::EmailAlertFrom, "emailalertfrom", (Global, Kind::Line), "", "no email from address specified",
        "the sender of alerts"),
    row(Key::Smtp, "smtp", (Both, Kind::Host), "", "invalid SMTP server address",
        "the mail relay; without it sendmail is run"),
    row(Key::Autoreload, "autoreload", (Global, Kind::YesNo), "no", "",
        "takes over a changed configuration by itself"),
    row(Key::Callback, "callback", (Global, Kind::QuotedOrEmpty), "", "",
        "run with the path of the configuration when that has changed"),
    row(Key::LogFile, "logfile", (Global, Kind::QuotedOrEmpty), "\"/var/log/ldirectord.log\"", "",
        "a file by its full path, or a syslog facility"),
    row(Key::Execute, "execute", (Global, Kind::LineOrEmpty), "", "",
        "a further configuration to be run by a daemon of its own; may be repeated"),
    row(Key::Fork, "fork", (Global, Kind::YesNo), "no", "",
        "lets checkinterval inside virtuals count"),
    row(Key::Supervised, "supervised", (Global, Kind::YesNo), "no", "",
        "stays in the foreground and logs to standard output"),
    row(Key::ReadDQuiescent, "readdquiescent", (Global, Kind::YesNo), "no", "",
        "puts back a quiesced server that somebody removed from the kernel"),
    row(Key::MaintenanceDir, "maintenancedir", (Global, Kind::Line), "", "maintenance directory not specified",
        "a file named after a real server there takes the server out"),
    row(Key::ConnectTimeout, "connecttimeout", (Both, Kind::Refused), "",
        "connecttimeout directive deprecated in favour of negotiatetimeout",
        "replaced by negotiatetimeout"),
    row(Key::Timeout, "timeout", (Global, Kind::Refused), "",
        "timeout directive deprecated in favour of checktimeout and negotiatetimeout",
        "replaced by checktimeout and negotiatetimeout"),
    row(Key::DnsType, "dnstype", (Virtual, Kind::DnsType), "A and AAAA of a name, PTR of an address",
        "dnstype must be A, AAAA, CAA, CNAME, MX, NAPTR, NS, PTR, SOA, SRV or TXT",
        "the record that a DNS check asks for").extension(),
    row(Key::Redirects, "redirects", (Virtual, Kind::Redirects), "any", "redirects must be any, same-host or no",
        "which redirects HTTP checks follow").extension(),
    row(Key::UdpProbe, "udpprobe", (Virtual, Kind::Bytes), "a ping instead", "invalid udpprobe",
        "the datagram that a connect check on a UDP service sends; a refusal (ICMP) means down").extension(),
    row(Key::UdpReply, "udpreply", (Virtual, Kind::Pattern), "none is waited for", "invalid udpreply",
        "what must come back for udpprobe").extension(),
    row(Key::PasswdFile, "passwdfile", (Virtual, Kind::Quoted), "", "no file of a password",
        "a file with the password of checks in its first line, instead of passwd").extension(),
    row(Key::SecretFile, "secretfile", (Virtual, Kind::Quoted), "", "no file of a secret",
        "a file with the secret of radius checks in its first line, instead of secret").extension(),
    // What the kernel can do and the original has no words for.
    row(Key::Tunnel, "tunnel", (Virtual, Kind::Tunnel), "IP in IP", "tunnel must be gue:PORT, gre, or one of them with ,csum",
        "how packets to servers with ipip are encapsulated").extension(),
    row(Key::PersistEngine, "persistengine", (Virtual, Kind::PersistEngine), "the address of the client", "persistengine must be sip",
        "what persistent goes by: sip is the Call-ID of a SIP message").extension(),
    row(Key::Timeouts, "timeouts", (Global, Kind::Timeouts), "as the kernel has them: 900,120,300",
        "timeouts must be three numbers of seconds: tcp,tcpfin,udp",
        "for how many seconds the kernel keeps idle connections").extension(),
    // TLS: what the original lacks.
    row(Key::TlsVerify, "tlsverify", (Both, Kind::YesNo), "no", "",
        "whether a certificate must be valid now, for the name, and chain to a root").extension(),
    row(Key::TlsCa, "tlsca", (Both, Kind::Quoted), "the roots of this machine", "no file of root certificates",
        "a PEM file with the roots for tlsverify").extension(),
    row(Key::TlsName, "tlsname", (Virtual, Kind::Quoted), "virtualhost if set, else the address of the real server", "no host name",
        "the name that is asked for in TLS, and verified").extension(),
    row(Key::TlsCert, "tlscert", (Both, Kind::Quoted), "", "no file of a certificate",
        "a PEM file with the certificate of the checks, and those between it and its root").extension(),
    row(Key::TlsKey, "tlskey", (Both, Kind::Quoted), "", "no file of a key",
        "a PEM file with the key of tlscert").extension(),
    row(Key::TlsWarn, "tlswarn", (Both, Kind::Number), "14", "invalid number of days",
        "warns of certificates that end in fewer days; 0: never").extension(),
    row(Key::TlsLegacy, "tlslegacy", (Both, Kind::YesNo), "no", "",
        "speaks TLS 1.0, TLS 1.1 and weak ciphers, too; needs a build with the feature legacy-tls").extension(),
    row(Key::StartTls, "starttls", (Virtual, Kind::YesNo), "no", "",
        "goes over to TLS before the login, and fails where the server does not offer it").extension(),
];

/// The row of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|directive| directive.name == name)
}

/// The directive that a misspelt name most likely means, of those that may stand there.
#[must_use]
pub fn nearest(name: &str, inside: bool) -> Option<&'static Directive> {
    let allowed = || DIRECTIVES.iter().filter(|row| row.scope.allows(inside) && row.kind != Kind::Refused);
    let index = nearest_word(name, allowed().map(|row| row.name))?;
    find(index)
}

/// The known word nearest to another, if any is near.
#[must_use]
pub fn nearest_word<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    // A third of the letters may be wrong: below that, nobody would see the likeness.
    let limit = 1.max(word.chars().count() / 3);
    known
        .filter_map(|candidate| {
            Some((distance_within(limit, &word, &candidate.to_ascii_lowercase())?, candidate))
        })
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// Whether what follows this name may be a password, also when the name is misspelt.
#[must_use]
pub(crate) fn smells_of_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let known = DIRECTIVES.iter().filter(|row| row.is_secret()).map(|row| row.name);
    find(&name).is_none_or(Directive::is_secret)
        && (known
            .chain(["password"])
            .any(|known| name.contains(known) || distance_within(2, &name, known).is_some())
            || ["pass", "pwd"].iter().any(|part| name.contains(part)))
}

/// How much of a word is the name of a directive that holds a password.
#[must_use]
pub(crate) fn secret_prefix(word: &str) -> usize {
    let names = DIRECTIVES.iter().filter(|row| row.is_secret()).map(|row| row.name);
    names.filter(|name| word.starts_with(name)).map(str::len).max().unwrap_or(0)
}

/// How many letters must be changed, added, removed or swapped with their neighbour, if at most `limit`. It is at least the
/// difference of the lengths, which is compared first because it costs less.
fn distance_within(limit: usize, a: &str, b: &str) -> Option<usize> {
    let close = a.chars().count().abs_diff(b.chars().count()) <= limit;
    close.then(|| strsim::osa_distance(a, b)).filter(|far| *far <= limit)
}

#[cfg(test)]
mod tests;
