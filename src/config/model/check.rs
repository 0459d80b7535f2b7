//! What a check does, how often it runs and how long it may take.

use std::time::Duration;

use crate::value::{DnsType, Pattern, Secret};

/// What a check does, and what it expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSpec {
    /// `checktype`
    pub checktype: CheckType,
    /// `service`: the protocol of a negotiate check.
    pub service: Negotiate,
    /// `checkcommand` of external checks.
    pub checkcommand: String,
    /// `checkport`, where the check does not use the real server's own.
    pub checkport: Option<u16>,
    /// `request`, with its leading `/`.
    pub request: String,
    /// `receive`. Absent: any answer.
    pub receive: Option<Pattern>,
    /// `httpmethod`
    pub httpmethod: HttpMethod,
    /// `redirects`
    pub redirects: Redirects,
    /// `virtualhost`: the Host header (may be empty), and the name sent in TLS (SNI).
    pub virtualhost: Option<String>,
    /// `starttls`: the dialogue switches to TLS. Only for services with [`Negotiate::has_starttls`].
    pub starttls: bool,
    /// The login.
    pub credentials: Credentials,
    /// `dnstype`: the record type that DNS checks ask for.
    pub dnstype: Option<DnsType>,
    /// `udpprobe`: the datagram that a connect check of a UDP service sends, instead of a ping.
    pub udpprobe: Option<Vec<u8>>,
    /// `udpreply`: what the answer to it must match.
    pub udpreply: Option<Pattern>,
}

impl Default for CheckSpec {
    fn default() -> CheckSpec {
        CheckSpec {
            checktype: CheckType::Negotiate,
            service: Negotiate::None,
            checkcommand: "/bin/true".to_owned(),
            checkport: None,
            request: "/".to_owned(),
            receive: None,
            httpmethod: HttpMethod::Get,
            redirects: Redirects::Any,
            virtualhost: None,
            starttls: false,
            credentials: Credentials::default(),
            dnstype: None,
            udpprobe: None,
            udpreply: None,
        }
    }
}

impl CheckSpec {
    /// Whether the check uses the protocol of `service`.
    #[must_use]
    pub fn negotiates(&self) -> bool {
        matches!(self.checktype, CheckType::Negotiate | CheckType::Combined(_))
    }

    /// Whether the check only opens a connection, always or between two negotiations.
    #[must_use]
    pub fn connects(&self) -> bool {
        matches!(self.checktype, CheckType::Connect | CheckType::Combined(1..))
    }
}

/// The login of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `login`
    pub login: String,
    /// `passwd` from the file. Use [`Credentials::password`].
    pub passwd: Secret,
    /// `passwdfile`: contains the password instead.
    pub passwdfile: Option<SecretFile>,
    /// `database`
    pub database: String,
    /// `secret` from the file. Use [`Credentials::shared_secret`].
    pub secret: Secret,
    /// `secretfile`: contains the shared secret instead.
    pub secretfile: Option<SecretFile>,
}

impl Credentials {
    /// The password of the login: from `passwdfile` if it is given, else `passwd`.
    #[must_use]
    pub fn password(&self) -> &Secret {
        self.passwdfile.as_ref().map_or(&self.passwd, |file| &file.secret)
    }

    /// The shared secret of RADIUS: from `secretfile` if it is given, else `secret`.
    #[must_use]
    pub fn shared_secret(&self) -> &Secret {
        self.secretfile.as_ref().map_or(&self.secret, |file| &file.secret)
    }
}

/// A file that contains a password, and the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Its full path, or `credential:NAME`.
    pub path: String,
    /// Its first line.
    pub secret: Secret,
}

/// How often a check runs, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// `checktimeout`: the deadline of connect, ping and external checks.
    pub checktimeout: Duration,
    /// `negotiatetimeout`: the deadline of negotiate checks.
    pub negotiatetimeout: Duration,
    /// Time from one check of a server to the next.
    pub checkinterval: Duration,
    /// `checkcount`: attempts of a ping check.
    pub checkcount: u32,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            checktimeout: Duration::from_secs(5),
            negotiatetimeout: Duration::from_secs(30),
            checkinterval: Duration::from_secs(10),
            checkcount: 1,
        }
    }
}

