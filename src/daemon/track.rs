//! Files for keepalived's `track_file`: one for each virtual service, with `0` while it is up and `1` while it is not,
//! by the meaning of `is-up`. A thread writes them, so that a file system that hangs delays no check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipvs_rs::ServiceKey;
use tracing::{error, info};

use crate::desired;
use crate::director::Director;
use crate::net::cause;
use crate::report;
use crate::spec::Spec;
use crate::sys::regular;
use crate::sys::write_queue::WriteQueue;
use crate::value::VirtualId;

/// Time from a failed attempt to the next.
const RETRY: Duration = Duration::from_secs(5);
/// A file that is not written within this time is reported.
const LATE: Duration = Duration::from_secs(10);
/// A longer file is not one of ours.
const LARGEST: u64 = 16;

/// The wanted content of one file. `None`: the file is removed.
type TrackContent = Option<bool>;

/// A handle to the thread that writes the files.
pub(super) struct TrackFiles {
    directory: PathBuf,
    /// Whether each service is up, as last passed to the thread.
    known: BTreeMap<VirtualId, bool>,
    shared: Arc<Mutex<TrackWork>>,
    wakes: WriteQueue<()>,
    /// When to try again after a failure.
    retry_at: Option<Instant>,
    /// When to report that the thread has not finished.
    late_at: Option<Instant>,
}

/// The work of the thread.
#[derive(Default)]
struct TrackWork {
    wanted: BTreeMap<VirtualId, TrackContent>,
    is_busy: bool,
    is_failing: bool,
}

/// The inode of a file, and when that last changed (seconds and nanoseconds).
type FileState = (u64, i64, i64);

/// The files as the thread knows them.
struct Directory {
    path: PathBuf,
    /// The state of each file that this daemon wrote or confirmed. Another daemon may have done so since then.
    own: BTreeMap<VirtualId, FileState>,
    is_failing: bool,
}

/// Starts the thread for the files in a directory, if there is one. Removes the files of services that an earlier run
/// of this daemon had and the spec does not have.
pub(super) fn start(
    directory: Option<PathBuf>,
    previously_owned: &BTreeSet<ServiceKey>,
    spec: &Spec,
    now: Instant,
) -> Option<TrackFiles> {
    let mut files = TrackFiles::start(directory?).inspect_err(|error| {
        error!("[paths] track: no thread for the files: {error}; they are not written until a restart");
    });
    if let Ok(files) = &mut files {
        let gone = previously_owned.iter().map(|key| desired::virtual_id(*key));
        for id in gone.filter(|id| spec.virtual_index(*id).is_none()) {
            files.put(id, None, now);
        }
    }
    files.ok()
}

impl TrackFiles {
    fn start(directory: PathBuf) -> io::Result<TrackFiles> {
        let shared = Arc::new(Mutex::new(TrackWork::default()));
        let wakes = WriteQueue::new(usize::MAX);
        let mut files = Directory { path: directory.clone(), own: BTreeMap::new(), is_failing: false };
        let pending = Arc::clone(&shared);
        wakes.start("track", move |_: &[((), u64)]| files.write_all(&pending))?;
        let known = BTreeMap::new();
        Ok(TrackFiles { directory, known, shared, wakes, retry_at: None, late_at: None })
    }

    /// Writes the files of services that went up or down.
    pub(super) fn update(&mut self, director: &mut Director, now: Instant) {
        for index in director.take_rotated() {
            let is_up = report::any_in_rotation(director.spec(), director.health(), director.table(), index);
            let id = director.spec().virtuals()[index].id;
            if self.known.insert(id, is_up) != Some(is_up) {
                self.put(id, Some(is_up), now);
            }
        }
    }

    /// Removes the files of services that a new spec does not have.
    pub(super) fn set_spec(&mut self, spec: &Spec, now: Instant) {
        let known = std::mem::take(&mut self.known);
        let (kept, gone) = known.into_iter().partition(|(id, _)| spec.virtual_index(*id).is_some());
        self.known = kept;
        for id in gone.into_keys() {
            self.put(id, None, now);
        }
    }

