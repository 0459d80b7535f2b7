//! The listening socket: opened at the start or later, on a thread of its own.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::unistd::gethostname;
use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::connection::serve;
use super::dispatch::{ClientOrigin, HttpContext};
use super::events::FOLLOWERS;
use super::hosts::HostNames;
use crate::control::{DaemonAccess, Rights};
use crate::net::cause;
use crate::settings::{HttpAddress, HttpSettings};
use crate::sys::socket::{self, SocketFile};

/// Maximum number of connections served at once. Further ones wait in the queue of the socket.
pub const CONNECTIONS: usize = 64;
/// Threads that render answers and look up users, at most one for each connection.
const THREADS: usize = CONNECTIONS;
/// Size of the send buffer of a connection in bytes. The kernel doubles it. Without a limit, it would grow to megabytes
/// for a client that reads nothing.
const SEND_BUFFER: usize = 128 * 1024;
/// A connection whose peer confirms nothing for this time is closed.
const LOST_PEER: Duration = Duration::from_secs(30);
/// Time between two attempts to listen: the first, and the longest. The daemon before this one may still have the port
/// for a moment.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// How long the end waits for answers to requests that have arrived.
const END_LIMIT: Duration = Duration::from_secs(1);

/// What the listener needs.
#[derive(Debug)]
pub struct HttpSetup {
    address: HttpAddress,
    hosts: Vec<String>,
    /// The users who may read, of a Unix socket.
    rights: Rights,
    /// The port, opened before privileges were given up.
    opened: Option<io::Result<TcpListener>>,
}

impl HttpSetup {
    /// The listener of the daemon of this name. `None`: the settings have none.
    #[must_use]
    pub fn new(settings: &HttpSettings, name: &str, rights: Rights) -> Option<HttpSetup> {
        let address = settings.listen.of_instance(name);
        let setup = HttpSetup { address, hosts: settings.hosts.clone(), rights, opened: None };
        (setup.address != HttpAddress::Off).then_some(setup)
    }

    /// Opens the port, while the process has the privilege for a port below 1024. An error is logged later.
    pub fn open_port(&mut self) {
        if let HttpAddress::Tcp(address) = self.address {
            self.opened = Some(bind(address));
        }
    }

    fn open(&mut self) -> io::Result<Listener> {
        match &self.address {
            HttpAddress::Off => Err(io::ErrorKind::InvalidInput.into()),
            HttpAddress::Tcp(address) => {
                let listener = self.opened.take().unwrap_or_else(|| bind(*address))?;
                Ok(Listener::Tcp(tokio::net::TcpListener::from_std(listener)?))
            }
            HttpAddress::Unix(path) => {
                // If a group has rights, every user may connect, and each connection is checked by its user.
                let (listener, file) = socket::listen(path, self.rights.is_open())?;
                Ok(Listener::Unix(file, tokio::net::UnixListener::from_std(listener)?))
            }
        }
    }

