//! The configuration file while the daemon runs: a task of its own says when its content has changed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::sys::watch::FileWatch;

/// After a hint this much quiet, and the same content twice, make a change: nobody is in the middle of writing.
const QUIET: Duration = Duration::from_millis(100);
/// A file that never stops changing is looked at again at the next interval.
const READS: usize = 20;

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Another content than the last one that was seen or taken up.
    Changed,
    /// The file cannot be opened where it could be before.
    Missing,
}

/// The observer of one file. It ends when this is dropped.
pub struct ConfigFile {
    events: mpsc::Receiver<Observed>,
    in_force: watch::Sender<InForce>,
    task: JoinHandle<()>,
}

/// What the daemon goes by.
#[derive(Clone)]
struct InForce {
    content: Vec<u8>,
    /// The file is looked at this often even if the system reports nothing.
    interval: Duration,
}

impl ConfigFile {
    /// Observes a file whose content is in force.
    #[must_use]
    pub fn new(path: &Path, content: Vec<u8>, interval: Duration) -> ConfigFile {
        let (sender, events) = mpsc::channel(1);
        let (in_force, receiver) = watch::channel(InForce { content: content.clone(), interval });
        let observer = Observer {
            path: path.to_owned(),
            watch: FileWatch::new(path),
            content,
            missing: false,
            in_force: receiver,
        };
        ConfigFile { events, in_force, task: tokio::spawn(observer.run(sender)) }
    }

    /// The content that is in force from now on; it is no news.
    pub fn taken_up(&self, content: Vec<u8>, interval: Duration) {
        self.in_force.send_replace(InForce { content, interval });
    }

    /// What was seen next. Safe to cancel.
    pub async fn next(&mut self) -> Observed {
        match self.events.recv().await {
            Some(observed) => observed,
            None => std::future::pending().await,
        }
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Observer {
    path: PathBuf,
    watch: FileWatch,
    /// The content that was last seen, or is in force.
    content: Vec<u8>,
    missing: bool,
    in_force: watch::Receiver<InForce>,
}

impl Observer {
    async fn run(mut self, events: mpsc::Sender<Observed>) {
        loop {
            let interval = self.in_force.borrow().interval;
            tokio::select! {
                () = self.watch.hint() => {}
                () = tokio::time::sleep(interval) => {}
                changed = self.in_force.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.content = self.in_force.borrow_and_update().content.clone();
                }
            }
            if let Some(observed) = self.look().await
                && events.send(observed).await.is_err()
            {
                return;
            }
        }
    }

    async fn look(&mut self) -> Option<Observed> {
        self.watch.follow();
        let mut before = read(&self.path).await;
        for _ in 0..READS {
            if before.as_deref().is_ok_and(|content| content == self.content) {
                self.missing = false;
                return None;
            }
            tokio::time::sleep(QUIET).await;
            let now = read(&self.path).await;
            match (before, now) {
                (Ok(one), Ok(two)) if one == two => {
                    self.content = two;
                    self.missing = false;
                    return Some(Observed::Changed);
                }
                (Err(_), Err(_)) => {
                    return (!std::mem::replace(&mut self.missing, true)).then_some(Observed::Missing);
                }
                (_, now) => before = now,
            }
        }
        None
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, ErrorKind> {
    tokio::fs::read(path).await.map_err(|error| error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const NEVER: Duration = Duration::from_secs(3600);

    async fn next(file: &mut ConfigFile) -> Option<Observed> {
        tokio::time::timeout(Duration::from_secs(5), file.next()).await.ok()
    }

    #[tokio::test]
    async fn a_change_is_seen_and_the_same_content_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf");
        fs::write(&path, "one").unwrap();
        let mut file = ConfigFile::new(&path, b"one".to_vec(), NEVER);
        fs::write(&path, "one").unwrap();
        fs::write(&path, "two").unwrap();
        assert_eq!(next(&mut file).await, Some(Observed::Changed));
        fs::remove_file(&path).unwrap();
        assert_eq!(next(&mut file).await, Some(Observed::Missing));
        // It comes back as it was: no news, so the next thing seen is the change after it.
        fs::write(&path, "two").unwrap();
        tokio::time::sleep(QUIET * 5).await;
        fs::write(&path, "three").unwrap();
        assert_eq!(next(&mut file).await, Some(Observed::Changed));
        assert!(tokio::time::timeout(QUIET * 3, file.next()).await.is_err());
    }

    #[tokio::test]
    async fn what_was_taken_up_meanwhile_is_no_news() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf");
        fs::write(&path, "two").unwrap();
        let mut file = ConfigFile::new(&path, b"one".to_vec(), NEVER);
        file.taken_up(b"two".to_vec(), NEVER);
        assert!(tokio::time::timeout(QUIET * 5, file.next()).await.is_err());
    }
}
