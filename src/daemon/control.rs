//! Questions to a running daemon: a socket that only its user can open, one JSON document per connection.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::net::cause;
use crate::sys::socket;

/// Someone who asks and does not read is left alone after this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket of a daemon; it goes when this is dropped.
pub struct Control {
    path: PathBuf,
    questions: mpsc::Receiver<Question>,
    task: JoinHandle<()>,
}

/// Somebody wants to know the state.
pub struct Question {
    reply: oneshot::Sender<String>,
}

impl Question {
    /// Gives the answer.
    pub fn answer(self, text: String) {
        // Whoever asked may be gone.
        let _ = self.reply.send(text);
    }
}

impl Control {
    /// Opens the socket, in the place of one whose daemon is gone.
    ///
    /// # Errors
    /// When another daemon of this user or of root listens there, or the directory is not writable.
    pub fn open(path: &Path) -> io::Result<Control> {
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
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let (sender, questions) = mpsc::channel(8);
        Ok(Control { path: path.to_owned(), questions, task: tokio::spawn(listen(listener, sender)) })
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

async fn listen(listener: UnixListener, questions: mpsc::Sender<Question>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (reply, answer) = oneshot::channel();
                if questions.send(Question { reply }).await.is_err() {
                    return;
                }
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, hand_over(stream, answer)).await;
                });
            }
            // No descriptor left: a moment later there may be one.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn hand_over(mut stream: UnixStream, answer: oneshot::Receiver<String>) -> io::Result<()> {
    if let Ok(text) = answer.await {
        stream.write_all(text.as_bytes()).await?;
    }
    stream.shutdown().await
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
        let error = Control::open(&path).err().unwrap();
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
        let _control = Control::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
    }
}