    /// Opens the socket, and tries again until that succeeds. Each error is logged once.
    async fn open_patiently(&mut self) -> Listener {
        let (mut last, mut delay) = (String::new(), FIRST_RETRY);
        loop {
            let error = match self.open() {
                Ok(listener) => return listener,
                Err(error) => cause(&error),
            };
            if error != last {
                error!(
                    "HTTP: cannot listen on {}: {error}; the daemon works without it and tries again, at least every {} s",
                    self.address,
                    LONGEST_RETRY.as_secs()
                );
                last = error;
            }
            sleep(delay).await;
            delay = (2 * delay).min(LONGEST_RETRY);
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let socket = SockRef::from(&listener);
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_user_timeout(Some(LOST_PEER))?;
    Ok(listener)
}

/// Starts the listener. It ends when the daemon stops. Must be called after privileges were given up.
///
/// # Errors
/// The system has no thread left.
pub fn start(setup: HttpSetup, access: DaemonAccess) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(THREADS).build()?;
    let busy = access.busy();
    thread::Builder::new().name("http".to_owned()).spawn(move || {
        runtime.block_on(run(setup, access));
        runtime.shutdown_background();
        drop(busy);
    })?;
    Ok(())
}

async fn run(mut setup: HttpSetup, access: DaemonAccess) {
    let listener = tokio::select! {
        listener = setup.open_patiently() => listener,
        () = access.stopping() => return,
    };
    info!("HTTP: listening on {}", setup.address);
    if let Some(line) = exposed(&setup.address) {
        warn!("{line}");
    }
    let machine = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let context = Arc::new(HttpContext {
        access,
        hosts: HostNames::new(&setup.hosts, &machine),
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
    });
    let connections = TaskTracker::new();
    accept(listener, &context, &Arc::new(setup.rights), &connections).await;
    connections.close();
    let _ = timeout(END_LIMIT, connections.wait()).await;
}

/// The warning for an address that is every address of the machine.
fn exposed(address: &HttpAddress) -> Option<String> {
    match address {
        HttpAddress::Tcp(address) if address.ip().to_canonical().is_unspecified() => Some(format!(
            "HTTP: {address} is every address of this machine: everyone who reaches it can read the state of the servers; use \
             one address, a firewall, or a Unix socket"
        )),
        _ => None,
    }
}

/// Accepts connections until the daemon stops.
async fn accept(
    listener: Listener,
    context: &Arc<HttpContext>,
    rights: &Arc<Rights>,
    connections: &TaskTracker,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            // Clients in the queue have connected before the stop.
            biased;
            accepted = listener.accept(&places) => accepted,
            () = context.access.stopping_to_accept() => return,
        };
        let context = Arc::clone(context);
        match accepted {
            Ok((Accepted::Tcp(stream), place)) => {
                connections.spawn(async move {
                    serve(stream, context, ClientOrigin::Network).await;
                    drop(place);
                });
            }
            Ok((Accepted::Unix(stream), place)) => {
                let rights = Arc::clone(rights);
                connections.spawn(async move {
                    let may_read = may_read(&stream, rights).await;
                    serve(stream, context, ClientOrigin::Local { may_read }).await;
                    drop(place);
                });
            }
            // No descriptor is free: try again soon.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn may_read(stream: &UnixStream, rights: Arc<Rights>) -> bool {
    let Ok(client) = stream.peer_cred() else { return false };
    tokio::task::spawn_blocking(move || rights.may_read(&client)).await.unwrap_or(false)
}

/// A listening socket.
enum Listener {
    Tcp(tokio::net::TcpListener),
    /// The file is removed while the listener still answers: a later daemon then does not replace the file before.
    Unix(
        #[expect(dead_code, reason = "removes the file when it is dropped")] SocketFile,
        tokio::net::UnixListener,
    ),
}

/// A connection that was accepted.
enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Waits for a place, and then for a connection.
    async fn accept(&self, places: &Arc<Semaphore>) -> io::Result<(Accepted, OwnedSemaphorePermit)> {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return pending().await };
        let accepted = match self {
            Listener::Tcp(listener) => Accepted::Tcp(listener.accept().await?.0),
            Listener::Unix(_, listener) => Accepted::Unix(listener.accept().await?.0),
        };
        Ok((accepted, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_machine_is_a_warning() {
        for (address, is_exposed) in [
            ("0.0.0.0:9754", true),
            ("[::]:9754", true),
            ("[::ffff:0.0.0.0]:9754", true),
            ("127.0.0.1:9754", false),
            ("[::1]:9754", false),
            ("192.0.2.1:9754", false),
        ] {
            let address = HttpAddress::Tcp(address.parse().unwrap());
            assert_eq!(exposed(&address).is_some(), is_exposed, "{address}");
        }
        assert_eq!(exposed(&HttpAddress::Unix("/run/sock".into())), None);
    }
}
