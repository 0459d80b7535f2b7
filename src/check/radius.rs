//! `service=radius` (RFC 2865): an Access-Request, signed as in RFC 2869, answered with Access-Accept.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use tokio::time::timeout;

use super::failure::unreachable;
use super::format;
use super::progress::{CheckStep, Progress};
use crate::net::dial;
use crate::spec::{Probe, RadiusProbe};
use crate::value::Verdict;

const ACCESS_REQUEST: u8 = 1;
const ACCESS_ACCEPT: u8 = 2;
const ACCESS_REJECT: u8 = 3;
const ACCESS_CHALLENGE: u8 = 11;

const USER_NAME: u8 = 1;
const USER_PASSWORD: u8 = 2;
const NAS_IP_ADDRESS: u8 = 4;
const REPLY_MESSAGE: u8 = 18;
const MESSAGE_AUTHENTICATOR: u8 = 80;
const NAS_IPV6_ADDRESS: u8 = 95;

/// Bytes of the packet header: code, identifier, length, authenticator.
const HEAD: usize = 20;
/// The largest packet in bytes (RFC 2865 3).
const LARGEST: usize = 4096;
/// The longest value of an attribute in bytes, and the longest password.
const LONGEST_VALUE: usize = 253;
const LONGEST_PASSWORD: usize = 128;
/// A datagram may be lost: the request is sent again after this time.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks the server to authenticate the login.
pub(super) async fn run(probe: &Probe, radius: &RadiusProbe, progress: &Progress) -> Verdict {
    let name = format!("radius {} as {}", probe.target, radius.login);
    if radius.login.len() > LONGEST_VALUE || radius.passwd.reveal().len() > LONGEST_PASSWORD {
        return Verdict::down(format!(
            "{name}: login must have at most {LONGEST_VALUE} bytes, passwd at most {LONGEST_PASSWORD}"
        ));
    }
    match ask(probe, radius, progress).await {
        Err(error) => unreachable(&name, &error),
        Ok(answer) => judge(&name, &answer),
    }
}

async fn ask(probe: &Probe, radius: &RadiusProbe, progress: &Progress) -> std::io::Result<Vec<u8>> {
    let socket = dial::datagrams(probe.target).await?;
    progress.connected(CheckStep::Answer("the answer to Access-Request"));
    let request = request(radius, socket.local_addr()?.ip());
    let mut buffer = vec![0; LARGEST];
    loop {
        socket.send(&request).await?;
        let answer = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                progress.received(&buffer[..length]);
                if let Some(answer) = authentic(&buffer[..length], &request, radius) {
                    return Ok(answer.to_vec());
                }
            }
        };
        if let Ok(answer) = timeout(AGAIN, answer).await {
            return answer;
        }
    }
}

fn request(radius: &RadiusProbe, own: IpAddr) -> Vec<u8> {
    let authenticator: [u8; 16] = random();
    let mut packet = vec![ACCESS_REQUEST, random::<1>()[0], 0, 0];
    packet.extend(authenticator);
    // First, so that nothing can be inserted before it (draft-ietf-radext-deprecating-radius, against Blast-RADIUS).
    attribute(&mut packet, MESSAGE_AUTHENTICATOR, &[0; 16]);
    attribute(&mut packet, USER_NAME, radius.login.as_bytes());
    let hidden = hidden(radius.passwd.reveal(), radius.secret.reveal(), &authenticator);
    attribute(&mut packet, USER_PASSWORD, &hidden);
    match own {
        IpAddr::V4(ip) => attribute(&mut packet, NAS_IP_ADDRESS, &ip.octets()),
        IpAddr::V6(ip) => attribute(&mut packet, NAS_IPV6_ADDRESS, &ip.octets()),
    }
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    let signature = signature(&packet, radius.secret.reveal());
    packet[HEAD + 2..HEAD + 18].copy_from_slice(&signature);
    packet
}

fn attribute(packet: &mut Vec<u8>, kind: u8, value: &[u8]) {
    packet.push(kind);
    packet.push(u8::try_from(value.len() + 2).unwrap_or(u8::MAX));
    packet.extend(value);
}

/// The encrypted password (RFC 2865 5.2).
fn hidden(passwd: &str, secret: &str, authenticator: &[u8; 16]) -> Vec<u8> {
    let mut plain = passwd.as_bytes().to_vec();
    plain.resize(plain.len().max(1).next_multiple_of(16), 0);
    let mut before = authenticator.to_vec();
    let mut hidden = Vec::with_capacity(plain.len());
    for block in plain.chunks(16) {
        let mask = Md5::new().chain_update(secret).chain_update(&before).finalize();
        before = block.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        hidden.extend(&before);
    }
    hidden
}

