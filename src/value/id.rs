//! The identity of a virtual service: an address with a protocol, or a firewall mark.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The address family of a virtual service and of its real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4: `virtual`, `real`, `fallback`.
    V4,
    /// IPv6: `virtual6`, `real6`, `fallback6`.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

/// The transport protocol of a virtual service by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// `protocol=tcp`
    Tcp,
    /// `protocol=udp`
    Udp,
    /// `#rs: protocol=sctp`
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// The identity of a virtual service, unique in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VirtualId {
    /// A service by protocol, address and port.
    Address {
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// The virtual address and port.
        address: SocketAddr,
    },
    /// A service by firewall mark.
    Mark {
        /// The mark, as `iptables -j MARK` sets it.
        mark: u32,
        /// `virtual=5` and `virtual6=5` are two services.
        family: Family,
    },
}

impl VirtualId {
    /// The address family of the service.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            VirtualId::Address { address, .. } => Family::of(address.ip()),
            VirtualId::Mark { family, .. } => *family,
        }
    }

    /// The port of the service. A firewall mark has none.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            VirtualId::Address { address, .. } => Some(address.port()),
            VirtualId::Mark { .. } => None,
        }
    }

    /// The identity with its protocol in front (`tcp:10.0.0.1:80`, `fwm:5`, `fwm6:5`), unique among all services.
    #[must_use]
    pub fn qualified(&self) -> String {
        match self {
            VirtualId::Address { protocol, address } => format!("{protocol}:{address}"),
            VirtualId::Mark { mark, family: Family::V4 } => format!("fwm:{mark}"),
            VirtualId::Mark { mark, family: Family::V6 } => format!("fwm6:{mark}"),
        }
    }
}

/// Reads what [`VirtualId::qualified`] wrote.
impl FromStr for VirtualId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<VirtualId, NotAnId> {
        let (kind, rest) = text.split_once(':').ok_or(NotAnId)?;
        let address = |protocol| match rest.parse() {
            Ok(address) => Ok(VirtualId::Address { protocol, address }),
            Err(_) => Err(NotAnId),
        };
        let mark = |family| rest.parse().map(|mark| VirtualId::Mark { mark, family }).map_err(|_| NotAnId);
        match kind {
            "tcp" => address(Protocol::Tcp),
            "udp" => address(Protocol::Udp),
            "sctp" => address(Protocol::Sctp),
            "fwm" => mark(Family::V4),
            "fwm6" => mark(Family::V6),
            _ => Err(NotAnId),
        }
    }
}

/// A text that is not a qualified id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a virtual service")]
pub struct NotAnId;

/// Formats it as log and mail do: `10.0.0.1:80`, `[fd00::1]:80`, or the number of the mark.
impl fmt::Display for VirtualId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VirtualId::Address { address, .. } => address.fmt(f),
            VirtualId::Mark { mark, .. } => mark.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qualified_id_is_read_back() {
        for text in ["tcp:10.0.0.1:80", "udp:[fd00::1]:53", "sctp:10.0.0.1:80", "fwm:5", "fwm6:5"] {
            let id: VirtualId = text.parse().expect(text);
            assert_eq!(id.qualified(), text);
        }
        for text in ["", "tcp", "dccp:10.0.0.1:80", "fwm:x", "tcp:10.0.0.1"] {
            assert_eq!(text.parse::<VirtualId>(), Err(NotAnId), "{text}");
        }
    }
}
