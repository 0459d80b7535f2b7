//! Requests and answers as bytes.
//!
//! All functions are pure: bytes in, values out. Data from the kernel may be malformed: decoding then returns an
//! error and never panics. Numbers are in the byte order of the machine, ports and IPv4 masks in that of the
//! network. Source of the numbers: `linux/ip_vs.h`, `linux/netlink.h`.

pub(crate) mod attribute;
mod destination;
pub(crate) mod message;
mod request;
mod service;
mod statistics;

pub(crate) use destination::decode_destination;
pub(crate) use request::Request;
pub(crate) use service::decode_service;

/// Commands of the family (`IPVS_CMD_*`).
pub(crate) mod command {
    pub(crate) const NEW_SERVICE: u8 = 1;
    pub(crate) const SET_SERVICE: u8 = 2;
    pub(crate) const DEL_SERVICE: u8 = 3;
    pub(crate) const GET_SERVICE: u8 = 4;
    pub(crate) const NEW_DEST: u8 = 5;
    pub(crate) const SET_DEST: u8 = 6;
    pub(crate) const DEL_DEST: u8 = 7;
    pub(crate) const GET_DEST: u8 = 8;
    pub(crate) const SET_CONFIG: u8 = 12;
    pub(crate) const GET_CONFIG: u8 = 13;
    pub(crate) const GET_INFO: u8 = 15;
    pub(crate) const ZERO: u8 = 16;
    pub(crate) const FLUSH: u8 = 17;
}

/// Attributes of the first level (`IPVS_CMD_ATTR_*`).
mod top {
    pub(super) const SERVICE: u16 = 1;
    pub(super) const DEST: u16 = 2;
    pub(super) const TIMEOUT_TCP: u16 = 4;
    pub(super) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(super) const TIMEOUT_UDP: u16 = 6;
    pub(super) const COUNT: usize = 7;
}

/// Decodes bytes with every decoder and discards the results: for fuzzing, to find panics.
#[doc(hidden)]
pub fn decode_everything(bytes: &[u8]) {
    use crate::table::{Family, ServiceKey};

    let decode = |attributes: &[u8]| {
        let _ = decode_service(attributes);
        let _ = decode_destination(attributes, ServiceKey::Mark { mark: 1, family: Family::V4 });
        let _ = Request::decode_version(attributes);
        let _ = Request::decode_timeouts(attributes);
        let _ = Request::decode_family(attributes);
    };
    decode(bytes);
    for message in message::messages(bytes).flatten() {
        if let message::Body::Data(attributes) = message.body {
            decode(attributes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::attribute::put;
    use super::*;

    /// Attributes with a valid outer structure, so that decoding gets further than with random bytes.
    fn attributes(depth: u32) -> BoxedStrategy<Vec<u8>> {
        let noise = prop::collection::vec(any::<u8>(), 0..24);
        let value =
            if depth == 0 { noise.boxed() } else { prop_oneof![noise, attributes(depth - 1)].boxed() };
        prop::collection::vec((0..17u16, value), 0..16)
            .prop_map(|list| {
                let mut bytes = Vec::new();
                list.iter().for_each(|(kind, value)| put(&mut bytes, *kind, value));
                bytes
            })
            .boxed()
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            decode_everything(&bytes);
        }

        #[test]
        fn odd_attributes_never_panic(bytes in attributes(2)) {
            decode_everything(&bytes);
        }

        #[test]
        fn odd_messages_never_panic(
            kind in prop_oneof![0..5u16, any::<u16>()],
            flags in any::<u16>(),
            payload in prop_oneof![prop::collection::vec(any::<u8>(), 0..64), attributes(2)],
        ) {
            let mut bytes = (payload.len() as u32 + 16).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(flags.to_ne_bytes());
            bytes.extend([0; 8]);
            bytes.extend(payload);
            decode_everything(&bytes);
        }
    }
}
