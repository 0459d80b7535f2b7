//! The listening socket. It replaces the socket file of a daemon that is gone, and is removed when the daemon ends.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use super::access::DaemonAccess;
use super::rights::Rights;
use super::session::{self, SessionContext};
use crate::sys::socket::{self, SocketFile};

/// Maximum number of connections served at once. Each uses a descriptor and may hold an answer in memory.
const SESSIONS: usize = 32;
/// Maximum number of clients that follow events.
const FOLLOWERS: usize = 32;

/// The socket of a daemon. Dropping it removes the socket file. Clients that have connected before are still answered:
/// that the daemon stops.
#[derive(Debug)]
pub struct ControlSocket {
    _file: SocketFile,
}

impl ControlSocket {
    /// Opens the socket. Replaces the socket file of a daemon that is gone.
    ///
    /// # Errors
    /// Another daemon of this user or of root listens there, or the directory is not writable.
    pub fn open(path: &Path, rights: Rights, access: DaemonAccess) -> io::Result<ControlSocket> {
        // If a group has rights, every user may connect, and each connection is checked by its user.
        let (listener, file) = socket::listen(path, rights.is_open())?;
        let followers = Arc::new(Semaphore::new(FOLLOWERS));
        let shared = SessionContext { access, rights: Arc::new(rights), followers };
        tokio::spawn(listen(UnixListener::from_std(listener)?, shared));
        Ok(ControlSocket { _file: file })
    }
}

/// Serves connections until the daemon stops.
async fn listen(listener: UnixListener, shared: SessionContext) {
    let _busy = shared.access.busy();
    let places = Arc::new(Semaphore::new(SESSIONS));
    loop {
        // Further connections wait in the queue of the socket.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            // Clients in the queue have connected before the stop.
            biased;
            accepted = listener.accept() => accepted,
            () = shared.access.stopping_to_accept() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(session::serve(stream, shared.clone(), place));
            }
            // No descriptor is free: try again soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
