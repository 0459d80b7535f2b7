//! The socket: opened in the place of one whose daemon is gone, closed with the daemon.

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
use super::session::{self, Question, Shared};
use crate::net::cause;
use crate::sys::socket;

/// Connections that are served at once. Each has a descriptor, and may have an answer in memory.
const SESSIONS: usize = 32;
/// Programs that follow events at once.
const FOLLOWERS: usize = 32;
/// Events that a slow reader may be behind before it loses some.
const EVENTS: usize = 4096;

/// The socket of a daemon; it goes when this is dropped.
pub struct Control {
    path: PathBuf,
    questions: mpsc::Receiver<Question>,
    events: broadcast::Sender<Arc<str>>,
    task: JoinHandle<()>,
}

impl Control {
    /// Opens the socket, in the place of one whose daemon is gone.
    ///
    /// # Errors
    /// When another daemon of this user or of root listens there, or the directory is not writable.
    pub fn open(path: &Path, rights: Rights) -> io::Result<Control> {
        if let Ok(found) = fs::symlink_metadata(path)
            && found.file_type().is_socket()
        {
            let own = [0, geteuid().as_raw()].contains(&found.uid());
            // A queue that is full has a listener, which is not asked any further.
            let answers = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
            if own && socket::connect(path).map_or_else(answers, |_| true) {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!("{} belongs to another daemon", path.display()),
                ));
            }
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {}", path.display(), cause(&error)))
        })?;
        // Where members of a group may ask, each connection is judged by its user.
        let mode = if rights.is_open() { 0o666 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        let (sender, questions) = mpsc::channel(8);
        let (events, _) = broadcast::channel(EVENTS);
        let followers = Arc::new(Semaphore::new(FOLLOWERS));
        let shared =
            Shared { questions: sender, events: events.clone(), rights: Arc::new(rights), followers };
        let task = tokio::spawn(listen(listener, shared));
        Ok(Control { path: path.to_owned(), questions, events, task })
    }

    /// Whether a process follows events.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Gives an event to those that follow.
    pub fn publish(&self, line: String) {
        // All of them may be gone by now.
        let _ = self.events.send(Arc::from(line));
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

/// The next question; never comes without a socket. Safe to cancel.
pub async fn next(control: &mut Option<Control>) -> Question {
    match control {
        None => std::future::pending().await,
        Some(control) => match control.questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        },
    }
}

async fn listen(listener: UnixListener, shared: Shared) {
    let places = Arc::new(Semaphore::new(SESSIONS));
    loop {
        // The others wait in the queue of the socket.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(session::serve(stream, shared.clone(), place));
            }
            // No descriptor left: a moment later there may be one.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net;

    /// A runtime whose listener is never polled: what matters is that the calls return.
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
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
        let error = Control::open(&path, Rights::default()).err().unwrap();
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
        let _control = Control::open(&path, Rights::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
    }
}
