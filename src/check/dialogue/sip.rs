//! SIP (RFC 3261): OPTIONS, answered with `SIP/2.0 200 OK` and headers up to an empty line.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::session::{DialogueSession, StepResult};
use crate::check::failure::unreachable;
use crate::check::format;
use crate::check::progress::{CheckStep, Progress};
use crate::net::dial;
use crate::spec::{DialogueProbe, Probe};
use crate::value::Verdict;

/// The answer that the original expects.
const GOOD: &[u8] = b"SIP/2.0 200 OK";
/// The most header lines of an answer.
const MAX_LINES: usize = 1000;
/// A datagram may be lost: the request is sent again after this time, then after twice this time, and so on (RFC 3261
/// 17.1.2).
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_AT_MOST: Duration = Duration::from_secs(4);
/// The largest datagram.
const DATAGRAM: usize = 65_536;

/// The check over TCP.
pub(super) async fn run(session: &mut DialogueSession<'_>, dialogue: &DialogueProbe) -> StepResult {
    const WHAT: &str = "the answer to OPTIONS";
    let ends = session.ends().map_err(|error| unreachable("sip", &error))?;
    session.send(&options(dialogue, "TCP", ends.0), WHAT).await?;
    loop {
        let line = session.line(WHAT).await?;
        if line.starts_with(b"SIP/2.0 1") {
            skip_headers(session).await?;
            continue;
        }
        if !line.starts_with(GOOD) {
            return Err(session.refused("OPTIONS answered", &line));
        }
        session.done("OPTIONS 200");
        skip_headers(session).await?;
        return Ok(session.up());
    }
}

async fn skip_headers(session: &mut DialogueSession<'_>) -> StepResult<()> {
    for _ in 0..MAX_LINES {
        if session.line("the headers of the answer").await?.is_empty() {
            return Ok(());
        }
    }
    Err(session.down(&format!("more than {MAX_LINES} headers")))
}

/// The check over UDP: one datagram each way. The request is repeated until an answer comes; provisional answers
/// (1xx) are skipped.
pub(super) async fn over_udp(probe: &Probe, dialogue: &DialogueProbe, progress: &Progress) -> StepResult {
    let name = format!("sip udp {}", probe.target);
    let failed = |error: &std::io::Error| unreachable(&name, error);
    let socket = dial::datagrams(probe.target).await.map_err(|error| failed(&error))?;
    let own = socket.local_addr().map_err(|error| failed(&error))?;
    progress.connected(CheckStep::Answer("the answer to OPTIONS"));
    let text = options(dialogue, "UDP", own);
    let mut buffer = vec![0; DATAGRAM];
    let mut wait = AGAIN;
    socket.send(text.as_bytes()).await.map_err(|error| failed(&error))?;
    loop {
        let Ok(received) = timeout(wait, socket.recv(&mut buffer)).await else {
            socket.send(text.as_bytes()).await.map_err(|error| failed(&error))?;
            wait = (wait * 2).min(AGAIN_AT_MOST);
            continue;
        };
        let length = received.map_err(|error| failed(&error))?;
        let datagram = &buffer[..length];
        progress.received(datagram);
        let line = datagram.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.starts_with(b"SIP/2.0 1") {
            // The server has the request and works on it (RFC 3261 17.1.2.2).
            wait = AGAIN_AT_MOST;
            continue;
        }
        let shown = format::beginning(line.strip_suffix(b"\r").unwrap_or(line), 120);
        if !line.starts_with(GOOD) {
            return Err(Verdict::down(format!("{name}: OPTIONS answered {shown}")));
        }
        let complete =
            [&b"\r\n\r\n"[..], b"\n\n"].iter().any(|end| datagram.windows(end.len()).any(|w| w == *end));
        if !complete {
            return Err(Verdict::down(format!(
                "{name}: OPTIONS answered {shown}, but the headers are incomplete"
            )));
        }
        return Ok(Verdict::up(format!("{name}: OPTIONS answered {shown}")));
    }
}

/// The request. `login` is the user it addresses, as in the original.
fn options(dialogue: &DialogueProbe, transport: &str, own: SocketAddr) -> String {
    let (login, once) = (&dialogue.login, unique());
    let lines = [
        format!("OPTIONS sip:{login} SIP/2.0"),
        format!("Via: SIP/2.0/{transport} {own};branch=z9hG4bK{once:016x}"),
        "Max-Forwards: 70".to_owned(),
        format!("To: <sip:{login}>"),
        format!("From: <sip:{login}>;tag={:08x}", once & 0xffff_ffff),
        format!("Call-ID: {:016x}", once.rotate_left(32)),
        "CSeq: 63104 OPTIONS".to_owned(),
        format!("Contact: <sip:{login}>"),
        "Accept: application/sdp".to_owned(),
        "Content-Length: 0".to_owned(),
    ];
    lines.join("\r\n") + "\r\n\r\n"
}

/// A number unique to this request: a proxy treats an equal one as a repetition.
fn unique() -> u64 {
    RandomState::new().build_hasher().finish()
}
