//! What directives take.

use std::fmt;

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
