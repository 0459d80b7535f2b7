//! Watches a file or a directory. The system's events are only hints to read the file again; the content decides.
//!
//! Editors and configuration tools replace files, and links to them, instead of writing to them. So every directory
//! with a link or a name of the path is watched.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use file_watch::event::{AccessKind, AccessMode, ModifyKind};
use file_watch::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

/// The longest chain of links, as in the kernel (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

/// What happened to a watched name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// Another file, link or directory was renamed or linked into place, or it was removed.
    Replaced,
    /// A file is being written in place.
    Written,
    /// A program that could write to the file has closed it.
    Closed,
    /// The system lost events, or reported none yet.
    Unknown,
}

/// The watch on one path. It ends when this value is dropped.
pub struct FileWatch {
    path: PathBuf,
    watcher: Option<RecommendedWatcher>,
    watched: Arc<Mutex<Watched>>,
}

/// Watched directories and names.
struct Watched {
    directories: BTreeSet<PathBuf>,
    /// The names whose changes count. `None`: all names in the directories.
    names: Option<BTreeSet<OsString>>,
}

/// The changes of one [`FileWatch`].
pub struct Hints(watch::Receiver<Hint>);

/// The changes so far. Only the last one counts: it shows whether the file may still be being written.
#[derive(Clone, Copy, Debug)]
struct Hint {
    count: u64,
    last: FileChange,
}

impl FileWatch {
    /// A watch on a path, which need not exist. It starts with the first [`FileWatch::follow`]. If the system has no
    /// watches left, there are no hints; the caller also reads the file at intervals.
    #[must_use]
    pub fn new(path: &Path) -> (FileWatch, Hints) {
        FileWatch::of(path.to_owned(), Some(BTreeSet::new()))
    }

    /// As [`FileWatch::new`], for all names in a directory.
    #[must_use]
    pub fn directory(path: &Path) -> (FileWatch, Hints) {
        FileWatch::of(path.join("*"), None)
    }

    fn of(path: PathBuf, names: Option<BTreeSet<OsString>>) -> (FileWatch, Hints) {
        let (sender, hints) = watch::channel(Hint { count: 0, last: FileChange::Unknown });
        let watched = Arc::new(Mutex::new(Watched { directories: BTreeSet::new(), names }));
        let known = Arc::clone(&watched);
        let report = move |event: file_watch::Result<Event>| {
            // An error of the watch may have hidden any change.
            let event = event.unwrap_or_else(|_| Event::new(EventKind::Other));
            if lock(&known).concerns(&event) {
                let change = change(&event);
                sender.send_modify(|hint| {
                    *hint = Hint { count: hint.count + 1, last: change.unwrap_or(hint.last) };
                });
            }
        };
        let watcher = file_watch::recommended_watcher(report).ok();
        (FileWatch { path, watcher, watched }, Hints(hints))
    }

    /// Watches the directories that the path leads through now. Call it after each hint. Blocks if a file system hangs.
    pub fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let way = Way::of(&self.path);
        let before = {
            let mut watched = lock(&self.watched);
            if watched.names.is_some() {
                watched.names = Some(way.names);
            }
            std::mem::replace(&mut watched.directories, way.directories.clone())
        };
        for gone in before.difference(&way.directories) {
            let _ = watcher.unwatch(gone);
        }
        // A replaced directory of the same name has lost its watch, so add all again.
        for directory in way.directories {
            let _ = watcher.watch(&directory, RecursiveMode::NonRecursive);
        }
    }
}

impl Hints {
    /// Waits until a watched name has changed since the last call, and returns the last change. Safe to cancel.
    pub async fn next(&mut self) -> FileChange {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.0.borrow_and_update().last
    }

    /// As [`Hints::next`], without waiting.
    pub fn next_now(&mut self) -> Option<FileChange> {
        self.0.has_changed().is_ok_and(|changed| changed).then(|| self.0.borrow_and_update().last)
    }
}

impl Watched {
    /// Whether an event can mean that the content has changed.
    fn concerns(&self, event: &Event) -> bool {
        let is_ours = |path: &PathBuf| {
            let named = |names: &BTreeSet<OsString>| path.file_name().is_none_or(|name| names.contains(name));
            self.names.as_ref().is_none_or(named) || self.directories.contains(path)
        };
        let reads = matches!(event.kind, EventKind::Access(access) if access != CLOSED_BY_A_WRITER);
        !reads && (event.paths.is_empty() || event.paths.iter().any(is_ours))
    }
}

const CLOSED_BY_A_WRITER: AccessKind = AccessKind::Close(AccessMode::Write);

/// The change that an event reports. None if it leaves the content as it was.
fn change(event: &Event) -> Option<FileChange> {
    match event.kind {
        EventKind::Access(_) => Some(FileChange::Closed),
        EventKind::Create(_) if event.paths.first().is_some_and(|path| is_linked(path)) => {
            Some(FileChange::Replaced)
        }
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => Some(FileChange::Written),
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => Some(FileChange::Replaced),
        EventKind::Modify(_) => None,
        _ => Some(FileChange::Unknown),
    }
}