/// The Message-Authenticator (RFC 2869 5.14). Its own bytes count as zeros.
fn signature(packet: &[u8], secret: &str) -> [u8; 16] {
    let mac = Hmac::<Md5>::new_from_slice(secret.as_bytes()).map(|mac| mac.chain_update(packet));
    mac.map(|mac| mac.finalize().into_bytes().into()).unwrap_or_default()
}

/// The packet, if it answers this request and its authenticator proves the secret (RFC 2865 3).
fn authentic<'a>(datagram: &'a [u8], request: &[u8], radius: &RadiusProbe) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]));
    let packet = datagram.get(..length).filter(|packet| packet.len() >= HEAD)?;
    let expected = Md5::new()
        .chain_update(&packet[..4])
        .chain_update(&request[4..HEAD])
        .chain_update(&packet[HEAD..])
        .chain_update(radius.secret.reveal())
        .finalize();
    (packet[1] == request[1] && packet[4..HEAD] == expected[..]).then_some(packet)
}

fn judge(name: &str, answer: &[u8]) -> Verdict {
    let message = match reply_message(answer) {
        Some(message) => format!(" {}", format::beginning(message, 100)),
        None => String::new(),
    };
    match answer[0] {
        ACCESS_ACCEPT => Verdict::up(format!("{name}: Access-Accept{message}")),
        ACCESS_REJECT => Verdict::down(format!("{name}: Access-Reject{message}")),
        ACCESS_CHALLENGE => {
            Verdict::down(format!("{name}: Access-Challenge{message}, which a check cannot answer"))
        }
        code => Verdict::down(format!("{name}: answered with the unexpected code {code}")),
    }
}

fn reply_message(answer: &[u8]) -> Option<&[u8]> {
    let mut rest = &answer[HEAD..];
    while let [kind, length, ..] = *rest {
        let value = rest.get(2..usize::from(length))?;
        if kind == REPLY_MESSAGE {
            return Some(value);
        }
        rest = &rest[usize::from(length)..];
    }
    None
}

/// Unpredictable bytes: the keys of the standard library's hash function come from the system.
fn random<const N: usize>() -> [u8; N] {
    std::array::from_fn(|_| RandomState::new().build_hasher().finish().to_be_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Secret;

    #[test]
    fn a_password_is_hidden_as_in_the_standard() {
        // RFC 2865, section 7.1.
        let authenticator =
            [0x0f, 0x40, 0x3f, 0x94, 0x73, 0x97, 0x80, 0x57, 0xbd, 0x83, 0xd5, 0xcb, 0x98, 0xf4, 0x22, 0x7a];
        let expected =
            [0x0d, 0xbe, 0x70, 0x8d, 0x93, 0xd4, 0x13, 0xce, 0x31, 0x96, 0xe4, 0x3f, 0x78, 0x2a, 0x0a, 0xee];
        assert_eq!(hidden("arctangent", "xyzzy5461", &authenticator), expected);
    }

    #[test]
    fn an_answer_is_that_of_the_standard_or_none() {
        // RFC 2865, section 7.1.
        let mut request = vec![1, 0, 0, 0x38];
        request.extend([
            0x0f, 0x40, 0x3f, 0x94, 0x73, 0x97, 0x80, 0x57, 0xbd, 0x83, 0xd5, 0xcb, 0x98, 0xf4, 0x22, 0x7a,
        ]);
        let answer = [
            0x02, 0x00, 0x00, 0x26, 0x86, 0xfe, 0x22, 0x0e, 0x76, 0x24, 0xba, 0x2a, 0x10, 0x05, 0xf6, 0xbf,
            0x9b, 0x55, 0xe0, 0xb2, 0x06, 0x06, 0x00, 0x00, 0x00, 0x01, 0x0f, 0x06, 0x00, 0x00, 0x00, 0x00,
            0x0e, 0x06, 0xc0, 0xa8, 0x01, 0x03,
        ];
        let radius = |secret: &str| RadiusProbe {
            login: "nemo".to_owned(),
            passwd: Secret::new("arctangent"),
            secret: Secret::new(secret),
        };
        assert_eq!(authentic(&answer, &request, &radius("xyzzy5461")), Some(&answer[..]));
        assert_eq!(authentic(&answer, &request, &radius("wrong")), None);
        assert_eq!(authentic(&answer[..30], &request, &radius("xyzzy5461")), None);
        assert!(judge("x", &answer).reason.contains("Access-Accept"));
        assert_eq!(reply_message(&answer), None);
    }
}
