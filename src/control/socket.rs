//! The listening socket. It replaces the socket file of a daemon that is gone, and is removed when the daemon ends.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::task::JoinHandle;

use super::rights::Rights;
use super::session::{self, LoopRequest, SessionContext};
use crate::net::cause;
use crate::report::CounterSource;
use crate::sys::socket;

/// Maximum number of connections served at once. Each uses a descriptor and may hold an answer in memory.
const SESSIONS: usize = 32;
/// Maximum number of clients that follow events.
const FOLLOWERS: usize = 32;
/// Maximum number of events buffered for a slow client before it loses some.
const EVENTS: usize = 4096;

/// The socket of a daemon. Dropping it removes the socket file.
pub struct ControlSocket {
    path: PathBuf,
    questions: mpsc::Receiver<LoopRequest>,
    events: broadcast::Sender<Arc<str>>,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Opens the socket. Replaces the socket file of a daemon that is gone.
    ///
    /// # Errors
    /// Another daemon of this user or of root listens there, or the directory is not writable.
    pub fn open(path: &Path, rights: Rights, counters: CounterSource) -> io::Result<ControlSocket> {
        if let Ok(found) = fs::symlink_metadata(path)
            && found.file_type().is_socket()
        {
            let own = [0, geteuid().as_raw()].contains(&found.uid());
            // A full connection queue means that a daemon listens.
            let answers = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
            if own && socket::connect(path).map_or_else(answers, |_| true) {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!("{}: another daemon listens on this socket", path.display()),
                ));
            }
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {}", path.display(), cause(&error)))
        })?;
        // If a group has rights, every user may connect, and each connection is checked by its user.
        let mode = if rights.is_open() { 0o666 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        let (sender, questions) = mpsc::channel(8);
        let (events, _) = broadcast::channel(EVENTS);
        let followers = Arc::new(Semaphore::new(FOLLOWERS));
        let shared = SessionContext {
            questions: sender,
            events: events.clone(),
            rights: Arc::new(rights),
            followers,
            large: Arc::new(Semaphore::new(1)),
            counters,
        };
        let task = tokio::spawn(listen(listener, shared));
        Ok(ControlSocket { path: path.to_owned(), questions, events, task })
    }

    /// Whether a client follows events.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Sends an event to all clients that follow events.
    pub fn publish(&self, line: String) {
        // All clients may be gone.
        let _ = self.events.send(Arc::from(line));
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

/// Waits for the next request. Waits forever without a socket. Safe to cancel.
pub async fn next(control: &mut Option<ControlSocket>) -> LoopRequest {
    match control {
        None => std::future::pending().await,
        Some(control) => match control.questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        },
    }
}

async fn listen(listener: UnixListener, shared: SessionContext) {
    let places = Arc::new(Semaphore::new(SESSIONS));
    loop {
        // Further connections wait in the queue of the socket.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(session::serve(stream, shared.clone(), place));
            }
            // No descriptor is free: try again soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net;

    /// A runtime whose listener is never polled: the tests check only that the calls return.
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
    }

    fn no_counters() -> CounterSource {
        Arc::new(|_| Err(String::new()))
    }

    #[test]
    fn c2_a_full_socket_does_not_hang_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let _full = net::UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = socket::connect(&path) {
            waiting.push(stream);
        }
        let runtime = runtime();
        let _inside = runtime.enter();
        let error = ControlSocket::open(&path, Rights::default(), no_counters()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    }

    #[test]
    fn c2_a_socket_of_another_user_is_replaced() {
        if !geteuid().is_root() {
            println!("skipped: only root can give a socket away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let _foreign = net::UnixListener::bind(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let runtime = runtime();
        let _inside = runtime.enter();
        let _control = ControlSocket::open(&path, Rights::default(), no_counters()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
    }
}
