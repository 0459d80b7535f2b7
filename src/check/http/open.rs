//! Opens the connection for one request: to an address, or to one of the addresses of a name.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::check::failure::unreachable;
use crate::check::progress::{CheckStep, Progress};
use crate::net::lookup::Lookups;
use crate::net::resolve::ResolveError;
use crate::net::{cause, dial};
use crate::value::{UnknownCause, Verdict};

/// The peer to connect to.
pub(super) enum PeerAddress<'a> {
    Address(SocketAddr),
    /// A host name, which may have several addresses, and the port.
    Name(&'a str, u16),
}

/// Connects to the peer. For a name, to the first of its addresses that accepts. `server` is the checked server.
pub(super) async fn open(
    peer: &PeerAddress<'_>,
    server: SocketAddr,
    lookups: &Lookups,
    progress: &Progress,
) -> Result<(TcpStream, SocketAddr), Verdict> {
    let (name, port) = match *peer {
        PeerAddress::Address(address) => {
            progress.connecting(address);
            let stream = dial::connect(address).await.map_err(|error| failed(address, &error))?;
            return Ok((stream, address));
        }
        PeerAddress::Name(name, port) => (name, port),
    };
    progress.step(CheckStep::Resolve(name.to_owned()));
    let found = match lookups.addresses(name, server).await {
        Ok(found) => found,
        Err(error @ ResolveError::NotFound(_)) => {
            let monitor = format!("500 Can't connect to {name}:{port} (Bad hostname)");
            return Err(Verdict::down(error.to_string()).with_monitor(monitor));
        }
        // The director's name server failed, not the checked server: R77.
        Err(error) => return Err(Verdict::unknown(UnknownCause::Resolver, error.to_string())),
    };
    if found.stale {
        progress.warn(Some(format!(
            "the resolver reports that {name} does not exist; using its last answer, less than 5 minutes old"
        )));
    }
    let mut verdict = Verdict::down(format!("{name} has no address"));
    for address in found.addresses {
        let address = SocketAddr::new(address, port);
        progress.connecting(address);
        match dial::connect(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => verdict = failed(address, &error),
        }
    }
    Err(verdict)
}

fn failed(address: SocketAddr, error: &std::io::Error) -> Verdict {
    let verdict = unreachable(&format!("connect to {address}"), error);
    if verdict.is_unknown() {
        return verdict;
    }
    let why = as_the_system_says(&cause(error));
    verdict.with_monitor(format!("500 Can't connect to {address} ({why})"))
}

/// The monitor file has the system's text, which begins with a capital letter.
fn as_the_system_says(why: &str) -> String {
    let mut letters = why.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
