//! Writes what must outlive the daemon on a thread of its own, so that a file system that hangs delays no check. Of several notes only
//! the newest is written.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::sys::lane::Lane;

/// From an attempt that failed to the next.
const RETRY: Duration = Duration::from_secs(5);
/// A note that is not written after this time is reported.
const LATE: Duration = Duration::from_secs(10);

/// A file, in the hands of its thread.
pub struct Notes<T> {
    path: PathBuf,
    /// What follows where it is not written.
    consequence: &'static str,
    lane: Lane<(u64, Content<T>)>,
    results: mpsc::UnboundedReceiver<(u64, io::Result<()>)>,
    /// What the file says once the thread has done its work.
    newest: Option<Content<T>>,
    /// The number of the newest note, and that of the last one whose end is known.
    number: u64,
    ended: u64,
    /// When to hand the newest note over again: it could not be written.
    retry_at: Option<Instant>,
    /// When to report that the thread does not come to an end.
    late_at: Option<Instant>,
    is_failure_reported: bool,
}

/// The end of an attempt to write.
pub struct Attempt {
    number: u64,
    result: io::Result<()>,
}

/// What the file is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content<T> {
    Says(Arc<T>),
    Gone,
}

impl<T: Clone + PartialEq + Send + Sync + 'static> Notes<T> {
    /// Hands the file to a thread. `write` gets what it is to say; nothing where it is to be removed. `consequence` says what follows
    /// where that does not succeed.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        path: PathBuf,
        consequence: &'static str,
        mut write: impl FnMut(Option<&T>) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Notes<T>> {
        let (sender, results) = mpsc::unbounded_channel();
        let lane = Lane::new(usize::MAX);
        lane.start("note", move |notes: &[((u64, Content<T>), u64)]| {
            let Some(((number, content), _)) = notes.last() else { return };
            let result = match content {
                Content::Says(content) => write(Some(content)),
                Content::Gone => write(None),
            };
            // The daemon may have ended meanwhile.
            let _ = sender.send((*number, result));
        })?;
        Ok(Notes {
            path,
            consequence,
            lane,
            results,
            newest: None,
            number: 0,
            ended: 0,
            retry_at: None,
            late_at: None,
            is_failure_reported: false,
        })
    }

    /// Notes something, if the file does not say it already. Never waits; [`Notes::next`] gives the end.
    pub fn write(&mut self, content: T, now: Instant) {
        self.put(Content::Says(Arc::new(content)), now);
    }

    /// Removes the file: there is nothing to note.
    pub fn remove(&mut self, now: Instant) {
        self.put(Content::Gone, now);
    }

    fn put(&mut self, content: Content<T>, now: Instant) {
        if self.newest.as_ref() == Some(&content) && self.retry_at.is_none() {
            return;
        }
        self.number += 1;
        self.lane.replace((self.number, content.clone()), |_| true);
        self.newest = Some(content);
        self.retry_at = None;
        self.late_at.get_or_insert(now + LATE);
    }

    /// The end of an attempt to write, for [`Notes::take`]. Safe to cancel.
    pub async fn next(&mut self) -> Attempt {
        match self.results.recv().await {
            Some((number, result)) => Attempt { number, result },
            // A bug ended the thread; the note is reported as late.
            None => std::future::pending().await,
        }
    }

    /// Takes the end of an attempt in. Gives whether the file is another one now.
    ///
    /// # Errors
    /// When it could not be written. The next attempts give no error until one has worked.
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

    /// Whether the thread has not done its work yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.ended < self.number
    }

    /// When the time has come to write the note again, or to ask [`Notes::late`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.retry_at, self.late_at].into_iter().flatten().min()
    }

    /// A note that has not been written in time, once.
    pub fn late(&mut self, now: Instant) -> Option<String> {
        self.late_at.take_if(|at| *at <= now)?;
        Some(format!(
            "{} has not been written within {} s: {}; look at its file system, which does not answer",
            self.path.display(),
            LATE.as_secs(),
            self.consequence
        ))
    }
}

/// The end of an attempt to write; never comes where nothing is written.
pub(super) async fn attempt<T: Clone + PartialEq + Send + Sync + 'static>(
    notes: &mut Option<Notes<T>>,
) -> Attempt {
    match notes {
        Some(notes) => notes.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
