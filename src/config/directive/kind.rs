//! Kinds of values.

use std::fmt;

/// The kind of a directive's value. `config/typed/kind.rs` reads each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `yes` or `no`, exactly.
    YesNo,
    /// The deadline of a check: a number of seconds above 0.
    Timeout,
    /// The time between checks: a number of seconds above 0.
    Interval,
    /// A number of seconds at the start of the value. May be 0.
    Frequency,
    /// A number above 0.
    Count,
    /// A number. May be 0.
    Number,
    /// A number of seconds. 0 is the same as no directive.
    Persistence,
    /// A port, as a number.
    Port,
    /// Text in double quotes, not empty.
    Quoted,
    /// Like `Quoted`, and no message shows it.
    Secret,
    /// Text in double quotes. An empty one is the same as no directive.
    QuotedOrEmpty,
    /// Text, with or without double quotes, not empty.
    Text,
    /// A command: outside virtual services like `Line`, inside like `Text`.
    Command,
    /// The unchanged rest of the line, not empty.
    Line,
    /// The unchanged rest of the line. May be empty.
    LineOrEmpty,
    /// The first word of the rest of the line, with or without quotes.
    Word,
    /// A path in double quotes.
    Request,
    /// A regular expression in double quotes.
    Pattern,
    /// Bytes in double quotes: text with `\n`, `\r`, `\t`, `\\` and `\xHH`. May be empty.
    Bytes,
    /// Text up to a double quote.
    VirtualHost,
    /// A file that is written to, with or without double quotes.
    OutputFile,
    /// A directory: the unchanged rest of the line.
    Directory,
    /// The full path of a file or a syslog facility, in double quotes.
    LogTarget,
    /// The full path of a file in PEM, in double quotes.
    PemFile,
    /// The full path of a file with a password in its first line, in double quotes.
    SecretFile,
    /// The name of a TLS server, in double quotes.
    ServerName,
    /// Mail addresses.
    Recipients,
    /// A mail address.
    Sender,
    /// A list of states of the daemon.
    AlertStatus,
    /// The name of a host, and a port.
    Host,
    /// `checktype`
    CheckType,
    /// `service`
    Service,
    /// `GET` or `HEAD`
    HttpMethod,
    /// `any`, `same-host` or `no`
    Redirects,
    /// The name of a DNS record type.
    DnsType,
    /// The name of a scheduler.
    Scheduler,
    /// `tcp` or `udp`. `fwm` for a firewall mark.
    Protocol,
    /// A dotted quad or, in `virtual6`, a prefix length.
    Netmask,
    /// `gue:port`, `gre`, either with `,csum`.
    Tunnel,
    /// The name of a persistence engine.
    PersistEngine,
    /// Three numbers of seconds, separated by commas.
    Timeouts,
    /// `address:port`, or a firewall mark.
    Virtual,
    /// `address[->address][:port] method [weight] ["request", "receive"] [l:n] [u:n]`
    Real,
    /// `address[:port] [method]`
    Fallback,
    /// Text in double quotes that is not used.
    Ignored,
    /// Always an error: the directive has been replaced.
    Refused,
}

impl Kind {
    /// Whether the value is one known word.
    #[must_use]
    pub(crate) fn is_word(self) -> bool {
        matches!(
            self,
            Kind::CheckType
                | Kind::Service
                | Kind::HttpMethod
                | Kind::Redirects
                | Kind::DnsType
                | Kind::Protocol
        )
    }

    /// The unit of a number, with a blank in front. Empty where it has none.
    #[must_use]
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Kind::Timeout | Kind::Interval | Kind::Persistence | Kind::Frequency => " s",
            _ => "",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::YesNo => "yes|no",
            Kind::Timeout | Kind::Interval => "seconds",
            Kind::Count | Kind::Number | Kind::Persistence | Kind::Frequency => "number",
            Kind::Port => "port number",
            Kind::Quoted
            | Kind::Secret
            | Kind::QuotedOrEmpty
            | Kind::LogTarget
            | Kind::PemFile
            | Kind::SecretFile
            | Kind::ServerName
            | Kind::Ignored => "\"text\"",
            Kind::Text | Kind::Command | Kind::OutputFile => "text|\"text\"",
            Kind::Line | Kind::LineOrEmpty | Kind::Directory | Kind::Sender => "text",
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
