//! The connection of one request: to an address, or to one of the addresses of a name.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::check::failure::unreachable;
use crate::check::progress::{Progress, Step};
use crate::net::lookup::Lookups;
use crate::net::resolve::ResolveError;
use crate::net::{cause, dial};
use crate::value::{UnknownCause, Verdict};

/// Whom to connect to.
pub(super) enum Peer<'a> {
    Address(SocketAddr),
    /// One of the addresses of this name, and the port.
    Name(&'a str, u16),
}

/// Connects to the peer; of a name, to the first of its addresses that accepts. `server` is the one that is checked.
pub(super) async fn open(
    peer: &Peer<'_>,
    server: SocketAddr,
    lookups: &Lookups,
    progress: &Progress,
) -> Result<(TcpStream, SocketAddr), Verdict> {
    let (name, port) = match *peer {
        Peer::Address(address) => {
            progress.connecting(address);
            let stream = dial::connect(address).await.map_err(|error| failed(address, &error))?;
            return Ok((stream, address));
        }
        Peer::Name(name, port) => (name, port),
    };
    progress.step(Step::Resolve(name.to_owned()));
    let found = match lookups.addresses(name, server).await {
        Ok(found) => found,
        Err(error @ ResolveError::NotFound(_)) => {
            let monitor = format!("500 Can't connect to {name}:{port} (Bad hostname)");
            return Err(Verdict::down(error.to_string()).with_monitor(monitor));
        }
        // The director's own name server: R77.
        Err(error) => return Err(Verdict::unknown(UnknownCause::Resolver, error.to_string())),
    };
    if found.stale {
        progress.warn(Some(format!(
            "the resolver says that {name} does not exist; its answer of less than 5 minutes ago is used"
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

/// The monitor file has the system's own words, which begin with a capital.
fn as_the_system_says(why: &str) -> String {
    let mut letters = why.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
