//! Finds the other daemons on this kernel's table by their notes and locks in the state directory, and by their
//! configurations.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ipvs_rs::ServiceKey;

use super::addresses::Hosts;
use super::load::judge_with;
use super::owned::{self, Owned, OwnedServices};
use crate::desired;
use crate::net::cause;
use crate::spec::Config;
use crate::sys::instance;
use crate::sys::lock::{self, Holder};
use crate::sys::place::TablePlace;
use crate::sys::process::{self, Process};

/// Services, each with the name of the daemon that claims it.
pub type Claims = BTreeMap<ServiceKey, String>;

/// The state directory, as seen by one daemon.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    path: PathBuf,
    name: String,
    place: TablePlace,
}

/// The note of another daemon: a file with the services that it owns.
#[derive(Clone, Debug)]
pub struct DaemonNote {
    /// Its name.
    pub name: String,
    /// Its services.
    pub owned: Owned,
    /// The process that wrote the note.
    pub daemon: Option<Process>,
    /// Whether the daemon runs.
    pub state: Life,
}

/// Whether a daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The process that wrote the note runs.
    Runs,
    /// The lock is held by a `start`, or by a daemon that has not written its note yet.
    Starts,
    /// No process runs and the lock is free.
    Gone,
}

/// The other daemons at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Their notes, in the order of their names.
    pub notes: Vec<DaemonNote>,
    /// The services that running daemons claim: by their notes, and by the current content of their configuration
    /// files, which they may not have read yet. A daemon that stops claims nothing.
    pub claims: Claims,
    /// Whether all configurations were read in time, so that `claims` is complete.
    pub is_whole: bool,
    /// Whether one of these configurations is invalid: its next version may claim another service.
    pub has_wrong_file: bool,
    /// Why the notes cannot be read. `None` if they were read.
    pub trouble: Option<String>,
}

impl Sight {
    /// A look that failed: nothing is known of the other daemons.
    #[must_use]
    pub fn blind(trouble: String) -> Sight {
        Sight { trouble: Some(trouble), ..Sight::default() }
    }

    /// A look that found no other daemon.
    #[must_use]
    pub fn of_none() -> Sight {
        Sight { is_whole: true, ..Sight::default() }
    }

    /// Whether the notes could be read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.trouble.is_none()
    }

    /// The services that a daemon must not remove when it stops: those that others claim. If nothing is known of
    /// the others, also all services that it only holds.
    #[must_use]
    pub fn to_leave(&self, held: &BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        let unknown = held.iter().filter(|_| !self.is_readable());
        self.claims.keys().chain(unknown).copied().collect()
    }

    /// Whether another daemon claims a service, or may claim it because the look is incomplete.
    #[must_use]
    pub fn may_want(&self, key: &ServiceKey) -> bool {
        !self.is_whole || self.claims.contains_key(key)
    }
}

impl DaemonNote {
    /// Whether its daemon runs or starts.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.state != Life::Gone
    }

    /// Whether its daemon owns this service and does not offer it.
    #[must_use]
    pub fn keeps(&self, key: &ServiceKey) -> bool {
        self.owned.services.contains(key) && !self.owned.offered.contains(key)
    }
}

impl StateDirectory {
    /// Creates the directory for the daemon of this name. Returns `None` if the boot id or the network namespace is
    /// unknown, because then the daemons on this table cannot be distinguished from others.
    #[must_use]
    pub fn new(path: &Path, name: &str) -> Option<StateDirectory> {
        Some(StateDirectory { path: path.to_owned(), name: name.to_owned(), place: TablePlace::here().ok()? })
    }

    /// The name of this daemon.
    #[must_use]
    pub fn own_name(&self) -> &str {
        &self.name
    }

    /// Reads the notes of other daemons on this table, in the order of their names.
    ///
    /// # Errors
    /// The directory or a note cannot be read, so the list would be incomplete.
    pub fn notes(&self) -> io::Result<Vec<DaemonNote>> {
        let names = self.names(&owned::file_name(""))?;
        names.into_iter().filter_map(|name| self.note(name).transpose()).collect()
    }

    fn note(&self, name: String) -> io::Result<Option<DaemonNote>> {
        let note = OwnedServices::open(self.path.join(owned::file_name(&name))).left()?;
        let Some(left) = note.filter(|left| left.place.as_ref() == Some(&self.place)) else {
            return Ok(None);
        };
        // A process of another user may be invisible to this one.
        let runs = |daemon: Process| daemon.lives() || process::is_invisible(daemon.pid);
        let state = match lock::holder(&self.path.join(lock::file_name(&name))) {
            _ if left.daemon.is_some_and(runs) => Life::Runs,
            Ok(Holder::Daemon(_) | Holder::Start) => Life::Starts,
            // A daemon in the foreground has no lock. A lock that this process may not read proves nothing.
            Ok(Holder::Nobody) | Err(_) => Life::Gone,
        };
        Ok(Some(DaemonNote { name, owned: left.owned, daemon: left.daemon, state }))
    }

