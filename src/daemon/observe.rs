//! Watches the configuration file while the daemon runs. A separate task reports when its content has changed.

#![expect(clippy::disallowed_methods, reason = "reads the clock for the tracker")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::load::MAX_SIZE;
pub use super::stable::Observed;
use super::stable::{Tracker, TrackerStep};
use crate::sys::command::aside;
use crate::sys::regular;
use crate::sys::watch::{FileWatch, Hints};

/// Watches one file, until it is dropped.
pub struct ConfigWatcher {
    events: mpsc::Receiver<(u64, Observed)>,
    in_force: watch::Sender<InForce>,
    task: JoinHandle<()>,
}

/// The configuration in force.
#[derive(Clone)]
struct InForce {
    content: Vec<u8>,
    /// The file is read this often even if the system reports nothing.
    interval: Duration,
    /// The number of earlier configurations.
    number: u64,
}

impl ConfigWatcher {
    /// Watches a file whose content is in force.
    #[must_use]
    pub fn new(path: &Path, content: Vec<u8>, interval: Duration) -> ConfigWatcher {
        let (watch, hints) = FileWatch::new(path);
        ConfigWatcher::looked_at_by(look(watch, path.to_owned()), hints, content, interval)
    }

    fn looked_at_by(
        look: ContentReader,
        hints: Hints,
        content: Vec<u8>,
        interval: Duration,
    ) -> ConfigWatcher {
        let (sender, events) = mpsc::channel(1);
        let tracker = Tracker::new(content.clone(), interval, Instant::now());
        let (in_force, receiver) = watch::channel(InForce { content, interval, number: 0 });
        let observer = Observer { look: Some(look), hints, tracker, in_force: receiver };
        ConfigWatcher { events, in_force, task: tokio::spawn(observer.run(sender)) }
    }

    /// Sets the content in force. It is not reported as a change, and earlier observations are dropped.
    pub fn applied(&self, content: Vec<u8>, interval: Duration) {
        self.in_force.send_modify(|now| *now = InForce { content, interval, number: now.number + 1 });
    }

    /// Waits for the next observation. Safe to cancel.
    pub async fn next(&mut self) -> Observed {
        loop {
            match self.events.recv().await {
                Some((number, observed)) if number == self.in_force.borrow().number => return observed,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for ConfigWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches the path of the file and reads it. Returns `None` if it cannot be read. Blocks if a file system hangs.
type ContentReader = Box<dyn FnMut() -> Option<Vec<u8>> + Send>;

fn look(mut watch: FileWatch, path: PathBuf) -> ContentReader {
    Box::new(move || {
        watch.follow();
        regular::read(&path, MAX_SIZE).ok()
    })
}

struct Observer {
    /// `None` while a thread runs it. So if it hangs, no second one is started.
    look: Option<ContentReader>,
    hints: Hints,
    tracker: Tracker,
    in_force: watch::Receiver<InForce>,
}

impl Observer {
    async fn run(mut self, events: mpsc::Sender<(u64, Observed)>) {
        loop {
            let observed = match self.tracker.step(Instant::now()) {
                TrackerStep::Read => self.read().await,
                TrackerStep::Wait(until) => self.wait(until).await,
            };
            let number = self.in_force.borrow().number;
            if let Some(observed) = observed
                && events.send((number, observed)).await.is_err()
            {
                return;
            }
        }
    }

    async fn read(&mut self) -> Option<Observed> {
        let mut look = self.look.take()?;
        let (look, found) = aside(move || {
            let found = look();
            (look, found)
        })
        .await;
        self.look = Some(look);
        self.follow_daemon();
        // If the file changed while it was read, the content may be incomplete.
        match self.hints.next_now() {
            Some(change) => {
                self.tracker.reported(change, Instant::now());
                None
            }
            None => self.tracker.read(found, Instant::now()),
        }
    }

    async fn wait(&mut self, until: Instant) -> Option<Observed> {
        tokio::select! {
            change = self.hints.next() => self.tracker.reported(change, Instant::now()),
            () = tokio::time::sleep_until(until.into()) => {}
            changed = self.in_force.changed() => match changed {
                Ok(()) => self.in_force.mark_changed(),
                // The daemon is stopping, and this task ends with it.
                Err(_) => std::future::pending().await,
            },
        }
        self.follow_daemon();
        self.tracker.overdue(Instant::now())
    }

    fn follow_daemon(&mut self) {
        if self.in_force.has_changed().unwrap_or(false) {
            let now = self.in_force.borrow_and_update();
            self.tracker.in_force(now.content.clone(), now.interval, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const NEVER: Duration = Duration::from_secs(3600);

    async fn next(file: &mut ConfigWatcher) -> Option<Observed> {
        tokio::time::timeout(Duration::from_secs(20), file.next()).await.ok()
    }

    fn changed(content: &str) -> Option<Observed> {
        Some(Observed::Changed(content.as_bytes().to_vec()))
    }

    #[tokio::test]
    async fn a_change_is_seen_and_the_same_content_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf");
        fs::write(&path, "one").unwrap();
        let mut file = ConfigWatcher::new(&path, b"one".to_vec(), NEVER);
        fs::write(&path, "one").unwrap();
        fs::write(&path, "two").unwrap();
        assert_eq!(next(&mut file).await, changed("two"));
        fs::remove_file(&path).unwrap();
        assert_eq!(next(&mut file).await, Some(Observed::Missing));
        // The file returns with the same content, which is not reported.
        fs::write(&path, "two").unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        fs::write(dir.path().join("new"), "three").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(next(&mut file).await, changed("three"));
        assert!(tokio::time::timeout(Duration::from_millis(300), file.next()).await.is_err());
    }

    #[tokio::test]
    async fn what_was_taken_up_meanwhile_is_no_news() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf");
        fs::write(&path, "two").unwrap();
        let mut file = ConfigWatcher::new(&path, b"one".to_vec(), NEVER);
        // Also if the change was seen but not requested yet.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        file.applied(b"two".to_vec(), NEVER);
        assert!(tokio::time::timeout(Duration::from_millis(2500), file.next()).await.is_err());
    }

    #[tokio::test]
    async fn b2_what_is_no_regular_file_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let mut file = ConfigWatcher::new(&path, b"one".to_vec(), NEVER);
        assert_eq!(next(&mut file).await, Some(Observed::Missing));
    }

    /// The test has one thread, as the daemon has: a read that hangs on it would hang the test.
    #[tokio::test]
    async fn b3_a_file_system_that_hangs_keeps_one_thread() {
        let (looks, looked) = std::sync::mpsc::channel();
        let (release, hang) = std::sync::mpsc::channel::<()>();
        let look: ContentReader = Box::new(move || {
            looks.send(()).unwrap();
            let _ = hang.recv();
            Some(b"two".to_vec())
        });
        let (_watch, hints) = FileWatch::new(Path::new("/nowhere/web.cf"));
        let interval = Duration::from_millis(1);
        let mut file = ConfigWatcher::looked_at_by(look, hints, b"one".to_vec(), interval);
        assert!(tokio::time::timeout(Duration::from_millis(300), file.next()).await.is_err());
        assert_eq!(looked.try_iter().count(), 1, "one thread hangs, whatever the interval");
        drop(release);
        assert_eq!(next(&mut file).await, changed("two"));
    }
}
