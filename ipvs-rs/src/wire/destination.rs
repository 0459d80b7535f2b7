//! Destinations as attributes (`IPVS_DEST_ATTR_*`).

use super::attribute::{Attributes, family_number, put, put_address};
use super::statistics::decode_statistics;
use super::top;
use crate::error::Error;
use crate::snapshot::{Connections, DestinationSnapshot};
use crate::table::{Checksum, DestinationConfig, DestinationKey, ForwardingMethod, ServiceKey, Tunnel};

const ADDR: u16 = 1;
const PORT: u16 = 2;
const FWD_METHOD: u16 = 3;
const WEIGHT: u16 = 4;
const U_THRESH: u16 = 5;
const L_THRESH: u16 = 6;
const ACTIVE_CONNS: u16 = 7;
const INACT_CONNS: u16 = 8;
const PERSIST_CONNS: u16 = 9;
const STATS: u16 = 10;
const ADDR_FAMILY: u16 = 11;
const STATS64: u16 = 12;
const TUN_TYPE: u16 = 13;
const TUN_PORT: u16 = 14;
const TUN_FLAGS: u16 = 15;
const COUNT: usize = 16;

/// The forwarding methods by number (`IP_VS_CONN_F_MASQ` and so on). The kernel stores them in three bits.
const METHODS: [ForwardingMethod; 5] = [
    ForwardingMethod::Masquerade,
    ForwardingMethod::LocalNode,
    ForwardingMethod::Tunnel,
    ForwardingMethod::DirectRoute,
    ForwardingMethod::Bypass,
];

/// The tunnels (`IP_VS_CONN_F_TUNNEL_TYPE_*`).
const IPIP: u8 = 0;
const GUE: u8 = 1;
const GRE: u8 = 2;

/// The checksum flags (`IP_VS_TUNNEL_ENCAP_FLAG_*`).
const CSUM: u16 = 1;
const REMCSUM: u16 = 2;

/// Appends the key of a destination.
pub(super) fn put_key(buffer: &mut Vec<u8>, key: DestinationKey) {
    put_address(buffer, ADDR, key.address);
    put(buffer, PORT, &key.port.to_be_bytes());
    put(buffer, ADDR_FAMILY, &family_number(key.family()).to_ne_bytes());
}

/// Appends the configuration of a destination.
pub(super) fn put_config(buffer: &mut Vec<u8>, config: &DestinationConfig) {
    let method = METHODS.iter().position(|method| *method == config.method).unwrap_or_default();
    put(buffer, FWD_METHOD, &(method as u32).to_ne_bytes());
    put(buffer, WEIGHT, &config.weight.to_ne_bytes());
    put(buffer, U_THRESH, &config.upper.to_ne_bytes());
    put(buffer, L_THRESH, &config.lower.to_ne_bytes());
    let (kind, port, flags) = match config.effective_tunnel() {
        None | Some(Tunnel::Ipip) => (IPIP, 0, 0),
        Some(Tunnel::Gue { port, checksum }) => (GUE, port, checksum_flags(checksum)),
        Some(Tunnel::Gre { checksum }) => (GRE, 0, checksum_flags(checksum)),
        Some(Tunnel::Other { kind, port, flags }) => (kind, port, flags),
    };
    put(buffer, TUN_TYPE, &[kind]);
    put(buffer, TUN_PORT, &port.to_be_bytes());
    put(buffer, TUN_FLAGS, &flags.to_ne_bytes());
}

/// Reads a destination of the service.
///
/// `None` for a forwarding method or family that this library does not know (the kernel accepts any three bits as
/// a method, even without a meaning).
pub(crate) fn decode_destination(
    bytes: &[u8],
    service: ServiceKey,
) -> Result<Option<(DestinationKey, DestinationSnapshot)>, Error> {
    let message = Attributes::<{ top::COUNT }>::parse("an answer", bytes)?;
    let attributes = Attributes::<COUNT>::parse("a destination", message.need(top::DEST)?)?;
    // Kernels before 3.18 send no family here, because it is always that of the service.
    let family = match attributes.get(ADDR_FAMILY) {
        Some(_) => attributes.family(ADDR_FAMILY)?,
        None => Some(service.family()),
    };
    let method = METHODS.get((attributes.u32(FWD_METHOD)? & 0x7) as usize);
    let (Some(family), Some(method)) = (family, method) else { return Ok(None) };
    let key = DestinationKey { address: attributes.address(ADDR, family)?, port: attributes.port(PORT)? };
    let destination = DestinationSnapshot {
        config: DestinationConfig {
            method: *method,
            weight: attributes.u32(WEIGHT)?,
            upper: attributes.u32(U_THRESH)?,
            lower: attributes.u32(L_THRESH)?,
            tunnel: decode_tunnel(&attributes)?,
        },
        connections: Connections {
            active: attributes.u32(ACTIVE_CONNS)?,
            inactive: attributes.u32(INACT_CONNS)?,
            persistent: attributes.u32(PERSIST_CONNS)?,
        },
        statistics: decode_statistics(attributes.get(STATS64), attributes.get(STATS))?,
    };
    Ok(Some((key, destination)))
}

