//! What is known of the other daemons on this kernel's table: their notes and locks in the state directory, and their configurations.

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
use crate::plan::Config;
use crate::sys::instance;
use crate::sys::lock::{self, Holder};
use crate::sys::place::Place;
use crate::sys::process::{self, Process};

/// Services with the name of the daemon that has them.
pub type Claims = BTreeMap<ServiceKey, String>;

/// Where the others are found.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    name: String,
    place: Place,
}

/// What another daemon has noted.
#[derive(Clone, Debug)]
pub struct Note {
    /// Its name.
    pub name: String,
    /// Its services.
    pub owned: Owned,
    /// The process that wrote the note.
    pub daemon: Option<Process>,
    /// Whether it runs.
    pub state: Life,
}

/// Whether a daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The process that wrote the note.
    Runs,
    /// A start holds its lock, or a daemon of which nothing else is known.
    Starts,
    /// None does.
    Gone,
}

/// The others at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Their notes, in the order of their names.
    pub notes: Vec<Note>,
    /// What those that run want: by their notes, and by their configurations as the files are now, which they may not have read yet.
    /// A daemon that stops wants nothing.
    pub claims: Claims,
    /// Whether all configurations were read in time, so that nothing else is claimed.
    pub is_whole: bool,
    /// Whether one of these configurations is wrong: it may be about to have another service.
    pub has_wrong_file: bool,
    /// Why the notes cannot be read, in words; none where they were.
    pub trouble: Option<String>,
}

impl Sight {
    /// Nothing is known of the others.
    #[must_use]
    pub fn blind(trouble: String) -> Sight {
        Sight { trouble: Some(trouble), ..Sight::default() }
    }

    /// Where there are no others.
    #[must_use]
    pub fn of_none() -> Sight {
        Sight { is_whole: true, ..Sight::default() }
    }

    /// Whether the notes could be read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.trouble.is_none()
    }

    /// What a daemon that stops must not remove: what others want, and of what it only holds all where nothing is known of the others.
    #[must_use]
    pub fn to_leave(&self, held: &BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        let unknown = held.iter().filter(|_| !self.is_readable());
        self.claims.keys().chain(unknown).copied().collect()
    }

    /// Whether another daemon wants a service, or may want it, because not all is known.
    #[must_use]
    pub fn may_want(&self, key: &ServiceKey) -> bool {
        !self.is_whole || self.claims.contains_key(key)
    }
}

impl Note {
    /// Whether its daemon runs, or starts.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.state != Life::Gone
    }

    /// Whether it has this service and does not offer it.
    #[must_use]
    pub fn keeps(&self, key: &ServiceKey) -> bool {
        self.owned.services.contains(key) && !self.owned.offered.contains(key)
    }
}

impl Directory {
    /// The others than the daemon of this name; none where it cannot be known who they are.
    #[must_use]
    pub fn new(path: &Path, name: &str) -> Option<Directory> {
        Some(Directory { path: path.to_owned(), name: name.to_owned(), place: Place::here().ok()? })
    }

    /// The name of the daemon that looks.
    #[must_use]
    pub fn own_name(&self) -> &str {
        &self.name
    }

    /// The notes of others on this table, in the order of their names.
    ///
    /// # Errors
    /// When the directory or a note cannot be read, so that not all are known.
    pub fn notes(&self) -> io::Result<Vec<Note>> {
        let names = self.names(&owned::file_name(""))?;
        names.into_iter().filter_map(|name| self.note(name).transpose()).collect()
    }

    fn note(&self, name: String) -> io::Result<Option<Note>> {
        let note = OwnedServices::open(self.path.join(owned::file_name(&name))).left()?;
        let Some(left) = note.filter(|left| left.place.as_ref() == Some(&self.place)) else {
            return Ok(None);
        };
        // Another user's process may be hidden from this one.
        let runs = |daemon: Process| daemon.lives() || process::is_invisible(daemon.pid);
        let state = match lock::holder(&self.path.join(lock::file_name(&name))) {
            _ if left.daemon.is_some_and(runs) => Life::Runs,
            Ok(Holder::Daemon(_) | Holder::Start) => Life::Starts,
            // In the foreground it has no lock; and one that may not be read says nothing.
            Ok(Holder::Nobody) | Err(_) => Life::Gone,
        };
        Ok(Some(Note { name, owned: left.owned, daemon: left.daemon, state }))
    }

    /// The notes, and what the others want. Blocks for at most `limit` where a file system hangs. `hosts`: the addresses of names,
    /// since what moves from one file to another has the same name there.
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
                        found.0.extend(keys(loaded.plan.config()).into_iter().map(|key| (key, name.clone())));
                    }
                    // With a wrong file it goes on with what it has.
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

    /// As [`Directory::look`], on a thread of its own.
    pub async fn look_aside(self, hosts: Hosts, limit: Duration) -> Sight {
        let look = tokio::task::spawn_blocking(move || self.look(&hosts, limit));
        look.await.unwrap_or_else(|error| Sight::blind(error.to_string()))
    }

    /// As [`Directory::look_aside`], for a start or stop, which does not wait for a directory that hangs.
    pub async fn look_within(self, hosts: Hosts, limit: Duration) -> Sight {
        let look = tokio::time::timeout(limit * 2, self.look_aside(hosts, limit)).await;
        look.unwrap_or_else(|_| Sight::blind(format!("no answer within {} s", (limit * 2).as_secs())))
    }

    /// The notes alone, on a thread of its own.
    pub async fn notes_aside(self) -> Sight {
        match tokio::task::spawn_blocking(move || self.notes()).await {
            Ok(Ok(notes)) => Sight { notes, ..Sight::default() },
            Ok(Err(error)) => Sight::blind(error.to_string()),
            Err(error) => Sight::blind(error.to_string()),
        }
    }

    /// The configurations of those that run on this table: by the path that the daemon reads, and where it has no note by that of its
    /// lock.
    fn files(&self, notes: &[Note]) -> BTreeMap<String, PathBuf> {
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

    /// The other names that have such a file.
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

/// An error that names what cannot be read.
fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path} cannot be read: {}", cause(&error)))
}

/// The services of a configuration.
pub(super) fn keys(config: &Config) -> BTreeSet<ServiceKey> {
    config.virtuals.iter().map(|v| desired::service_key(v.id)).collect()
}
