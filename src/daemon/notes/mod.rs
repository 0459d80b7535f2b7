//! Writes data that must outlive the daemon on a separate thread, so that a file system that hangs delays no check.
//! Of several pending notes only the newest is written.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::sys::write_queue::WriteQueue;

/// Time from a failed attempt to the next.
const RETRY: Duration = Duration::from_secs(5);
/// A note that is not written within this time is reported.
const LATE: Duration = Duration::from_secs(10);

/// A handle to the thread that writes one file.
pub struct NoteWriter<T> {
    path: PathBuf,
    /// The consequence if the file is not written, for messages.
    consequence: &'static str,
    queue: WriteQueue<(u64, Content<T>)>,
    results: mpsc::UnboundedReceiver<(u64, io::Result<()>)>,
    /// The content of the file once the thread has finished.
    newest: Option<Content<T>>,
    /// The numbers of the newest note, and of the last finished one.
    number: u64,
    ended: u64,
    /// When to write the newest note again after a failure.
    retry_at: Option<Instant>,
    /// When to report that the thread has not finished.
    late_at: Option<Instant>,
    is_failure_reported: bool,
}

/// The result of an attempt to write.
pub struct Attempt {
    number: u64,
    result: io::Result<()>,
}

/// The wanted state of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content<T> {
    Says(Arc<T>),
    Gone,
}

impl<T: Clone + PartialEq + Send + Sync + 'static> NoteWriter<T> {
    /// Starts the thread for the file. `write` gets the content, or `None` to remove the file. `consequence`: the
    /// consequence of a failure, for messages.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(
        path: PathBuf,
        consequence: &'static str,
        mut write: impl FnMut(Option<&T>) -> io::Result<()> + Send + 'static,
    ) -> io::Result<NoteWriter<T>> {
        let (sender, results) = mpsc::unbounded_channel();
        let queue = WriteQueue::new(usize::MAX);
        queue.start("note", move |notes: &[((u64, Content<T>), u64)]| {
            let Some(((number, content), _)) = notes.last() else { return };
            let result = match content {
                Content::Says(content) => write(Some(content)),
                Content::Gone => write(None),
            };
            // The daemon may have ended in the meantime.
            let _ = sender.send((*number, result));
        })?;
        Ok(NoteWriter {
            path,
            consequence,
            queue,
            results,
            newest: None,
            number: 0,
            ended: 0,
            retry_at: None,
            late_at: None,
            is_failure_reported: false,
        })
    }

    /// Writes the content, unless the file already has it. Never waits; [`NoteWriter::next`] returns the result.
    pub fn write(&mut self, content: T, now: Instant) {
        self.put(Content::Says(Arc::new(content)), now);
    }

    /// Removes the file.
    pub fn remove(&mut self, now: Instant) {
        self.put(Content::Gone, now);
    }

    fn put(&mut self, content: Content<T>, now: Instant) {
        if self.newest.as_ref() == Some(&content) && self.retry_at.is_none() {
            return;
        }
        self.number += 1;
        self.queue.replace((self.number, content.clone()), |_| true);
        self.newest = Some(content);
        self.retry_at = None;
        self.late_at.get_or_insert(now + LATE);
    }

    /// Waits for the result of an attempt, for [`NoteWriter::take`]. Safe to cancel.
    pub async fn next(&mut self) -> Attempt {
        match self.results.recv().await {
            Some((number, result)) => Attempt { number, result },
            // A bug ended the thread; the note is reported as late.
            None => std::future::pending().await,
        }
    }

    /// Processes the result of an attempt. Returns whether the file has changed.
    ///
    /// # Errors
    /// The file could not be written. Further failures return no error until an attempt has succeeded.
    pub fn take(&mut self, Attempt { number, result }: Attempt, now: Instant) -> io::Result<bool> {
        self.ended = number;
        let is_newest = number == self.number;
        if is_newest {
            self.late_at = None;
            self.retry_at = result.is_err().then(|| now + RETRY);
        }
        match result {
            Ok(()) => {
                self.is_failure_reported = false;
                Ok(true)
            }
            Err(_) if std::mem::replace(&mut self.is_failure_reported, true) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the thread has not finished yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.ended < self.number
    }

    /// Whether the file has the newest note.
    #[must_use]
    pub fn is_saved(&self) -> bool {
        !self.is_pending() && self.retry_at.is_none()
    }

    /// When to write the note again, or to call [`NoteWriter::late`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.retry_at, self.late_at].into_iter().flatten().min()
    }

    /// Reports a note that was not written in time, once.
    pub fn late(&mut self, now: Instant) -> Option<String> {
        self.late_at.take_if(|at| *at <= now)?;
        Some(format!(
            "{} was not written within {} s: {}; its file system does not respond, check it",
            self.path.display(),
            LATE.as_secs(),
            self.consequence
        ))
    }
}

/// Waits for the result of an attempt to write. Waits forever if there is no file.
pub(super) async fn attempt<T: Clone + PartialEq + Send + Sync + 'static>(
    notes: &mut Option<NoteWriter<T>>,
) -> Attempt {
    match notes {
        Some(notes) => notes.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
