//! Netlink attributes: type, length, value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLA_HEADER_SIZE, NlasIterator};
use nix::libc;

use crate::error::Error;
use crate::table::Family;

/// Appends an attribute.
pub(crate) fn put(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let attribute = DefaultNla::new(kind, value.to_vec());
    let start = buffer.len();
    buffer.resize(start + attribute.buffer_len(), 0);
    attribute.emit(&mut buffer[start..]);
}

/// Appends a text with the NUL that the kernel requires.
pub(crate) fn put_text(buffer: &mut Vec<u8>, kind: u16, text: &str) {
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    put(buffer, kind, &value);
}

/// Appends attributes nested in another attribute.
pub(crate) fn put_nested(buffer: &mut Vec<u8>, kind: u16, attributes: &[u8]) {
    put(buffer, kind | NLA_F_NESTED, attributes);
}

/// Appends an address as the kernel's union of 16 bytes.
pub(crate) fn put_address(buffer: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let mut union = [0; 16];
            union[..4].copy_from_slice(&address.octets());
            put(buffer, kind, &union);
        }
        IpAddr::V6(address) => put(buffer, kind, &address.octets()),
    }
}

/// The kernel's number of a family.
pub(crate) fn family_number(family: Family) -> u16 {
    match family {
        Family::V4 => libc::AF_INET as u16,
        Family::V6 => libc::AF_INET6 as u16,
    }
}

/// The attributes of one level with the types 1 to `N` - 1. Unknown ones of newer kernels are skipped.
#[derive(Debug)]
pub(crate) struct Attributes<'a, const N: usize> {
    what: &'static str,
    values: [Option<&'a [u8]>; N],
}

impl<'a, const N: usize> Attributes<'a, N> {
    /// Parses bytes. `what` names them in errors.
    pub(crate) fn parse(what: &'static str, bytes: &'a [u8]) -> Result<Self, Error> {
        let mut values = [None; N];
        for attribute in NlasIterator::new(bytes) {
            let attribute = attribute.map_err(|error| Error::malformed(format!("{what}: {error}")))?;
            let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
            if let Some(slot) = values.get_mut(usize::from(kind)) {
                *slot = attribute.into_inner().get(NLA_HEADER_SIZE..length);
            }
        }
        Ok(Self { what, values })
    }

    /// The value, if the attribute is present.
    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.values.get(usize::from(kind)).copied().flatten()
    }

    /// The value of a required attribute.
    pub(crate) fn need(&self, kind: u16) -> Result<&'a [u8], Error> {
        self.get(kind).ok_or_else(|| Error::malformed(format!("{} without attribute {kind}", self.what)))
    }

    /// The first bytes of the value, if the attribute is present.
    pub(crate) fn bytes<const L: usize>(&self, kind: u16) -> Result<Option<[u8; L]>, Error> {
        self.get(kind).map(|value| self.array(kind, value)).transpose()
    }

    /// The first bytes of the value of a required attribute.
    pub(crate) fn need_bytes<const L: usize>(&self, kind: u16) -> Result<[u8; L], Error> {
        self.array(kind, self.need(kind)?)
    }

    /// A required number of 16 bits.
    pub(crate) fn u16(&self, kind: u16) -> Result<u16, Error> {
        self.need_bytes(kind).map(u16::from_ne_bytes)
    }

    /// A required port, or another number of 16 bits in network byte order.
    pub(crate) fn port(&self, kind: u16) -> Result<u16, Error> {
        self.need_bytes(kind).map(u16::from_be_bytes)
    }

    /// A required number of 32 bits.
    pub(crate) fn u32(&self, kind: u16) -> Result<u32, Error> {
        self.need_bytes(kind).map(u32::from_ne_bytes)
    }

    /// A required text.
    pub(crate) fn text(&self, kind: u16) -> Result<String, Error> {
        Ok(text(self.need(kind)?))
    }

    /// A required address family. `None` if IPVS does not support it.
    pub(crate) fn family(&self, kind: u16) -> Result<Option<Family>, Error> {
        let number = self.u16(kind)?;
        Ok([Family::V4, Family::V6].into_iter().find(|family| family_number(*family) == number))
    }

    /// A required address of this family.
    pub(crate) fn address(&self, kind: u16, family: Family) -> Result<IpAddr, Error> {
        Ok(match family {
            Family::V4 => Ipv4Addr::from(self.need_bytes::<4>(kind)?).into(),
            Family::V6 => Ipv6Addr::from(self.need_bytes::<16>(kind)?).into(),
        })
    }

    fn array<const L: usize>(&self, kind: u16, value: &[u8]) -> Result<[u8; L], Error> {
        value.first_chunk().copied().ok_or_else(|| {
            let (what, length) = (self.what, value.len());
            Error::malformed(format!("{what} with {length} instead of {L} bytes in attribute {kind}"))
        })
    }
}

/// A text up to its NUL. Names and messages of the kernel are ASCII.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}