    /// Removes the files of services that no daemon has any more.
    pub(super) fn forget(&mut self, services: &BTreeSet<ServiceKey>, now: Instant) {
        for id in services.iter().map(|key| desired::virtual_id(*key)) {
            self.known.remove(&id);
            self.put(id, None, now);
        }
    }

    /// Writes `1` for services that are given up.
    pub(super) fn give_up(&mut self, services: impl IntoIterator<Item = VirtualId>, now: Instant) {
        for id in services {
            self.known.insert(id, false);
            self.put(id, Some(false), now);
        }
    }

    fn put(&mut self, id: VirtualId, wanted: TrackContent, now: Instant) {
        let mut pending = lock(&self.shared);
        pending.wanted.insert(id, wanted);
        self.late_at.get_or_insert(now + LATE);
        if !std::mem::replace(&mut pending.is_busy, true) {
            // This attempt is the next.
            self.retry_at = None;
            self.wakes.push((), 0);
        }
    }

    /// Tries again after a failure. Returns a line about a file system that does not respond.
    pub(super) fn look(&mut self, now: Instant) -> Option<String> {
        let mut pending = lock(&self.shared);
        if pending.is_busy {
            self.late_at.take_if(|at| *at <= now)?;
            return Some(format!(
                "{} was not written within {} s: keepalived may not learn which services are up; its file system does not respond, \
                 check it",
                self.directory.display(),
                LATE.as_secs()
            ));
        }
        self.late_at = None;
        if !pending.is_failing {
            self.retry_at = None;
        } else if *self.retry_at.get_or_insert(now + RETRY) <= now {
            pending.is_busy = true;
            self.retry_at = None;
            self.late_at = Some(now + LATE);
            self.wakes.push((), 0);
        }
        None
    }

    /// Waits until everything is written, for at most `limit`. Returns a line if something is left.
    pub(super) fn finish(&self, limit: Duration) -> Option<String> {
        (self.wakes.flush(limit) > 0).then(|| {
            let path = self.directory.display();
            format!("{path} was not written before the daemon ended: its files may be out of date")
        })
    }

    /// When to call [`TrackFiles::look`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.retry_at, self.late_at].into_iter().flatten().min()
    }
}

impl Directory {
    /// Writes everything that is wanted. What fails stays wanted. A failure is reported once.
    fn write_all(&mut self, pending: &Mutex<TrackWork>) {
        loop {
            let wanted = std::mem::take(&mut lock(pending).wanted);
            let mut failed = Vec::new();
            for (id, wanted) in wanted {
                if let Err(error) = self.write(id, wanted) {
                    failed.push((id, wanted, error));
                }
            }
            self.report(failed.first().map(|(_, _, error)| error));
            let mut pending = lock(pending);
            pending.is_failing = !failed.is_empty();
            let is_done = pending.wanted.is_empty() || pending.is_failing;
            for (id, wanted, _) in failed {
                pending.wanted.entry(id).or_insert(wanted);
            }
            if is_done {
                pending.is_busy = false;
                return;
            }
        }
    }

    fn report(&mut self, failure: Option<&io::Error>) {
        let path = self.path.display();
        match (failure, std::mem::replace(&mut self.is_failing, failure.is_some())) {
            (Some(error), false) => error!(
                "{path} cannot be written: {}; keepalived does not learn which services are up. It is tried again every {} s",
                cause(error),
                RETRY.as_secs()
            ),
            (None, true) => info!("{path} is written again"),
            _ => {}
        }
    }

    fn write(&mut self, id: VirtualId, wanted: TrackContent) -> io::Result<()> {
        let path = self.path.join(id.qualified());
        let Some(is_up) = wanted else { return self.remove(id, &path) };
        let content = if is_up { "0\n" } else { "1\n" };
        // keepalived reads the file at each change: a restart of the daemon is not a change.
        if regular::read(&path, LARGEST).ok().as_deref() != Some(content.as_bytes()) {
            DirBuilder::new().recursive(true).mode(0o755).create(&self.path)?;
            regular::replace(&path, content.as_bytes(), 0o644)?;
        } else if !self.own.contains_key(&id) {
            // Another daemon may have written it, which must not remove it any more.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
        self.own.insert(id, file_state(&path)?);
        Ok(())
    }

    /// Removes the file of a service, unless another daemon has written it since.
    fn remove(&mut self, id: VirtualId, path: &Path) -> io::Result<()> {
        let found = match file_state(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        if self.own.get(&id).is_none_or(|own| *own == found) {
            regular::remove(path)?;
        }
        self.own.remove(&id);
        Ok(())
    }
}

fn file_state(path: &Path) -> io::Result<FileState> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.ino(), found.ctime(), found.ctime_nsec()))
}