/// Whether a new name was linked, not created by a program that is about to write.
fn is_linked(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file() || meta.nlink() > 1)
}

/// Locks the names. After a panic of another thread they are still valid.
fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The path to a file: each directory entry whose change may change the content.
#[derive(Default)]
struct Way {
    /// The directories of the entries.
    directories: BTreeSet<PathBuf>,
    names: BTreeSet<OsString>,
}

impl Way {
    /// The entries of the path and of each link that leads to the file.
    fn of(path: &Path) -> Way {
        let mut way = Way::default();
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let parent = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
            // The directory itself may be reached through links, each an entry of another directory.
            for ancestor in parent.ancestors() {
                if fs::symlink_metadata(ancestor).is_ok_and(|meta| meta.is_symlink()) {
                    way.directories.extend(ancestor.parent().map(Path::to_owned));
                    way.names.extend(ancestor.file_name().map(ToOwned::to_owned));
                }
            }
            way.directories.insert(parent.clone());
            way.names.extend(path.file_name().map(ToOwned::to_owned));
            match fs::read_link(&path) {
                Ok(target) => path = parent.join(target),
                Err(_) => break,
            }
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    async fn hinted(watch: &mut FileWatch, hints: &mut Hints) -> Option<FileChange> {
        let hint = tokio::time::timeout(Duration::from_secs(5), hints.next()).await.ok();
        // The last of several related changes.
        let last = hinted_soon(hints).await.or(hint);
        watch.follow();
        last
    }

    /// Waits for hints that are still pending.
    async fn hinted_soon(hints: &mut Hints) -> Option<FileChange> {
        let mut last = None;
        while let Ok(hint) = tokio::time::timeout(Duration::from_millis(200), hints.next()).await {
            last = Some(hint);
        }
        last
    }

    #[tokio::test]
    async fn every_way_to_change_a_file_gives_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf");
        let (mut watch, mut hints) = FileWatch::new(&path);
        watch.follow();
        for round in 0..3 {
            fs::write(&path, format!("in place {round}")).unwrap();
            assert_eq!(
                hinted(&mut watch, &mut hints).await,
                Some(FileChange::Closed),
                "in place, round {round}"
            );
            fs::write(dir.path().join("new"), "renamed").unwrap();
            fs::rename(dir.path().join("new"), &path).unwrap();
            assert_eq!(
                hinted(&mut watch, &mut hints).await,
                Some(FileChange::Replaced),
                "renamed, round {round}"
            );
        }
    }

    #[tokio::test]
    async fn a6_a_hint_says_what_kind_of_change_it_was() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (mut watch, mut hints) = FileWatch::new(&at("web.cf"));
        watch.follow();
        let mut file = fs::File::create(at("web.cf")).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(hinted(&mut watch, &mut hints).await, Some(FileChange::Written));
        drop(file);
        assert_eq!(hinted(&mut watch, &mut hints).await, Some(FileChange::Closed));
        fs::write(at("other"), "other").unwrap();
        fs::read(at("web.cf")).unwrap();
        assert_eq!(hinted_soon(&mut hints).await, None, "another file, and reading");
        fs::remove_file(at("web.cf")).unwrap();
        assert_eq!(hinted(&mut watch, &mut hints).await, Some(FileChange::Replaced), "removed");
        fs::hard_link(at("other"), at("web.cf")).unwrap();
        assert_eq!(hinted(&mut watch, &mut hints).await, Some(FileChange::Replaced), "linked");
    }

    #[tokio::test]
    async fn links_are_followed_wherever_they_lead() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["v1", "v2", "v3"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("web.cf"), version).unwrap();
        }
        // As with a ConfigMap: the file is a link through `..data`, which is replaced by a rename.
        fs::create_dir(at("etc")).unwrap();
        symlink("../v1", at("etc/..data")).unwrap();
        symlink("..data/web.cf", at("etc/web.cf")).unwrap();
        let (mut watch, mut hints) = FileWatch::new(&at("etc/web.cf"));
        watch.follow();
        for version in ["v2", "v3", "v1"] {
            symlink(format!("../{version}"), at("etc/..new")).unwrap();
            fs::rename(at("etc/..new"), at("etc/..data")).unwrap();
            assert_eq!(
                hinted(&mut watch, &mut hints).await,
                Some(FileChange::Replaced),
                "swapped to {version}"
            );
            assert_eq!(fs::read_to_string(at("etc/web.cf")).unwrap(), version);
        }
        fs::write(at("v1/web.cf"), "target written").unwrap();
        assert_eq!(hinted(&mut watch, &mut hints).await, Some(FileChange::Closed), "the target was written");
    }
}