/// `checktype`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckType {
    /// Connect and close.
    Connect,
    /// Speak the protocol of `service`.
    Negotiate,
    /// ICMP echo.
    Ping,
    /// No check, never up.
    Off,
    /// No check, always up.
    On,
    /// Run `checkcommand`.
    External,
    /// Run `checkcommand` with Perl.
    ExternalPerl,
    /// One negotiate check, then this many connect checks, repeated.
    Combined(u32),
}

/// `service=`: the protocol of a negotiate check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the protocol of its name")]
pub enum Negotiate {
    Dns,
    Ftp,
    Http,
    Https,
    HttpProxy,
    Imap,
    Imaps,
    Ldap,
    Ldaps,
    Mysql,
    Nntp,
    None,
    Oracle,
    Pgsql,
    Pop,
    Pops,
    Radius,
    Simpletcp,
    Sip,
    Smtp,
    Submission,
}

/// `httpmethod`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum HttpMethod {
    Get,
    Head,
}

/// `redirects`: which redirects HTTP checks follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Redirects {
    /// All, to any host, as the original does.
    #[default]
    Any,
    /// Those that lead to the server itself.
    SameHost,
    /// None: a redirect is a failure.
    No,
}

impl Redirects {
    /// Reads the word of the configuration file.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Redirects> {
        match word {
            "any" => Some(Redirects::Any),
            "same-host" => Some(Redirects::SameHost),
            "no" => Some(Redirects::No),
            _ => None,
        }
    }
}

impl Negotiate {
    /// Every service with its word in the file and its standard port.
    pub const ALL: &'static [(Negotiate, &'static str, Option<u16>)] = &[
        (Negotiate::Dns, "dns", Some(53)),
        (Negotiate::Ftp, "ftp", Some(21)),
        (Negotiate::Http, "http", Some(80)),
        (Negotiate::Https, "https", Some(443)),
        (Negotiate::HttpProxy, "http_proxy", Some(3128)),
        (Negotiate::Imap, "imap", Some(143)),
        (Negotiate::Imaps, "imaps", Some(993)),
        (Negotiate::Ldap, "ldap", Some(389)),
        (Negotiate::Ldaps, "ldaps", Some(636)),
        (Negotiate::Mysql, "mysql", Some(3306)),
        (Negotiate::Nntp, "nntp", Some(119)),
        (Negotiate::None, "none", None),
        (Negotiate::Oracle, "oracle", Some(1521)),
        (Negotiate::Pgsql, "pgsql", Some(5432)),
        (Negotiate::Pop, "pop", Some(110)),
        (Negotiate::Pops, "pops", Some(995)),
        (Negotiate::Radius, "radius", Some(1812)),
        (Negotiate::Simpletcp, "simpletcp", None),
        (Negotiate::Sip, "sip", Some(5060)),
        (Negotiate::Smtp, "smtp", Some(25)),
        (Negotiate::Submission, "submission", Some(587)),
    ];

    fn row(self) -> &'static (Negotiate, &'static str, Option<u16>) {
        // The enum and the table are in the same order, which a test asserts.
        &Negotiate::ALL[self as usize]
    }

    /// The word of the configuration file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The standard port of the service.
    #[must_use]
    pub fn standard_port(self) -> Option<u16> {
        self.row().2
    }

    /// Reads the word of the configuration file. Case counts, as in the original.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Negotiate> {
        Negotiate::ALL.iter().find(|row| row.1 == word).map(|row| row.0)
    }

    /// Whether the check uses HTTP.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Negotiate::Http | Negotiate::Https | Negotiate::HttpProxy)
    }

    /// Whether a dialogue of this service can switch to TLS.
    #[must_use]
    pub fn has_starttls(self) -> bool {
        matches!(
            self,
            Negotiate::Ftp
                | Negotiate::Imap
                | Negotiate::Ldap
                | Negotiate::Mysql
                | Negotiate::Nntp
                | Negotiate::Pgsql
                | Negotiate::Pop
                | Negotiate::Smtp
                | Negotiate::Submission
        )
    }

    /// The default service of a port in the original. `none` if there is none.
    #[must_use]
    pub fn of_port(port: u16) -> Negotiate {
        Negotiate::ALL.iter().find(|row| row.2 == Some(port)).map_or(Negotiate::None, |row| row.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Negotiate;

    #[test]
    fn services_stand_in_the_order_of_the_enum() {
        for (index, row) in Negotiate::ALL.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.1);
        }
    }
}
