//! `udpprobe`: a datagram to a UDP service. ICMP reports a closed port (RFC 1122 4.1.3.1); an answer may be required.

use std::time::Duration;

use tokio::time::timeout;

use super::failure::unreachable;
use super::format::spoken;
use super::progress::{CheckStep, Progress};
use super::{format, matching};
use crate::net::dial::{self, Datagrams};
use crate::spec::{DatagramProbe, Probe};
use crate::value::{Pattern, Verdict};

/// The largest datagram.
const DATAGRAM: usize = 65_536;
/// A datagram may be lost: it is sent again after this time. An ICMP error takes no longer, either.
const AGAIN: Duration = Duration::from_secs(1);
/// The most bytes of an answer that are shown.
const SHOWN: usize = 60;

/// Sends the datagram and waits for the answer. If none is required, for an ICMP error.
pub(super) async fn run(probe: &Probe, datagram: &DatagramProbe, progress: &Progress) -> Verdict {
    let failed = |error: &std::io::Error| unreachable(&format!("udp {}", probe.target), error);
    let socket = match dial::datagrams(probe.target).await {
        Ok(socket) => socket,
        Err(error) => return failed(&error),
    };
    progress.connected(CheckStep::Answer("the answer"));
    let asked = match &datagram.reply {
        Some(reply) => answered(&socket, probe, &datagram.payload, reply, progress).await,
        None => not_refused(&socket, probe, &datagram.payload).await,
    };
    asked.unwrap_or_else(|error| failed(&error))
}

async fn answered(
    socket: &Datagrams,
    probe: &Probe,
    payload: &[u8],
    reply: &Pattern,
    progress: &Progress,
) -> std::io::Result<Verdict> {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        socket.send(payload).await?;
        // The deadline of the check ends this.
        let Ok(received) = timeout(AGAIN, socket.recv(&mut buffer)).await else { continue };
        let answer = &buffer[..received?];
        progress.received(answer);
        let (target, source) = (probe.target, reply.source());
        let shown = format::beginning(answer, SHOWN);
        return Ok(match matching::is_match(reply, answer, progress).await {
            Ok(true) => Verdict::up(format!("udp {target}: the answer {shown} matches /{source}/")),
            Ok(false) => Verdict::down(format!("udp {target}: the answer {shown} does not match /{source}/")),
            Err(limit) => Verdict::down(format!("udp {target}: the answer {shown}, but /{source}/: {limit}")),
        });
    }
}

/// Waits for an ICMP error for half of the deadline, at most one second: longer than the round trip.
async fn not_refused(socket: &Datagrams, probe: &Probe, payload: &[u8]) -> std::io::Result<Verdict> {
    let patience = AGAIN.min(probe.deadline / 2);
    socket.send(payload).await?;
    let mut buffer = [0; 1];
    let target = probe.target;
    match timeout(patience, socket.recv(&mut buffer)).await {
        Ok(Ok(_)) => Ok(Verdict::up(format!("udp {target}: answered"))),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(Verdict::up(format!("udp {target}: sent, not refused within {}", spoken(patience)))),
    }
}
