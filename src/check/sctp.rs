//! `checktype=connect` of an SCTP service: the server accepts associations (RFC 9260).

use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::failure::unreachable;
use crate::spec::Probe;
use crate::value::{UnknownCause, Verdict};

/// The cause if the kernel has no SCTP.
const NO_SCTP: &str = "this kernel has no SCTP";

/// Opens an association and closes it. The kernel shuts it down gracefully.
pub(super) async fn run(probe: &Probe) -> Verdict {
    let what = format!("connect to sctp {}", probe.target);
    match connect(probe.target).await {
        Ok(_) => Verdict::up(format!("connected to sctp {}", probe.target)),
        Err(error) if is_unsupported(&error) => {
            let reason = format!("{what}: {NO_SCTP}; load its module: modprobe sctp");
            Verdict::unknown(UnknownCause::OwnLimit(NO_SCTP), reason)
        }
        Err(error) => unreachable(&what, &error),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT))
}

/// Tokio treats this stream like a TCP stream: `connect(2)` works the same for both.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::SCTP))?;
    socket.set_nonblocking(true)?;
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spec::ProbeAction;
    use crate::value::Outcome;

    /// No server listens on this port. If the kernel has no SCTP, the verdict is unknown.
    #[tokio::test]
    async fn a_kernel_without_sctp_is_not_the_servers_fault() {
        let target = "127.0.0.1:9".parse().unwrap();
        let probe = Probe { target, deadline: Duration::from_secs(10), action: ProbeAction::SctpConnect };
        let verdict = run(&probe).await;
        match Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::SCTP)) {
            Ok(_) => assert_eq!(verdict.outcome, Outcome::Down, "{verdict:?}"),
            Err(_) => {
                assert_eq!(verdict.outcome, Outcome::Unknown(UnknownCause::OwnLimit(NO_SCTP)), "{verdict:?}");
                assert!(verdict.reason.ends_with("load its module: modprobe sctp"), "{verdict:?}");
            }
        }
        assert_eq!(probe.to_string(), "connect to sctp 127.0.0.1:9");
    }
}
