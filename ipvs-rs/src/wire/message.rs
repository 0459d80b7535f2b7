//! Netlink messages: headers, acknowledgements, the ends of dumps.

use netlink_packet_core::{
    Emitable, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader,
};
use netlink_packet_generic::GenlHeader;
use netlink_packet_generic::constants::GENL_HDRLEN;

use super::attribute::{Attributes, text};
use crate::error::Error;

/// The size of a netlink header (`NLMSG_HDRLEN`).
const HEADER: usize = 16;

/// The attribute of an extended acknowledgement with the text (`NLMSGERR_ATTR_MSG`).
const EXTENDED_TEXT: u16 = 1;

/// Appends a generic netlink request.
pub(crate) fn put_request(
    buffer: &mut Vec<u8>,
    message_type: u16,
    flags: u16,
    sequence: u32,
    generic: GenlHeader,
    attributes: &[u8],
) {
    let mut header = NetlinkHeader::default();
    header.length = (HEADER + GENL_HDRLEN + attributes.len()) as u32;
    header.message_type = message_type;
    header.flags = flags;
    header.sequence_number = sequence;
    let start = buffer.len();
    buffer.resize(start + HEADER + GENL_HDRLEN, 0);
    header.emit(&mut buffer[start..]);
    generic.emit(&mut buffer[start + HEADER..]);
    buffer.extend_from_slice(attributes);
}

/// A message from the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// The number of the request that it answers.
    pub(crate) sequence: u32,
    /// Whether the kernel noticed that the table changed during this dump.
    pub(crate) interrupted: bool,
    /// The content.
    pub(crate) body: Body<'a>,
}

/// The content of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// The request was executed, or refused.
    End(Result<(), Refusal>),
    /// An answer, with its attributes.
    Data(&'a [u8]),
    /// Padding and similar.
    Nothing,
}

/// The kernel's reason to refuse a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Number of the error, positive.
    pub(crate) errno: i32,
    /// Text of the extended acknowledgement.
    pub(crate) message: Option<String>,
}

/// Parses the data of one `recv`. Nothing follows after an error.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Error>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let buffer = match NetlinkBuffer::new_checked(bytes) {
            Ok(buffer) => buffer,
            Err(error) => {
                bytes = &[];
                return Some(Err(Error::malformed(error.to_string())));
            }
        };
        let length = (buffer.length() as usize).next_multiple_of(4);
        let (kind, flags) = (buffer.message_type(), buffer.flags());
        let payload = bytes.get(HEADER..buffer.length() as usize).unwrap_or_default();
        let sequence = buffer.sequence_number();
        bytes = bytes.get(length..).unwrap_or_default();
        Some(decode(kind, flags, payload).map(|body| Message {
            sequence,
            interrupted: flags & NLM_F_DUMP_INTR != 0,
            body,
        }))
    })
}

fn decode(kind: u16, flags: u16, payload: &[u8]) -> Result<Body<'_>, Error> {
    match kind {
        NLMSG_ERROR => {
            let errno = errno(payload)?;
            Ok(Body::End(end(errno, flags, payload.get(4 + quoted_length(flags, payload)..))))
        }
        // The end of a dump does not quote the request. Old kernels send no number.
        NLMSG_DONE if payload.is_empty() => Ok(Body::End(Ok(()))),
        NLMSG_DONE => Ok(Body::End(end(errno(payload)?, flags, payload.get(4..)))),
        kind if kind < 16 => Ok(Body::Nothing),
        _ => {
            let attributes = payload.get(GENL_HDRLEN..);
            attributes.map(Body::Data).ok_or_else(|| Error::malformed("an answer without header"))
        }
    }
}

fn errno(payload: &[u8]) -> Result<i32, Error> {
    let bytes = payload.first_chunk().ok_or_else(|| Error::malformed("an error without number"))?;
    Ok(i32::from_ne_bytes(*bytes))
}

/// Number of bytes of the request that an error repeats: only the header, or all.
fn quoted_length(flags: u16, payload: &[u8]) -> usize {
    let length = payload.get(4..).and_then(|quoted| quoted.first_chunk().copied()).map(u32::from_ne_bytes);
    match length {
        Some(length) if flags & NLM_F_CAPPED == 0 => (length as usize).next_multiple_of(4).max(HEADER),
        _ => HEADER,
    }
}

fn end(errno: i32, flags: u16, extended: Option<&[u8]>) -> Result<(), Refusal> {
    if errno >= 0 {
        return Ok(());
    }
    let extended = extended.filter(|_| flags & NLM_F_ACK_TLVS != 0).unwrap_or_default();
    // If the text cannot be read, the number is still used.
    let message = Attributes::<2>::parse("an extended acknowledgement", extended)
        .ok()
        .and_then(|attributes| attributes.get(EXTENDED_TEXT))
        .map(text);
    Err(Refusal { errno: errno.saturating_neg(), message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attribute::put_text;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER as u32 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    fn check(bytes: &[u8], expected: Body<'_>) {
        let all: Vec<_> = messages(bytes).collect();
        assert_eq!(all, [Ok(Message { sequence: 7, interrupted: false, body: expected })]);
    }

    #[test]
    fn acknowledgements_are_told_from_errors() {
        let quoted = |errno: i32| [errno.to_ne_bytes().as_slice(), &message(20, 0, &[])].concat();
        check(&message(NLMSG_ERROR, 0, &quoted(0)), Body::End(Ok(())));
        let refusal = Refusal { errno: 17, message: None };
        check(&message(NLMSG_ERROR, NLM_F_CAPPED, &quoted(-17)), Body::End(Err(refusal)));
    }

    #[test]
    fn the_words_of_the_kernel_are_read() {
        let refusal = || Refusal { errno: 22, message: Some("no".into()) };
        let mut words = Vec::new();
        put_text(&mut words, EXTENDED_TEXT, "no");
        let errno = (-22i32).to_ne_bytes();
        // Once after only a header, once after the whole request, once without a request.
        let capped = [&errno[..], &message(20, 0, &[])[..], &words].concat();
        check(&message(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, &capped), Body::End(Err(refusal())));
        let whole = [&errno[..], &message(20, 0, &[1, 2, 3, 4])[..], &words].concat();
        check(&message(NLMSG_ERROR, NLM_F_ACK_TLVS, &whole), Body::End(Err(refusal())));
        let done = [&errno[..], &words].concat();
        check(&message(NLMSG_DONE, NLM_F_ACK_TLVS, &done), Body::End(Err(refusal())));
    }

    #[test]
    fn several_messages_are_taken_apart() {
        let mut bytes = message(20, NLM_F_DUMP_INTR, &[1, 1, 0, 0, 9, 9, 9, 9]);
        bytes.extend(message(NLMSG_DONE, 0, &[0; 4]));
        let all: Vec<_> = messages(&bytes).map(Result::unwrap).collect();
        assert_eq!(all.len(), 2);
        assert!(all[0].interrupted);
        assert_eq!(all[0].body, Body::Data(&[9, 9, 9, 9]));
        assert_eq!(all[1].body, Body::End(Ok(())));
    }

    #[test]
    fn a_message_cut_short_is_an_error() {
        let bytes = message(20, 0, &[1, 1, 0, 0]);
        assert!(messages(&bytes[..18]).next().unwrap().is_err());
    }
}
