//! Kinds of values.

use std::fmt;

/// The kind of a directive's value. `config/typed/kind.rs` reads each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueKind {
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

impl ValueKind {
    /// Whether the value is one known word.
    #[must_use]
    pub(crate) fn is_word(self) -> bool {
        matches!(
            self,
            ValueKind::CheckType
                | ValueKind::Service
                | ValueKind::HttpMethod
                | ValueKind::Redirects
                | ValueKind::DnsType
                | ValueKind::Protocol
        )
    }

    /// The unit of a number, with a blank in front. Empty where it has none.
    #[must_use]
    pub(crate) fn unit(self) -> &'static str {
        match self {
            ValueKind::Timeout | ValueKind::Interval | ValueKind::Persistence | ValueKind::Frequency => " s",
            _ => "",
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ValueKind::YesNo => "yes|no",
            ValueKind::Timeout | ValueKind::Interval => "seconds",
            ValueKind::Count | ValueKind::Number | ValueKind::Persistence | ValueKind::Frequency => "number",
            ValueKind::Port => "port number",
            ValueKind::Quoted
            | ValueKind::Secret
            | ValueKind::QuotedOrEmpty
            | ValueKind::LogTarget
            | ValueKind::PemFile
            | ValueKind::SecretFile
            | ValueKind::ServerName
            | ValueKind::Ignored => "\"text\"",
            ValueKind::Text | ValueKind::Command | ValueKind::OutputFile => "text|\"text\"",
            ValueKind::Line | ValueKind::LineOrEmpty | ValueKind::Directory | ValueKind::Sender => "text",
            ValueKind::Recipients => "address[, address…]",
            ValueKind::AlertStatus => "all|none|starting|running|stopping|reloading[, …]",
            ValueKind::Host => "host",
            ValueKind::Word => "word",
            ValueKind::Request => "\"path\"",
            ValueKind::Pattern => "\"regular expression\"",
            ValueKind::VirtualHost => "\"host\"",
            ValueKind::DnsType => "A|AAAA|CAA|CNAME|MX|NAPTR|NS|PTR|SOA|SRV|TXT",
            ValueKind::Redirects => "any|same-host|no",
            ValueKind::Bytes => "\"text, \\n, \\r, \\t, \\\\, \\xHH\"",
            ValueKind::CheckType => "connect|negotiate|ping|on|off|external|external-perl|number",
            ValueKind::Service => "protocol",
            ValueKind::HttpMethod => "GET|HEAD",
            ValueKind::Scheduler => "scheduler",
            ValueKind::Protocol => "tcp|udp|fwm",
            ValueKind::Tunnel => "gue:port[,csum]|gre[,csum]",
            ValueKind::PersistEngine => "sip",
            ValueKind::Timeouts => "tcp,tcpfin,udp",
            ValueKind::Netmask => "netmask|prefix length",
            ValueKind::Virtual => "address:port|mark",
            ValueKind::Real => {
                "address[->address][:port] gate|masq|ipip [weight] [\"request\", \"receive\"] [l:n] [u:n]"
            }
            ValueKind::Fallback => "address[:port] [gate|masq|ipip]",
            ValueKind::Refused => "nothing",
        })
    }
}
