//! Virtual services: their keys and configurations.
//!
//! Source of the values: `linux/ip_vs.h`; of the rules: `net/netfilter/ipvs/ip_vs_ctl.c`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::flags::ServiceFlags;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A transport protocol that IPVS balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// What identifies a virtual service.
///
/// Displayed as `tcp 10.0.0.1:80`, `udp [2001:db8::1]:53`, `fwm 5` or, for an IPv6 mark, `fwm6 5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// Packets to one address and port.
    Address {
        /// The protocol.
        protocol: Protocol,
        /// The virtual address.
        address: IpAddr,
        /// The virtual port. 0 means all ports, which is useful only with persistence.
        port: u16,
    },
    /// Packets that carry a firewall mark.
    Mark {
        /// The mark, 1 or more. The kernel reads 0 as "no mark", so it is refused here.
        mark: u32,
        /// The family of the packets. Marks of the two families are different services.
        family: Family,
    },
}

impl ServiceKey {
    /// The family of the packets of the service.
    pub fn family(&self) -> Family {
        match *self {
            Self::Address { address, .. } => address.into(),
            Self::Mark { family, .. } => family,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address { protocol, address, port } => {
                write!(f, "{protocol} {}", SocketAddr::new(address, port))
            }
            Self::Mark { mark, family: Family::V4 } => write!(f, "fwm {mark}"),
            Self::Mark { mark, family: Family::V6 } => write!(f, "fwm6 {mark}"),
        }
    }
}

/// The configuration of a virtual service.
///
/// Displayed as `sh (sh-port) persistent 300 mask 255.255.255.0 pe sip ops`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceConfig {
    /// The name of the scheduler, such as `wlc`. With `none` the service schedules nothing.
    /// At most [`ServiceConfig::MAX_NAME`] bytes.
    pub scheduler: String,
    /// One-packet scheduling and the flags of the scheduler.
    pub flags: ServiceFlags,
    /// Whether, and for how long, a client keeps its server.
    pub persistence: Option<Persistence>,
}

impl ServiceConfig {
    /// Maximum length of the name of a scheduler or persistence engine in bytes (`IP_VS_SCHEDNAME_MAXLEN` without
    /// NUL).
    pub const MAX_NAME: usize = 15;

    /// A service with this scheduler, without flags and persistence.
    pub fn new(scheduler: impl Into<String>) -> Self {
        Self { scheduler: scheduler.into(), flags: ServiceFlags::default(), persistence: None }
    }
}

impl fmt::Display for ServiceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheduler)?;
        let scheduling = self.flags.scheduler_names(&self.scheduler);
        if !scheduling.is_empty() {
            write!(f, " ({scheduling})")?;
        }
        if let Some(persistence) = &self.persistence {
            write!(f, " {persistence}")?;
        }
        if self.flags.contains(ServiceFlags::ONE_PACKET) { f.write_str(" ops") } else { Ok(()) }
    }
}

/// Persistence: a client keeps its server for some time.
///
/// Displayed as `persistent 300 mask 255.255.255.0 pe sip`; the mask only if it is not the host mask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// How long after its last connection a client keeps its server, in seconds. The kernel counts in
    /// ticks of 32 bits, so use at most [`Persistence::MAX_TIMEOUT`]: more wraps around silently.
    pub timeout: u32,
    /// Clients with the same masked address count as one.
    pub netmask: Netmask,
    /// The persistence engine, such as `sip`. Absent: the client's address decides.
    pub engine: Option<String>,
}

impl Persistence {
    /// Maximum time-out that `ipvsadm` and every kernel accept: 31 days, in seconds.
    pub const MAX_TIMEOUT: u32 = 31 * 24 * 60 * 60;

    /// Persistence of `timeout` seconds for each client address of the family.
    pub fn new(timeout: u32, family: Family) -> Self {
        Self { timeout, netmask: Netmask::host(family), engine: None }
    }
}

impl fmt::Display for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "persistent {}", self.timeout)?;
        if self.netmask != Netmask::host(self.netmask.family()) {
            write!(f, " mask {}", self.netmask)?;
        }
        match &self.engine {
            Some(engine) => write!(f, " pe {engine}"),
            None => Ok(()),
        }
    }
}

/// The part of a client's address that counts. Its family must be that of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Netmask {
    /// An IPv4 mask, such as 255.255.255.0. The kernel accepts any value.
    V4(Ipv4Addr),
    /// The length of an IPv6 prefix, 1 to 128.
    V6(u8),
}

impl Netmask {
    /// The mask with which each address is a separate client: 255.255.255.255 or 128, the defaults.
    pub fn host(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::V6 => Self::V6(128),
        }
    }

    /// The address family of the mask.
    pub fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(mask) => mask.fmt(f),
            Self::V6(prefix) => prefix.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_displayed_briefly() {
        let check = |key: ServiceKey, expected: &str| assert_eq!(key.to_string(), expected);
        let address = |protocol, address: &str, port| ServiceKey::Address {
            protocol,
            address: address.parse().unwrap(),
            port,
        };
        check(address(Protocol::Tcp, "10.0.0.1", 80), "tcp 10.0.0.1:80");
        check(address(Protocol::Sctp, "2001:db8::1", 9), "sctp [2001:db8::1]:9");
        check(ServiceKey::Mark { mark: 5, family: Family::V4 }, "fwm 5");
        check(ServiceKey::Mark { mark: 5, family: Family::V6 }, "fwm6 5");
    }

    #[test]
    fn configurations_are_displayed_like_ipvsadm_does() {
        let mut config = ServiceConfig::new("sh");
        assert_eq!(config.to_string(), "sh");
        config.persistence = Some(Persistence::new(300, Family::V4));
        assert_eq!(config.to_string(), "sh persistent 300");
        config.persistence =
            Some(Persistence { timeout: 300, netmask: Netmask::V6(64), engine: Some("sip".to_owned()) });
        config.flags = ServiceFlags::ONE_PACKET | ServiceFlags::SCHEDULER_2;
        assert_eq!(config.to_string(), "sh (sh-port) persistent 300 mask 64 pe sip ops");
    }
}