/// The tunnel. Kernels before 5.3 support only IP in IP and send nothing.
fn decode_tunnel(attributes: &Attributes<'_, COUNT>) -> Result<Tunnel, Error> {
    let kind = attributes.bytes(TUN_TYPE)?.map_or(IPIP, |[kind]: [u8; 1]| kind);
    let port = attributes.bytes(TUN_PORT)?.map_or(0, u16::from_be_bytes);
    let flags = attributes.bytes(TUN_FLAGS)?.map_or(0, u16::from_ne_bytes);
    Ok(match kind {
        IPIP => Tunnel::Ipip,
        GUE => Tunnel::Gue { port, checksum: checksum(flags) },
        GRE => Tunnel::Gre { checksum: checksum(flags) },
        kind => Tunnel::Other { kind, port, flags },
    })
}

fn checksum_flags(checksum: Checksum) -> u16 {
    match checksum {
        Checksum::None => 0,
        Checksum::Full => CSUM,
        Checksum::Remote => REMCSUM,
    }
}

fn checksum(flags: u16) -> Checksum {
    if flags & REMCSUM != 0 {
        Checksum::Remote
    } else if flags & CSUM != 0 {
        Checksum::Full
    } else {
        Checksum::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Family;
    use crate::wire::attribute::put_nested;

    const SERVICE: ServiceKey = ServiceKey::Mark { mark: 1, family: Family::V6 };

    /// A destination as the kernel sends it, with counters.
    fn message(key: DestinationKey, config: &DestinationConfig) -> Vec<u8> {
        let mut attributes = Vec::new();
        put_key(&mut attributes, key);
        put_config(&mut attributes, config);
        for (kind, count) in [(ACTIVE_CONNS, 1u32), (INACT_CONNS, 2), (PERSIST_CONNS, 3)] {
            put(&mut attributes, kind, &count.to_ne_bytes());
        }
        let mut bytes = Vec::new();
        put_nested(&mut bytes, top::DEST, &attributes);
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let connections = Connections { active: 1, inactive: 2, persistent: 3 };
        let mut tunnels = vec![Tunnel::Ipip, Tunnel::Other { kind: 9, port: 8, flags: 7 }];
        for checksum in [Checksum::None, Checksum::Full, Checksum::Remote] {
            tunnels.extend([Tunnel::Gue { port: 0x1234, checksum }, Tunnel::Gre { checksum }]);
        }
        for address in ["10.1.2.3", "2001:db8::1"] {
            let key = DestinationKey { address: address.parse().unwrap(), port: 0x1234 };
            for (method, tunnel) in
                METHODS.into_iter().cycle().zip(tunnels.iter().flat_map(|tunnel| [*tunnel; 5]))
            {
                let config = DestinationConfig { method, weight: 5, upper: 20, lower: 10, tunnel };
                let expected = DestinationSnapshot { connections, ..DestinationSnapshot::new(config) };
                assert_eq!(decode_destination(&message(key, &config), SERVICE), Ok(Some((key, expected))));
            }
        }
    }

    #[test]
    fn a_method_without_a_meaning_is_passed_over() {
        let key = DestinationKey { address: "10.1.2.3".parse().unwrap(), port: 80 };
        let mut bytes = message(key, &DestinationConfig::new(ForwardingMethod::Bypass, 1));
        // The method follows the header of the outer attribute, an address, a port and a family.
        let method = 4 + 20 + 8 + 8 + 4;
        assert_eq!(bytes[method], 4);
        bytes[method] = 6;
        assert_eq!(decode_destination(&bytes, SERVICE), Ok(None));
    }
}
