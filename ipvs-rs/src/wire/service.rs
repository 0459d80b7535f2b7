//! Services as attributes (`IPVS_SVC_ATTR_*`).

use std::net::Ipv4Addr;

use nix::libc;

use super::attribute::{Attributes, family_number, put, put_address, put_text};
use super::statistics::decode_statistics;
use super::top;
use crate::error::Error;
use crate::snapshot::ServiceSnapshot;
use crate::table::{Family, Netmask, Persistence, Protocol, ServiceConfig, ServiceFlags, ServiceKey};

const AF: u16 = 1;
const PROTOCOL: u16 = 2;
const ADDR: u16 = 3;
const PORT: u16 = 4;
const FWMARK: u16 = 5;
const SCHED_NAME: u16 = 6;
const FLAGS: u16 = 7;
const TIMEOUT: u16 = 8;
const NETMASK: u16 = 9;
const STATS: u16 = 10;
const PE_NAME: u16 = 11;
const STATS64: u16 = 12;
const COUNT: usize = 13;

/// The flag for persistence (`IP_VS_SVC_F_PERSISTENT`).
const PERSISTENT: u32 = 0x1;

/// Appends the key of a service.
pub(super) fn put_key(buffer: &mut Vec<u8>, key: ServiceKey) {
    put(buffer, AF, &family_number(key.family()).to_ne_bytes());
    match key {
        ServiceKey::Address { protocol, address, port } => {
            put(buffer, PROTOCOL, &protocol_number(protocol).to_ne_bytes());
            put_address(buffer, ADDR, address);
            put(buffer, PORT, &port.to_be_bytes());
        }
        ServiceKey::Mark { mark, .. } => put(buffer, FWMARK, &mark.to_ne_bytes()),
    }
}

/// Appends the configuration of a service.
pub(super) fn put_config(buffer: &mut Vec<u8>, family: Family, config: &ServiceConfig) {
    let persistence = config.persistence.as_ref();
    let flags = config.flags.bits() | persistence.map_or(0, |_| PERSISTENT);
    // The mask selects the flags to set. Flags of newer kernels are not changed.
    let mask = ServiceFlags::ALL.bits() | PERSISTENT;
    let netmask = persistence.map_or(Netmask::host(family), |persistence| persistence.netmask);
    put_text(buffer, SCHED_NAME, &config.scheduler);
    put(buffer, FLAGS, &[flags.to_ne_bytes(), mask.to_ne_bytes()].concat());
    put(buffer, TIMEOUT, &persistence.map_or(0, |persistence| persistence.timeout).to_ne_bytes());
    // A mask is in network byte order, a prefix length in the same four bytes in the byte order of the machine.
    match netmask {
        Netmask::V4(mask) => put(buffer, NETMASK, &mask.octets()),
        Netmask::V6(prefix) => put(buffer, NETMASK, &u32::from(prefix).to_ne_bytes()),
    }
    if let Some(engine) = persistence.and_then(|persistence| persistence.engine.as_ref()) {
        put_text(buffer, PE_NAME, engine);
    }
}

/// Reads a service without its destinations.
///
/// `None` for a service with a protocol or family that this library does not know. Such a service must not prevent
/// the others from being read.
pub(crate) fn decode_service(bytes: &[u8]) -> Result<Option<(ServiceKey, ServiceSnapshot)>, Error> {
    let message = Attributes::<{ top::COUNT }>::parse("an answer", bytes)?;
    let attributes = Attributes::<COUNT>::parse("a service", message.need(top::SERVICE)?)?;
    let Some(key) = decode_key(&attributes)? else { return Ok(None) };
    let service = ServiceSnapshot {
        statistics: decode_statistics(attributes.get(STATS64), attributes.get(STATS))?,
        ..ServiceSnapshot::new(decode_config(key.family(), &attributes)?)
    };
    Ok(Some((key, service)))
}