    /// Reads the notes and the configurations of the other daemons. Blocks for at most `limit` if a file system
    /// hangs. `hosts`: the known addresses of names, because a service that moves from one file to another has the
    /// same name there.
    #[must_use]
    pub fn look(&self, hosts: &Hosts, limit: Duration) -> Sight {
        let notes = match self.notes() {
            Ok(notes) => notes,
            Err(error) => return Sight::blind(error.to_string()),
        };
        let mut claims = Claims::new();
        for note in notes.iter().filter(|note| note.is_alive() && !note.owned.is_stopping) {
            claims.extend(note.owned.wanted.iter().map(|key| (*key, note.name.clone())));
        }
        let files = self.files(&notes);
        if files.is_empty() {
            return Sight { notes, claims, ..Sight::of_none() };
        }
        let by_files = Arc::new(Mutex::new((Claims::new(), false)));
        let (done, end) = channel();
        let (found, hosts) = (Arc::clone(&by_files), hosts.clone());
        let read = move || {
            for (name, file) in files {
                let judged = judge_with(&file, &hosts);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                match judged {
                    Ok(loaded) => {
                        found.0.extend(keys(loaded.spec.config()).into_iter().map(|key| (key, name.clone())));
                    }
                    // A daemon with an invalid file keeps its running configuration.
                    Err(_) => found.1 = true,
                }
            }
            let _ = done.send(());
        };
        let is_whole = thread::Builder::new().name("peers".to_owned()).spawn(read).is_ok()
            && end.recv_timeout(limit).is_ok();
        let mut by_files = by_files.lock().unwrap_or_else(PoisonError::into_inner);
        claims.append(&mut by_files.0);
        Sight { notes, claims, is_whole, has_wrong_file: by_files.1, trouble: None }
    }

    /// As [`StateDirectory::look`], on another thread.
    pub async fn look_aside(self, hosts: Hosts, limit: Duration) -> Sight {
        let look = tokio::task::spawn_blocking(move || self.look(&hosts, limit));
        look.await.unwrap_or_else(|error| Sight::blind(error.to_string()))
    }

    /// As [`StateDirectory::look_aside`] with a time limit, for a start or stop, which must not wait for a file system
    /// that hangs.
    pub async fn look_within(self, hosts: Hosts, limit: Duration) -> Sight {
        let look = tokio::time::timeout(limit * 2, self.look_aside(hosts, limit)).await;
        look.unwrap_or_else(|_| Sight::blind(format!("no answer within {} s", (limit * 2).as_secs())))
    }

    /// Reads only the notes, on another thread.
    pub async fn notes_aside(self) -> Sight {
        match tokio::task::spawn_blocking(move || self.notes()).await {
            Ok(Ok(notes)) => Sight { notes, ..Sight::default() },
            Ok(Err(error)) => Sight::blind(error.to_string()),
            Err(error) => Sight::blind(error.to_string()),
        }
    }

    /// The configuration files of the daemons that run on this table. The path is from the daemon's note, or from
    /// its lock if it has no note.
    fn files(&self, notes: &[DaemonNote]) -> BTreeMap<String, PathBuf> {
        let mut files = BTreeMap::new();
        for other in self.names(&lock::file_name("")).unwrap_or_default() {
            let held = instance::held(&self.path.join(lock::file_name(&other))).ok().flatten();
            if let Some((_, instance)) = held.filter(|(_, i)| i.network.as_ref() == Some(&self.place.network))
            {
                files.insert(other, instance.file);
            }
        }
        for note in notes {
            if note.owned.is_stopping {
                files.remove(&note.name);
            } else if let Some(file) = note.owned.file.clone().filter(|_| note.is_alive()) {
                files.insert(note.name.clone(), file);
            }
        }
        files
    }

    /// The names of other daemons that have a file with this ending.
    fn names(&self, ending: &str) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for entry in self.path.read_dir().map_err(unreadable(&self.path))? {
            let file = entry.map_err(unreadable(&self.path))?.file_name().into_string().unwrap_or_default();
            let name = file.strip_suffix(ending).filter(|name| *name != self.name && instance::is_name(name));
            names.extend(name.map(str::to_owned));
        }
        Ok(names)
    }
}

/// Adds the path to a read error.
fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path} cannot be read: {}", cause(&error)))
}

/// The services of a configuration.
pub(super) fn keys(config: &Config) -> BTreeSet<ServiceKey> {
    config.virtuals.iter().map(|v| desired::service_key(v.id)).collect()
}
