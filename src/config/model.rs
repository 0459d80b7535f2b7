//! The configuration as the rest of the program sees it: typed, inheritance resolved, names resolved.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::value::{DaemonStatus, DnsType, ForwardingMethod, Pattern, Relay, Secret, Tls, VirtualId};

/// A whole `ldirectord.cf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is said once for the daemon.
    pub globals: Globals,
    /// The virtual services, in the order of the file; no two share an id.
    pub virtuals: Vec<Virtual>,
}

/// The directives that stand outside virtuals and are not inherited by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// `checkinterval`: from one check of a server to its next.
    pub checkinterval: Duration,
    /// `autoreload`: whether a changed file is taken over.
    pub autoreload: bool,
    /// `callback`: run when the file has changed.
    pub callback: Option<String>,
    /// `logfile`: where messages go.
    pub logfile: LogTarget,
    /// `execute`: further configurations, each with a daemon of its own.
    pub execute: BTreeSet<String>,
    /// `fork`: accepted; makes `checkinterval` inside virtuals count.
    pub fork: bool,
    /// `supervised`: stay in the foreground and log to standard output.
    pub supervised: bool,
    /// `readdquiescent`: whether a quiesced server that someone deleted is added again.
    pub readdquiescent: bool,
    /// `emailalertfrom`: the sender of alerts.
    pub emailalertfrom: Option<String>,
    /// `maintenancedir`: a file named after a server there takes the server out.
    pub maintenancedir: Option<PathBuf>,
    /// `timeouts`: for how long the kernel keeps idle connections; absent: as it is set.
    pub timeouts: Option<Timeouts>,
}

/// `timeouts`, in seconds; one that is 0 stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Of established TCP connections.
    pub tcp: u32,
    /// Of TCP connections after a FIN.
    pub tcpfin: u32,
    /// Of UDP.
    pub udp: u32,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Appended to a file.
    File(PathBuf),
    /// Sent to syslog with this facility.
    Syslog(String),
}

/// One `virtual` or `virtual6` block; what it does not say itself is inherited already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Virtual {
    /// Its identity in the kernel.
    pub id: VirtualId,
    /// The line of the file where it stands, from 1.
    pub line: usize,
    /// Its real servers, in the order of the file, ranges expanded.
    pub reals: Vec<Real>,
    /// `fallback` or `fallback6`: in when no real server is up.
    pub fallback: Option<Fallback>,
    /// `fallbackcommand`, run when the fallback comes in and goes out.
    pub fallbackcommand: Option<String>,
    /// `scheduler`, by the kernel's name.
    pub scheduler: String,
    /// `schedflags`, in the notation of `ipvsadm -b`.
    pub schedflags: Option<String>,
    /// `persistent`, seconds.
    pub persistent: Option<u32>,
    /// `netmask`: the granularity of persistence. IPv4: the mask as an address; IPv6: the prefix length.
    pub netmask: Option<Netmask>,
    /// `persistengine`: what persistence goes by, by the kernel's name; absent: the address of the client.
    pub persistengine: Option<String>,
    /// `tunnel`: how packets to servers with `ipip` are encapsulated; absent: IP in IP.
    pub tunnel: Option<Tunnel>,
    /// `ops`: one-packet scheduling (UDP only).
    pub ops: bool,
    /// `quiescent`: a dead server stays with weight 0 instead of being removed.
    pub quiescent: bool,
    /// `cleanstop`: the service is removed when the daemon stops.
    pub cleanstop: bool,
    /// `checktype`
    pub checktype: CheckType,
    /// `service`: what a negotiate check speaks.
    pub service: Negotiate,
    /// `checkcommand` of external checks.
    pub checkcommand: String,
    /// `checkport`, where the check does not use the real server's own.
    pub checkport: Option<u16>,
    /// Deadline of connect, ping and external checks.
    pub checktimeout: Duration,
    /// Deadline of negotiate checks.
    pub negotiatetimeout: Duration,
    /// `checkcount`: attempts of a ping check.
    pub checkcount: u32,
    /// `failurecount`: failures in a row until a server counts as dead. At least 1.
    pub failurecount: u32,
    /// From one check of a server to its next.
    pub checkinterval: Duration,
    /// `request`, with its leading `/`.
    pub request: String,
    /// `receive`; absent: not looked at.
    pub receive: Option<Pattern>,
    /// `httpmethod`
    pub httpmethod: HttpMethod,
    /// `redirects`
    pub redirects: Redirects,
    /// `virtualhost`: the Host header (may be empty), and the name asked for in TLS.
    pub virtualhost: Option<String>,
    /// `starttls`: the dialogue goes over to TLS. Only where [`Negotiate::has_starttls`] says yes.
    pub starttls: bool,
    /// The directives that begin with `tls`. Its name is `tlsname`, else `virtualhost`.
    pub tls: Tls,
    /// `login`
    pub login: String,
    /// `passwd`
    pub passwd: Secret,
    /// `database`
    pub database: String,
    /// `dnstype`: the record that DNS checks ask for.
    pub dnstype: Option<DnsType>,
    /// `udpprobe`: what a connect check sends on a UDP virtual, instead of a ping.
    pub udpprobe: Option<Vec<u8>>,
    /// `udpreply`: what must come back for it.
    pub udpreply: Option<Pattern>,
    /// `secret`
    pub secret: Secret,
    /// `emailalert` and its companions.
    pub alert: Alert,
    /// `monitorfile`: every check is written there.
    pub monitorfile: Option<PathBuf>,
    /// `servicename`: named in alerts.
    pub servicename: Option<String>,
    /// `comment`: named in alerts.
    pub comment: Option<String>,
}