fn decode_key(attributes: &Attributes<'_, COUNT>) -> Result<Option<ServiceKey>, Error> {
    let Some(family) = attributes.family(AF)? else { return Ok(None) };
    if let Some(mark) = attributes.bytes(FWMARK)? {
        return Ok(Some(ServiceKey::Mark { mark: u32::from_ne_bytes(mark), family }));
    }
    let number = attributes.u16(PROTOCOL)?;
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let Some(protocol) = protocols.into_iter().find(|protocol| protocol_number(*protocol) == number) else {
        return Ok(None);
    };
    let (address, port) = (attributes.address(ADDR, family)?, attributes.port(PORT)?);
    Ok(Some(ServiceKey::Address { protocol, address, port }))
}

fn decode_config(family: Family, attributes: &Attributes<'_, COUNT>) -> Result<ServiceConfig, Error> {
    let flags = attributes.u32(FLAGS)?;
    // The kernel also has a time-out, a mask and an engine without persistence. They have no effect then.
    let persistence = if flags & PERSISTENT == 0 {
        None
    } else {
        Some(Persistence {
            timeout: attributes.u32(TIMEOUT)?,
            netmask: decode_netmask(family, attributes.need_bytes(NETMASK)?)?,
            engine: attributes.get(PE_NAME).map(super::attribute::text),
        })
    };
    Ok(ServiceConfig {
        scheduler: attributes.text(SCHED_NAME)?,
        flags: ServiceFlags::from_bits_truncate(flags),
        persistence,
    })
}

fn decode_netmask(family: Family, bytes: [u8; 4]) -> Result<Netmask, Error> {
    match family {
        Family::V4 => Ok(Netmask::V4(Ipv4Addr::from(bytes))),
        Family::V6 => {
            let prefix = u32::from_ne_bytes(bytes);
            let short = u8::try_from(prefix).ok().filter(|prefix| *prefix <= 128);
            short.map(Netmask::V6).ok_or_else(|| Error::malformed(format!("a prefix of {prefix} bits")))
        }
    }
}

fn protocol_number(protocol: Protocol) -> u16 {
    let number = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
        Protocol::Sctp => libc::IPPROTO_SCTP,
    };
    number as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attribute::put_nested;

    fn message(attributes: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_nested(&mut bytes, top::SERVICE, attributes);
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let check = |key: ServiceKey, config: ServiceConfig| {
            let mut bytes = Vec::new();
            put_key(&mut bytes, key);
            put_config(&mut bytes, key.family(), &config);
            let expected = (key, ServiceSnapshot::new(config));
            assert_eq!(decode_service(&message(&bytes)), Ok(Some(expected)));
        };
        let address = |text: &str| ServiceKey::Address {
            protocol: Protocol::Sctp,
            address: text.parse().unwrap(),
            port: 0x1234,
        };
        let persistent = |netmask| ServiceConfig {
            flags: ServiceFlags::ALL,
            persistence: Some(Persistence { timeout: 300, netmask, engine: Some("sip".into()) }),
            ..ServiceConfig::new("wlc")
        };
        check(address("10.1.2.3"), ServiceConfig::new("rr"));
        check(address("10.1.2.3"), persistent(Netmask::V4([255, 255, 0, 0].into())));
        check(address("2001:db8::1"), persistent(Netmask::V6(48)));
        check(ServiceKey::Mark { mark: 7, family: Family::V6 }, ServiceConfig::new("sh"));
    }

    #[test]
    fn without_persistence_its_settings_do_not_count() {
        let mut bytes = Vec::new();
        put_key(&mut bytes, ServiceKey::Mark { mark: 1, family: Family::V4 });
        put_config(&mut bytes, Family::V4, &ServiceConfig::new("rr"));
        put(&mut bytes, TIMEOUT, &300u32.to_ne_bytes());
        put(&mut bytes, NETMASK, &[255, 0, 0, 0]);
        let (_, service) = decode_service(&message(&bytes)).unwrap().unwrap();
        assert_eq!(service.config, ServiceConfig::new("rr"));
    }

    #[test]
    fn an_unknown_protocol_is_passed_over() {
        let mut bytes = Vec::new();
        put(&mut bytes, AF, &family_number(Family::V4).to_ne_bytes());
        put(&mut bytes, PROTOCOL, &50u16.to_ne_bytes());
        assert_eq!(decode_service(&message(&bytes)), Ok(None));
    }
}
