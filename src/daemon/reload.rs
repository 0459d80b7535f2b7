//! Reloads the configuration on a thread, with a time limit. A reload that hangs delays the next one by at most
//! that limit.

#![expect(clippy::disallowed_methods, reason = "a reload has a deadline")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::addresses::{Hosts, InUse};
use super::directory::{Sight, StateDirectory, keys};
use super::load::{self, LoadError, LoadedFile};
use super::maintenance::{Learned, MaintainedServers, MaintenanceDir};
use super::peers::FILES_LIMIT;
use crate::desired;
use crate::spec::Spec;

/// Time limit of a reload. A name lookup takes 40 s if neither of two name servers in resolv.conf answers.
const LIMIT: Duration = Duration::from_secs(60);

/// Maximum number of hanging threads of failed reloads.
const HUNG: usize = 4;

/// Maximum number of plans at the same time.
pub(super) const MOST_PLANS: usize = 4;

/// A configuration that can be applied, and the state of maintenance.
pub struct ToRun {
    /// The configuration.
    pub loaded: LoadedFile,
    /// The rules for files in `maintenancedir`.
    pub rules: Option<MaintenanceDir>,
    /// The servers in maintenance. `None` if the directory cannot be read.
    pub in_maintenance: Option<MaintainedServers>,
    /// The other daemons.
    pub sight: Sight,
}

/// Why the configuration is reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The operator requested it.
    Requested,
    /// The file has changed.
    Changed,
}

/// The input of a reload.
pub struct ReloadInput {
    /// The path of the file.
    pub path: PathBuf,
    /// The content of the file, if already read.
    pub content: Option<Vec<u8>>,
    /// The addresses in use.
    pub in_use: InUse,
    /// The known names of servers, for maintenance.
    pub learned: Learned,
    /// The addresses of names.
    pub hosts: Hosts,
    /// The directory of other daemons. `None` with a table in memory.
    pub peers: Option<StateDirectory>,
    /// The spec in force.
    pub running: Spec,
}

impl ReloadInput {
    /// Reads the file, resolves names, and looks for other daemons. Blocks as long as disks and name servers do.
    pub(super) fn read(self) -> Result<ToRun, LoadError> {
        let loaded = match self.content {
            Some(content) => load::load_content(&self.path, content, &self.in_use),
            None => load::load_for(&self.path, &self.in_use),
        }?;
        let sight = self.peers.map_or_else(Sight::of_none, |peers| peers.look(&self.hosts, FILES_LIMIT));
        let configured = keys(loaded.spec.config());
        // The servers of an offered service stay in maintenance until another daemon takes the service.
        let is_offered = |id| {
            let key = desired::service_key(id);
            !configured.contains(&key) && sight.may_want(&key)
        };
        let offered = self.running.virtuals().iter().filter(|v| is_offered(v.id));
        let servers = offered.flat_map(|v| &v.reals).map(|real| real.address);
        let rules = MaintenanceDir::of(&loaded.spec, servers, self.learned);
        let in_maintenance =
            rules.as_ref().map_or_else(|| Some(MaintainedServers::new()), |rules| rules.look().ok());
        Ok(ToRun { loaded, rules, in_maintenance, sight })
    }
}

/// The reload in progress, if any.
#[derive(Default)]
pub struct Reloads {
    current: Option<Reloading>,
    /// Whether another reload was requested in the meantime.
    again: bool,
    /// Each thread holds a clone, so that the threads can be counted.
    threads: Arc<()>,
    /// Each plan in progress holds a clone.
    plans: Arc<()>,
}

struct Reloading {
    task: JoinHandle<Result<ToRun, LoadError>>,
    cause: Cause,
    path: PathBuf,
    deadline: Instant,
}

impl Reloads {
    /// Whether a reload is in progress.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.current.is_some()
    }

    /// A place for a plan, which is in progress until the place is dropped. `None` if too many are: the file system or
    /// the name server of each may hang.
    #[must_use]
    pub fn place_for_plan(&self) -> Option<Arc<()>> {
        (Arc::strong_count(&self.plans) <= MOST_PLANS).then(|| Arc::clone(&self.plans))
    }

    /// Requests another reload after the one in progress.
    pub fn again(&mut self) {
        self.again = true;
    }

    /// Whether another reload was requested since the last call.
    pub fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// Starts a reload. Drops an earlier reload that is still in progress.
    pub fn start(&mut self, source: ReloadInput, cause: Cause) {
        self.start_with(source.path.clone(), cause, LIMIT, move || source.read());
    }

    fn start_with(
        &mut self,
        path: PathBuf,
        cause: Cause,
        limit: Duration,
        read: impl FnOnce() -> Result<ToRun, LoadError> + Send + 'static,
    ) {
        let hung = Arc::strong_count(&self.threads) - 1;
        let task = if hung < HUNG {
            let thread = Arc::clone(&self.threads);
            tokio::task::spawn_blocking(move || {
                let result = read();
                drop(thread);
                result
            })
        } else {
            let error = late(&path, &format!("{hung} earlier reloads still hang"));
            tokio::spawn(async move { Err(error) })
        };
        self.current = Some(Reloading { task, cause, path, deadline: Instant::now() + limit });
    }

    /// Waits for the end of the reload in progress. Waits forever if there is none. Safe to cancel.
    pub async fn finished(&mut self) -> (Result<ToRun, LoadError>, Cause) {
        let Some(current) = &mut self.current else { return std::future::pending().await };
        let result = match timeout_at(current.deadline, &mut current.task).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(LoadError::Bug(error.to_string())),
            Err(_) => Err(late(&current.path, "the reload took too long")),
        };
        let cause = current.cause;
        self.current = None;
        (result, cause)
    }
}

fn late(path: &Path, why: &str) -> LoadError {
    LoadError::Late { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_hang_leave_no_place_for_more() {
        let reloads = Reloads::default();
        let mut places: Vec<_> = std::iter::from_fn(|| reloads.place_for_plan()).collect();
        assert_eq!(places.len(), MOST_PLANS);
        places.pop();
        assert!(reloads.place_for_plan().is_some());
    }

    /// R72
    #[tokio::test]
    async fn b2_a_reload_that_hangs_fails_and_the_next_one_works() {
        let mut reloads = Reloads::default();
        let path = || PathBuf::from("/etc/ha.d/web.cf");
        let short = Duration::from_millis(50);
        let (release, hang) = std::sync::mpsc::channel::<()>();
        let hang = Arc::new(std::sync::Mutex::new(hang));
        for _ in 0..HUNG {
            let hang = Arc::clone(&hang);
            reloads.start_with(path(), Cause::Requested, short, move || {
                let _ = hang.lock().unwrap().recv();
                Err(LoadError::Bug("released".to_owned()))
            });
            let (result, cause) = reloads.finished().await;
            let lines = result.err().unwrap().lines();
            assert!(lines[0].contains("web.cf: the reload took too long"), "{lines:?}");
            assert_eq!((cause, reloads.is_running()), (Cause::Requested, false));
        }
        let works = || Err(LoadError::Bug("it ran".to_owned()));
        reloads.start_with(path(), Cause::Changed, LIMIT, works);
        let lines = reloads.finished().await.0.err().unwrap().lines();
        assert!(lines[0].contains("4 earlier reloads still hang"), "{lines:?}");
        drop(release);
        // When the file system works again, reloads work again.
        let mut lines = Vec::new();
        for _ in 0..500 {
            reloads.start_with(path(), Cause::Changed, LIMIT, works);
            lines = reloads.finished().await.0.err().unwrap().lines();
            if lines[0].contains("it ran") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{lines:?}");
    }
}
