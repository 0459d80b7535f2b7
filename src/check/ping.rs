//! `checktype=ping`, and `connect` of a UDP virtual service: ICMP echo.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence, SurgeError};
use tokio::time::{Instant, sleep_until};

use super::failure::unreachable;
use super::progress::{CheckStep, Progress};
use crate::net::{self, local_cause};
use crate::spec::Probe;
use crate::sys::icmp;
use crate::value::{UnknownCause, Verdict};

/// The same size as in the original.
const PAYLOAD: [u8; 64] = [b'a'; 64];

/// One socket per address family, opened by the first ping that needs it and kept. A task of that ping's runtime
/// distributes the replies.
#[derive(Default)]
pub(super) struct Sockets {
    v4: Mutex<Option<Client>>,
    v6: Mutex<Option<Client>>,
    next: AtomicU32,
}

impl Sockets {
    /// Opens both sockets, as far as this process has the privilege.
    pub(super) fn open(&self) {
        for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            drop(self.client(address));
        }
    }

    /// The socket for an address. If it cannot be opened, the next ping tries again.
    fn client(&self, address: IpAddr) -> io::Result<Client> {
        let (kept, kind) = match address {
            IpAddr::V4(_) => (&self.v4, ICMP::V4),
            IpAddr::V6(_) => (&self.v6, ICMP::V6),
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*kept {
            return Ok(client.clone());
        }
        let client = Client::new(&Config::builder().kind(kind).build())?;
        icmp::prepare(&client.get_socket());
        *kept = Some(client.clone());
        Ok(client)
    }

    /// Numbers that no pending echo request has: 65,536 sequence numbers per identifier, then the next identifier.
    fn numbers(&self) -> (PingIdentifier, PingSequence) {
        let [high, low, a, b] = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        // Two daemons on one machine should start with different identifiers.
        let [_, _, c, d] = std::process::id().to_be_bytes();
        let identifier = u16::from_be_bytes([high, low]).wrapping_add(u16::from_be_bytes([c, d]));
        (PingIdentifier(identifier), PingSequence(u16::from_be_bytes([a, b])))
    }
}

/// Sends up to `attempts` echo requests, each with an equal share of the deadline. One reply is enough.
pub(super) async fn run(sockets: &Sockets, probe: &Probe, attempts: u32, progress: &Progress) -> Verdict {
    let address = probe.target.ip();
    let client = match sockets.client(address) {
        Ok(client) => client,
        Err(error) => return no_socket(address, &error),
    };
    let attempts = attempts.max(1);
    let share = probe.deadline / attempts;
    let mut end = Instant::now();
    for attempt in 1..=attempts {
        // A share too large to add is longer than any run.
        end = end.checked_add(share).unwrap_or(end);
        progress.step(CheckStep::Echo(attempt));
        let last = attempt == attempts;
        // The deadline of the whole check ends the last attempt.
        let patience = if last { Duration::MAX } else { end.saturating_duration_since(Instant::now()) };
        match echo(&client, sockets, probe.target, patience).await {
            Ok(()) if attempt == 1 => return Verdict::up(format!("ping {address}: answered")),
            Ok(()) => return Verdict::up(format!("ping {address}: answered at attempt {attempt}")),
            Err(SurgeError::Timeout { .. }) => {}
            // Without a route, or if this machine is at fault, the caller repeats or ends the check.
            Err(SurgeError::IOError(error))
                if last || net::no_route(&error) || local_cause(&error).is_some() =>
            {
                return unreachable(&format!("ping {address}"), &error);
            }
            // The path may recover in the remaining time.
            Err(SurgeError::IOError(_)) => sleep_until(end).await,
            Err(error) => return Verdict::unknown(UnknownCause::Panic, format!("ping {address}: {error}")),
        }
    }
    Verdict::down(progress.overdue(probe.deadline))
}

async fn echo(
    client: &Client,
    sockets: &Sockets,
    target: SocketAddr,
    patience: Duration,
) -> Result<(), SurgeError> {
    let (identifier, sequence) = sockets.numbers();
    let mut pinger = client.pinger(target.ip(), identifier).await;
    if let SocketAddr::V6(v6) = target {
        pinger.scope_id(v6.scope_id());
    }
    pinger.timeout(patience).ping(sequence, &PAYLOAD).await.map(|_| ())
}

/// The verdict if no socket can be opened: unknown.
fn no_socket(address: IpAddr, error: &io::Error) -> Verdict {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let reason = format!(
            "ping {address}: this process is not permitted to send pings: give it CAP_NET_RAW (setcap cap_net_raw+ep, or \
             AmbientCapabilities= of systemd), or permit its group (sysctl net.ipv4.ping_group_range, for IPv6 as well)"
        );
        return Verdict::unknown(UnknownCause::Forbidden("not permitted to send pings"), reason);
    }
    let cause = local_cause(error).unwrap_or(UnknownCause::Forbidden("no ICMP socket"));
    Verdict::unknown(cause, format!("ping {address}: no ICMP socket: {}", net::cause(error)))
}