fn lock(pending: &Mutex<TrackWork>) -> MutexGuard<'_, TrackWork> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::harness::{Harness, spec};

    const TWO: &str = "quiescent=no\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n\tfallback=127.0.0.1:80 gate\nvirtual=5\n\treal=10.0.0.4:80 gate\n";

    struct Site {
        harness: Harness,
        track: TrackFiles,
        directory: tempfile::TempDir,
    }

    impl Site {
        fn new() -> Site {
            let directory = tempfile::tempdir().unwrap();
            let mut harness = Harness::new();
            harness.start(spec(TWO));
            let path = directory.path().join("track");
            let now = harness.now;
            let track = start(Some(path), &BTreeSet::new(), harness.director().spec(), now).unwrap();
            Site { harness, track, directory }
        }

        /// The name and content of each file.
        fn files(&mut self) -> Vec<(String, String)> {
            let now = self.harness.now;
            self.track.update(self.harness.director(), now);
            self.written()
        }

        fn written(&self) -> Vec<(String, String)> {
            assert_eq!(self.track.wakes.flush(Duration::from_secs(20)), 0);
            let entries = fs::read_dir(self.directory.path().join("track")).unwrap();
            let mut files: Vec<(String, String)> = entries
                .map(|entry| {
                    let entry = entry.unwrap();
                    let name = entry.file_name().into_string().unwrap();
                    (name, fs::read_to_string(entry.path()).unwrap())
                })
                .collect();
            files.sort();
            files
        }

        fn inode(&self, name: &str) -> u64 {
            fs::metadata(self.directory.path().join("track").join(name)).unwrap().ino()
        }

        fn find(&mut self, server: &str, outcome: crate::value::Outcome) {
            self.harness.outcomes.insert(server.parse().unwrap(), outcome);
            self.harness.round();
        }
    }

    fn both(mark: &str, tcp: &str) -> Vec<(String, String)> {
        let file = |name: &str, content: &str| (name.to_owned(), format!("{content}\n"));
        vec![file("fwm:5", mark), file("tcp:10.0.0.1:80", tcp)]
    }

    #[test]
    fn a_service_is_up_with_a_server_in_rotation() {
        use crate::value::Outcome::{Down, Up};
        let mut site = Site::new();
        // Only the fallback is in the table.
        assert_eq!(site.files(), both("1", "1"));
        site.harness.round();
        assert_eq!(site.files(), both("0", "0"));
        let before = site.inode("tcp:10.0.0.1:80");
        site.find("10.0.0.2:80", Down);
        assert_eq!(site.files(), both("0", "0"));
        assert_eq!(site.inode("tcp:10.0.0.1:80"), before, "written without a change");
        site.find("10.0.0.3:80", Down);
        assert_eq!(site.files(), both("0", "1"));
        site.find("10.0.0.3:80", Up);
        assert_eq!(site.files(), both("0", "0"));
        // A drained server is not in rotation.
        let now = site.harness.now;
        let drain = crate::health::Override {
            what: crate::health::What::Drain,
            owner: crate::health::Owner::Operator("anna".to_owned()),
            reason: String::new(),
            since: now,
            until: None,
        };
        let mark = "10.0.0.4:80".parse().unwrap();
        site.harness.director().override_server(None, mark, &drain, true, now).unwrap();
        site.harness.settle();
        assert_eq!(site.files(), both("1", "0"));
    }

    #[test]
    fn files_end_with_their_services_and_a_stop_leaves_a_1() {
        let mut site = Site::new();
        site.harness.round();
        assert_eq!(site.files(), both("0", "0"));
        let next = spec("virtual=5\n\treal=10.0.0.4:80 gate\n");
        let now = site.harness.now;
        site.harness.reload(next.clone());
        site.track.set_spec(&next, now);
        assert_eq!(site.files(), both("0", "")[..1]);
        site.track.give_up(["fwm:5".parse().unwrap()], now);
        assert_eq!(site.written(), both("1", "")[..1]);
        // An earlier run had another service, which this one does not have.
        let path = site.directory.path().join("track");
        fs::write(path.join("tcp:10.0.0.1:80"), "0\n").unwrap();
        let earlier = BTreeSet::from([desired::service_key("tcp:10.0.0.1:80".parse().unwrap())]);
        site.track = start(Some(path), &earlier, &next, now).unwrap();
        assert_eq!(site.written(), both("1", "")[..1]);
    }

    /// Another daemon, to which the service moved, writes the same file.
    #[test]
    fn the_file_of_another_daemon_is_not_removed() {
        let mut site = Site::new();
        site.files();
        let file = site.directory.path().join("track/fwm:5");
        regular::replace(&file, b"0\n", 0o644).unwrap();
        let now = site.harness.now;
        site.track.put("fwm:5".parse().unwrap(), None, now);
        assert_eq!(site.written(), both("0", "1"));
    }

    /// A write that succeeds meanwhile ends the wait: the loop must not wake again and again.
    #[test]
    fn a_later_write_replaces_the_next_attempt() {
        let mut site = Site::new();
        let path = site.directory.path().join("track");
        fs::write(&path, "in the way").unwrap();
        let now = site.harness.now;
        site.track.update(site.harness.director(), now);
        assert_eq!(site.track.wakes.flush(Duration::from_secs(20)), 0);
        assert_eq!(site.track.look(now), None);
        fs::remove_file(&path).unwrap();
        site.track.put("tcp:10.0.0.1:80".parse().unwrap(), Some(true), now);
        assert_eq!(site.track.wakes.flush(Duration::from_secs(20)), 0);
        assert_eq!(site.track.look(now + RETRY), None);
        assert_eq!(site.track.poll_timeout(), None);
        assert_eq!(site.written().len(), 2);
    }

    /// A service moves from one daemon to another that wants the same content.
    #[test]
    fn a_file_that_another_daemon_confirmed_stays() {
        let directory = tempfile::tempdir().unwrap();
        let daemon =
            || Directory { path: directory.path().to_owned(), own: BTreeMap::new(), is_failing: false };
        let (mut one, mut two) = (daemon(), daemon());
        let id: VirtualId = "tcp:10.0.0.1:80".parse().unwrap();
        one.write(id, Some(true)).unwrap();
        // The clock of a file system has ticks.
        std::thread::sleep(Duration::from_millis(50));
        two.write(id, Some(true)).unwrap();
        one.write(id, None).unwrap();
        assert_eq!(fs::read_to_string(directory.path().join(id.qualified())).unwrap(), "0\n");
        two.write(id, None).unwrap();
        assert!(!directory.path().join(id.qualified()).exists());
    }

    #[test]
    fn a_failed_write_is_tried_again() {
        let mut site = Site::new();
        let path = site.directory.path().join("track");
        fs::write(&path, "in the way").unwrap();
        let now = site.harness.now;
        site.track.update(site.harness.director(), now);
        assert_eq!(site.track.wakes.flush(Duration::from_secs(20)), 0);
        let now = site.harness.now;
        assert_eq!(site.track.look(now), None);
        assert_eq!(site.track.poll_timeout(), Some(now + RETRY));
        fs::remove_file(&path).unwrap();
        assert_eq!(site.track.look(now + RETRY), None);
        assert_eq!(site.written(), both("1", "1"));
        assert_eq!(site.track.look(now + RETRY), None);
        assert_eq!(site.track.poll_timeout(), None);
    }

    #[test]
    fn a_thread_that_hangs_is_reported_once() {
        let mut site = Site::new();
        lock(&site.track.shared).is_busy = true;
        let now = site.harness.now;
        site.track.put("fwm:5".parse().unwrap(), Some(true), now);
        assert_eq!(site.track.look(now), None);
        let line = site.track.look(now + LATE).unwrap();
        assert!(line.contains("/track was not written within 10 s"), "{line}");
        assert_eq!(site.track.look(now + 2 * LATE), None);
    }
}
