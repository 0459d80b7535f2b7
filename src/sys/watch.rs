//! The watch on a file. What the system reports is a hint that it is worth looking; the content decides.
//!
//! Editors and configuration tools replace files, and links to them, rather than write to them. So every directory that
//! has a part in the name, of the file and of each link on the way to it, is watched, and no event is asked what it is about.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

/// Links that may lead from one to the next, as in the kernel (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

/// A watch on one path, for as long as it lives.
pub struct FileWatch {
    path: PathBuf,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    hints: watch::Receiver<u64>,
}

impl FileWatch {
    /// Watches a path, which need not exist. Where the system has no watches left, only [`FileWatch::hint`] never comes;
    /// the caller looks at times by itself anyway.
    #[must_use]
    pub fn new(path: &Path) -> FileWatch {
        let (sender, hints) = watch::channel(0);
        let report = move |event: notify::Result<Event>| {
            if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                sender.send_modify(|count| *count += 1);
            }
        };
        let watcher = notify::recommended_watcher(report).ok();
        let mut watch = FileWatch { path: path.to_owned(), watcher, watched: BTreeSet::new(), hints };
        watch.follow();
        watch
    }

    /// Comes when something near the file has changed. Safe to cancel.
    pub async fn hint(&mut self) {
        if self.hints.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Watches the directories that the path leads through now; to be called after each hint.
    pub fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted = directories(&self.path);
        for gone in self.watched.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        // A directory that was replaced by another of the same name has lost its watch, so all are asked for again.
        let works = |directory: &&PathBuf| watcher.watch(directory, RecursiveMode::NonRecursive).is_ok();
        self.watched = wanted.iter().filter(works).cloned().collect();
    }
}

/// The directories in which the path, or a link on the way to the file, has its entry.
fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let parent = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        // The directory itself may be reached by links, each with an entry in a directory of its own.
        for ancestor in parent.ancestors() {
            if fs::symlink_metadata(ancestor).is_ok_and(|meta| meta.is_symlink()) {
                found.extend(directories_of_link(ancestor));
            }
        }
        found.insert(parent.clone());
        match fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => break,
        }
    }
    found
}

fn directories_of_link(link: &Path) -> Vec<PathBuf> {
    link.parent().map(Path::to_owned).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    async fn hinted(watch: &mut FileWatch) -> bool {
        let hint = tokio::time::timeout(Duration::from_secs(5), watch.hint()).await.is_ok();
        watch.follow();
        hint
    }

    #[tokio::test]
    async fn every_way_to_change_a_file_gives_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf");
        let mut watch = FileWatch::new(&path);
        for round in 0..3 {
            fs::write(&path, format!("in place {round}")).unwrap();
            assert!(hinted(&mut watch).await, "written in place, round {round}");
            fs::write(dir.path().join("new"), "renamed").unwrap();
            fs::rename(dir.path().join("new"), &path).unwrap();
            assert!(hinted(&mut watch).await, "renamed over, round {round}");
        }
    }

    #[tokio::test]
    async fn links_are_followed_wherever_they_lead() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["v1", "v2", "v3"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("web.cf"), version).unwrap();
        }
        // The way of a ConfigMap: the file links through `..data`, and `..data` is replaced by renaming over it.
        fs::create_dir(at("etc")).unwrap();
        symlink("../v1", at("etc/..data")).unwrap();
        symlink("..data/web.cf", at("etc/web.cf")).unwrap();
        let mut watch = FileWatch::new(&at("etc/web.cf"));
        for version in ["v2", "v3", "v1"] {
            symlink(format!("../{version}"), at("etc/..new")).unwrap();
            fs::rename(at("etc/..new"), at("etc/..data")).unwrap();
            assert!(hinted(&mut watch).await, "swapped to {version}");
            assert_eq!(fs::read_to_string(at("etc/web.cf")).unwrap(), version);
        }
        while hinted_soon(&mut watch).await {}
        fs::write(at("v1/web.cf"), "target written").unwrap();
        assert!(hinted(&mut watch).await, "the target of the link was written");
    }

    /// Takes hints that are still on their way.
    async fn hinted_soon(watch: &mut FileWatch) -> bool {
        tokio::time::timeout(Duration::from_millis(200), watch.hint()).await.is_ok()
    }
}
