//! Questions to a running daemon: a socket that only its user can open, one JSON document per connection.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Someone who asks and does not read is left alone after this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// The name of the socket in the state directory.
#[must_use]
pub fn socket_name(name: &str) -> String {
    format!("{name}.sock")
}

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
    /// When another daemon answers there, or the directory is not writable.
    pub fn open(path: &Path) -> io::Result<Control> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("{} belongs to another daemon", path.display()),
            ));
        }
        if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
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
