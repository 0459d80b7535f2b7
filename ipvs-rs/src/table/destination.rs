//! Destinations (the real servers of a virtual service): their keys and configurations.
//!
//! Source of the values: `linux/ip_vs.h`; of the rules: `net/netfilter/ipvs/ip_vs_ctl.c`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::service::Family;

/// What identifies a destination within its service. Displayed as `10.0.0.2:80` or `[2001:db8::2]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey {
    /// The address of the server. If its family is not that of the service, it must be tunnelled.
    pub address: IpAddr,
    /// The port of the server. Used only with masquerading, but always part of the key.
    pub port: u16,
}

impl DestinationKey {
    /// The family of the address.
    pub fn family(&self) -> Family {
        self.address.into()
    }
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// The configuration of a destination: how it is reached, and its share of connections.
///
/// Two configurations are equal if the kernel treats them the same: the tunnel is compared only if the
/// method is [`ForwardingMethod::Tunnel`].
///
/// Displayed as `weight 5 (route)` or `weight 5 (tunnel gue port 5555 csum), connections 10 to 20`.
#[derive(Clone, Copy, Debug)]
pub struct DestinationConfig {
    /// How packets are forwarded.
    pub method: ForwardingMethod,
    /// The share of new connections, 0 to 2,147,483,647. With 0 there are no new connections; existing ones stay.
    pub weight: u32,
    /// Number of connections at which the kernel stops sending new ones, 0 to 2,147,483,647 (newer kernels
    /// refuse more). 0 means no limit.
    pub upper: u32,
    /// Number of connections below which the kernel sends new ones again, at most `upper`. 0 means ¾ of `upper`.
    pub lower: u32,
    /// The encapsulation, if the method is [`ForwardingMethod::Tunnel`].
    pub tunnel: Tunnel,
}

impl DestinationConfig {
    /// Maximum weight: the kernel stores it as a signed number and refuses negative ones.
    pub const MAX_WEIGHT: u32 = i32::MAX as u32;

    /// Maximum upper threshold that all kernels accept.
    pub const MAX_UPPER: u32 = i32::MAX as u32;

    /// A destination with this method and weight, without thresholds, with an IP in IP tunnel.
    pub fn new(method: ForwardingMethod, weight: u32) -> Self {
        Self { method, weight, upper: 0, lower: 0, tunnel: Tunnel::default() }
    }

    /// The tunnel, if packets are forwarded through one.
    pub fn effective_tunnel(&self) -> Option<Tunnel> {
        (self.method == ForwardingMethod::Tunnel).then_some(self.tunnel)
    }
}

impl PartialEq for DestinationConfig {
    fn eq(&self, other: &Self) -> bool {
        let fields = |config: &Self| {
            (config.method, config.weight, config.upper, config.lower, config.effective_tunnel())
        };
        fields(self) == fields(other)
    }
}

impl Eq for DestinationConfig {}

impl fmt::Display for DestinationConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weight {} ({}", self.weight, self.method)?;
        match self.effective_tunnel() {
            None | Some(Tunnel::Ipip) => f.write_str(")")?,
            Some(tunnel) => write!(f, " {tunnel})")?,
        }
        if self.upper != 0 || self.lower != 0 {
            write!(f, ", connections {} to {}", self.lower, self.upper)?;
        }
        Ok(())
    }
}

/// How packets are forwarded from the director to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForwardingMethod {
    /// Network address translation (`ipvsadm -m`).
    Masquerade,
    /// Encapsulation (`ipvsadm -i`).
    Tunnel,
    /// Direct routing, to the link-layer address of the destination (`ipvsadm -g`).
    DirectRoute,
    /// To the director itself. The kernel recognizes local addresses; this is for old tables.
    LocalNode,
    /// To the packet's original address, past the cache.
    Bypass,
}

impl fmt::Display for ForwardingMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Masquerade => "masquerade",
            Self::Tunnel => "tunnel",
            Self::DirectRoute => "route",
            Self::LocalNode => "local",
            Self::Bypass => "bypass",
        })
    }
}

/// The encapsulation of a tunnel. Displayed as `ipip`, `gue port 5555 csum` or `gre nocsum`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation (Linux 5.3 and later).
    Gue {
        /// The UDP port on which the destination decapsulates. The kernel refuses 0.
        port: u16,
        /// The checksum of the outer header.
        checksum: Checksum,
    },
    /// Generic routing encapsulation (Linux 5.4 and later).
    Gre {
        /// The checksum of the outer header.
        checksum: Checksum,
    },
    /// A kind that this library does not know, read from a table and kept unchanged.
    Other {
        /// The kind (`IPVS_DEST_ATTR_TUN_TYPE`).
        kind: u8,
        /// The port (`IPVS_DEST_ATTR_TUN_PORT`).
        port: u16,
        /// The flags (`IPVS_DEST_ATTR_TUN_FLAGS`).
        flags: u16,
    },
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip => f.write_str("ipip"),
            Self::Gue { port, checksum } => write!(f, "gue port {port} {checksum}"),
            Self::Gre { checksum } => write!(f, "gre {checksum}"),
            Self::Other { kind, port, flags } => write!(f, "kind {kind} port {port} flags {flags:#x}"),
        }
    }
}

/// The checksum of the outer header of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// None (`--tun-nocsum`).
    #[default]
    None,
    /// Over the whole packet (`--tun-csum`).
    Full,
    /// Offloaded to the other end (`--tun-remcsum`).
    Remote,
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "nocsum",
            Self::Full => "csum",
            Self::Remote => "remcsum",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUE: Tunnel = Tunnel::Gue { port: 5555, checksum: Checksum::Full };

    #[test]
    fn the_tunnel_counts_with_its_method_only() {
        let config = |method, tunnel| DestinationConfig { tunnel, ..DestinationConfig::new(method, 1) };
        let equal = |method| config(method, Tunnel::Ipip) == config(method, GUE);
        assert!(equal(ForwardingMethod::DirectRoute));
        assert!(!equal(ForwardingMethod::Tunnel));
    }

    #[test]
    fn configurations_are_displayed() {
        let mut config = DestinationConfig::new(ForwardingMethod::DirectRoute, 5);
        assert_eq!(config.to_string(), "weight 5 (route)");
        config.method = ForwardingMethod::Tunnel;
        assert_eq!(config.to_string(), "weight 5 (tunnel)");
        config = DestinationConfig { upper: 20, lower: 10, tunnel: GUE, ..config };
        assert_eq!(config.to_string(), "weight 5 (tunnel gue port 5555 csum), connections 10 to 20");
    }
}