impl Virtual {
    /// The destination that a server is in the kernel's table: direct routing and tunnels cannot change the port, so there the port
    /// is the virtual's (as `ipvsadm` makes it).
    #[must_use]
    pub fn destination(&self, server: SocketAddr, method: ForwardingMethod) -> SocketAddr {
        let port = match (method, self.id.port()) {
            (ForwardingMethod::Gate | ForwardingMethod::Ipip, Some(port)) => port,
            _ => server.port(),
        };
        SocketAddr::new(server.ip(), port)
    }
}

/// One real server of one virtual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Real {
    /// The line of the file where it stands, from 1.
    pub line: usize,
    /// Address and port as configured; port 0: none was given.
    pub address: SocketAddr,
    /// How packets reach it.
    pub method: ForwardingMethod,
    /// Its weight while it is up.
    pub weight: u32,
    /// `u:`: no new connections above this many; 0: no limit.
    pub upper: u32,
    /// `l:`: new connections again below this many; 0: not used.
    pub lower: u32,
    /// Its own request (with a leading `/`), instead of the virtual's.
    pub request: Option<String>,
    /// Its own pattern, instead of the virtual's; only looked at when `request` is given.
    pub receive: Option<Pattern>,
}

/// The server of last resort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// Its address.
    pub address: IpAddr,
    /// Its port; absent: the port of the virtual.
    pub port: Option<u16>,
    /// How packets reach it.
    pub method: ForwardingMethod,
}

/// `tunnel`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port on which the server takes the packets.
        port: u16,
        /// Whether the outer header has a checksum.
        checksum: bool,
    },
    /// Generic routing encapsulation.
    Gre {
        /// Whether the outer header has a checksum.
        checksum: bool,
    },
}

/// The netmask of persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netmask {
    /// IPv4, dotted quad.
    V4(std::net::Ipv4Addr),
    /// IPv6, prefix length 1 to 128.
    V6(u8),
}

/// `checktype`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckType {
    /// Connect, close.
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
    /// One negotiate, then so many connects, and again.
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

/// Mail about a virtual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// `emailalert`: the recipients, comma separated; empty: no mail.
    pub recipients: String,
    /// `emailalertfreq`: how often a dead server is called to mind; zero: never.
    pub frequency: Duration,
    /// `emailalertstatus`: in which states of the daemon mail is sent.
    pub status: AlertStatus,
    /// `smtp`: the relay; absent: the local sendmail.
    pub smtp: Option<Relay>,
}

/// `emailalertstatus`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the state of its name")]
pub struct AlertStatus {
    pub starting: bool,
    pub running: bool,
    pub stopping: bool,
    pub reloading: bool,
}

impl AlertStatus {
    /// Whether mail is sent in this state of the daemon.
    #[must_use]
    pub fn includes(self, status: DaemonStatus) -> bool {
        match status {
            DaemonStatus::Starting => self.starting,
            DaemonStatus::Running => self.running,
            DaemonStatus::Stopping => self.stopping,
            DaemonStatus::Reloading => self.reloading,
        }
    }
}

impl Default for AlertStatus {
    fn default() -> AlertStatus {
        AlertStatus { starting: true, running: true, stopping: true, reloading: true }
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
    pub fn word(self) -> &'static str {
        self.row().1
    }

    /// The port that the service has by custom.
    #[must_use]
    pub fn standard_port(self) -> Option<u16> {
        self.row().2
    }

    /// Reads the word of the configuration file; case counts, as in the original.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Negotiate> {
        Negotiate::ALL.iter().find(|row| row.1 == word).map(|row| row.0)
    }

    /// Whether it is asked over HTTP.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Negotiate::Http | Negotiate::Https | Negotiate::HttpProxy)
    }

    /// Whether a dialogue of this service can go over to TLS.
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

    /// The service that the original expects on a port; `none` where it expects none.
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
