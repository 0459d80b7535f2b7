//! The configuration for the rest of the program: typed, with inheritance and names resolved.

mod check;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use check::{CheckSpec, CheckType, Credentials, HttpMethod, Negotiate, Redirects, SecretFile, Timing};

use crate::value::{DaemonStatus, ForwardingMethod, Pattern, Relay, Tls, VirtualId};

/// A whole `ldirectord.cf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directives for the daemon.
    pub globals: Globals,
    /// The virtual services, in the order of the file. No two share an id.
    pub virtuals: Vec<Virtual>,
}

/// The directives outside virtual services that these do not inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// `checkinterval`: time from one check of a server to the next.
    pub checkinterval: Duration,
    /// `autoreload`: whether a changed file is applied automatically.
    pub autoreload: bool,
    /// `callback`: run when the file has changed.
    pub callback: Option<String>,
    /// `logfile`: the target of log messages.
    pub logfile: LogTarget,
    /// `execute`: further configurations, each with a daemon of its own.
    pub execute: BTreeSet<String>,
    /// `fork`: accepted. Makes `checkinterval` inside virtual services effective.
    pub fork: bool,
    /// `supervised`: stay in the foreground and log to standard output.
    pub supervised: bool,
    /// `readdquiescent`: whether a quiesced server that another program deleted is added again.
    pub readdquiescent: bool,
    /// `emailalertfrom`: the sender of alerts.
    pub emailalertfrom: Option<String>,
    /// `maintenancedir`: a file in it puts the server that it is named after in maintenance.
    pub maintenancedir: Option<PathBuf>,
    /// `timeouts`: for how long the kernel keeps idle connections. Absent: unchanged.
    pub timeouts: Option<Timeouts>,
}

impl Default for Globals {
    fn default() -> Globals {
        Globals {
            checkinterval: Timing::default().checkinterval,
            autoreload: false,
            callback: None,
            logfile: LogTarget::File(PathBuf::from("/var/log/ldirectord.log")),
            execute: BTreeSet::new(),
            fork: false,
            supervised: false,
            readdquiescent: false,
            emailalertfrom: None,
            maintenancedir: None,
            timeouts: None,
        }
    }
}

/// `timeouts`, in seconds. 0 leaves a time-out unchanged.
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

/// One `virtual` or `virtual6` block, with its inherited values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Virtual {
    /// Identity in the kernel.
    pub id: VirtualId,
    /// Line of the file, from 1.
    pub line: usize,
    /// Real servers, in the order of the file, with ranges expanded.
    pub reals: Vec<Real>,
    /// `fallback` or `fallback6`: activated while no real server is up.
    pub fallback: Option<Fallback>,
    /// `fallbackcommand`, run when the fallback server is activated or deactivated.
    pub fallbackcommand: Option<String>,
    /// `quiescent`: a server that is down gets weight 0 instead of being removed.
    pub quiescent: bool,
    /// `cleanstop`: the service is removed when the daemon stops.
    pub cleanstop: bool,
    /// `failurecount`: consecutive failures before a server is marked down. At least 1.
    pub failurecount: u32,
    /// How the kernel distributes connections.
    pub scheduling: Scheduling,
    /// What a check does.
    pub check: CheckSpec,
    /// How often a check runs, and how long it may take.
    pub timing: Timing,
    /// The directives that begin with `tls`. Its name is `tlsname`, else `virtualhost`.
    pub tls: Tls,
    /// `emailalert` and its companions.
    pub alert: Alert,
    /// Information for people about the service.
    pub notes: ServiceInfo,
}

impl Virtual {
    /// The destination of a server in the kernel's table. Direct routing and tunnels cannot change the port, so
    /// with them the port is that of the virtual service (as in `ipvsadm`).
    #[must_use]
    pub fn destination(&self, server: SocketAddr, method: ForwardingMethod) -> SocketAddr {
        let port = match (method, self.id.port()) {
            (ForwardingMethod::Gate | ForwardingMethod::Ipip, Some(port)) => port,
            _ => server.port(),
        };
        SocketAddr::new(server.ip(), port)
    }

    /// The fallback server, as the kernel's table has it. Port 0: the port that clients use.
    #[must_use]
    pub fn fallback_address(&self) -> Option<SocketAddr> {
        let Fallback { address, port, method } = self.fallback?;
        let port = port.or(self.id.port()).unwrap_or(0);
        Some(self.destination(SocketAddr::new(address, port), method))
    }
}

/// What the kernel does with the connections of a virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// `scheduler`, by the kernel's name.
    pub scheduler: String,
    /// `schedflags`, in the notation of `ipvsadm -b`.
    pub schedflags: Option<String>,
    /// `persistent`, seconds.
    pub persistent: Option<u32>,
    /// `netmask`: the granularity of persistence. IPv4: the mask as an address; IPv6: the prefix length.
    pub netmask: Option<Netmask>,
    /// `persistengine`: what persistence compares, by the kernel's name. Absent: the address of the client.
    pub persistengine: Option<String>,
    /// `tunnel`: how packets to servers with `ipip` are encapsulated. Absent: IP in IP.
    pub tunnel: Option<Tunnel>,
    /// `ops`: one-packet scheduling (UDP only).
    pub ops: bool,
}

impl Default for Scheduling {
    fn default() -> Scheduling {
        Scheduling {
            scheduler: "wrr".to_owned(),
            schedflags: None,
            persistent: None,
            netmask: None,
            persistengine: None,
            tunnel: None,
            ops: false,
        }
    }
}

/// One real server of one virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Real {
    /// Line of the file, from 1.
    pub line: usize,
    /// Address and port as configured. Port 0: none was given.
    pub address: SocketAddr,
    /// How packets reach it.
    pub method: ForwardingMethod,
    /// Its weight while it is up.
    pub weight: u32,
    /// `u:`: no new connections above this many. 0: no limit.
    pub upper: u32,
    /// `l:`: new connections again below this many. 0: not used.
    pub lower: u32,
    /// Its own request (with a leading `/`), instead of that of the virtual service.
    pub request: Option<String>,
    /// Its own pattern, instead of that of the virtual service. Used only with `request`.
    pub receive: Option<Pattern>,
}

/// The fallback server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// Its address.
    pub address: IpAddr,
    /// Its port. Absent: the port of the virtual service.
    pub port: Option<u16>,
    /// How packets reach it.
    pub method: ForwardingMethod,
}

/// `tunnel`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port on which the server receives the packets.
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

/// Mail about a virtual service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// `emailalert`: the recipients, comma separated. Empty: no mail.
    pub recipients: String,
    /// `emailalertfreq`: time between reminders about a server that is down. Zero: no reminders.
    pub frequency: Duration,
    /// `emailalertstatus`: in which states of the daemon mail is sent.
    pub status: AlertStatus,
    /// `smtp`: the relay. Absent: the local sendmail.
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

/// Information for people about a virtual service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceInfo {
    /// `monitorfile`: the file to which the result of every check is written.
    pub monitorfile: Option<PathBuf>,
    /// `servicename`: named in alerts.
    pub servicename: Option<String>,
    /// `comment`: named in alerts.
    pub comment: Option<String>,
}
