//! `maintenancedir`: a file named after a server puts the server in maintenance as long as the file exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipvs_rs::Ipvs;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::desired;
use crate::net::cause;
use crate::net::resolve::{self, ResolveError};
use crate::spec::Spec;
use crate::sys::command::aside;
use crate::sys::watch::FileWatch;

/// Time after which names are looked up again.
const NAME_LIFETIME: Duration = Duration::from_secs(60);

/// How long a start waits for the names of servers. Files may be named after them.
const NAMES_LIMIT: Duration = Duration::from_secs(2);

/// The servers in maintenance, by configured address, each with a reason.
pub type MaintainedServers = BTreeMap<SocketAddr, String>;

/// The names of servers, by address.
pub type ServerNames = BTreeMap<IpAddr, String>;

/// The directory, the servers that its files may name, and the names of these servers. Copies share the names.
#[derive(Clone, Debug)]
pub struct MaintenanceDir {
    directory: PathBuf,
    servers: BTreeSet<SocketAddr>,
    learned: Arc<Mutex<Learned>>,
    look_up: LookUp,
}

/// Looks up the name of an address. May block.
type LookUp = fn(IpAddr) -> Result<String, ResolveError>;

/// The results of name lookups, and what was reported.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    names: ServerNames,
    /// The addresses whose lookup got no answer. The others are looked up first.
    silent: BTreeSet<IpAddr>,
    asked: Option<Instant>,
    /// The files that match no server. Each is reported once.
    reported: BTreeSet<String>,
}

impl MaintenanceDir {
    /// Creates the rules of a spec. `None` without `maintenancedir`. `also`: servers that are not in the spec.
    /// `known`: earlier lookup results.
    #[must_use]
    pub fn of(
        spec: &Spec,
        also: impl IntoIterator<Item = SocketAddr>,
        known: Learned,
    ) -> Option<MaintenanceDir> {
        let directory = spec.config().globals.maintenancedir.clone()?;
        let servers: BTreeSet<SocketAddr> =
            spec.members().map(|member| spec.member(member).1.address).chain(also).collect();
        let names = known.names.into_iter().filter(|(ip, _)| servers.iter().any(|server| server.ip() == *ip));
        let learned = Learned { names: names.collect(), reported: known.reported, ..Learned::default() };
        Some(MaintenanceDir {
            directory,
            servers,
            learned: Arc::new(Mutex::new(learned)),
            look_up: resolve::reverse,
        })
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads the directory. Blocks if a file system hangs. If files may be named after hosts, blocks as long as the
    /// resolver.
    ///
    /// # Errors
    /// The directory cannot be read. Its files are then unknown.
    pub fn look(&self) -> io::Result<MaintainedServers> {
        let mut files = self.files()?;
        let numbers: BTreeSet<String> = self.servers.iter().flat_map(by_address).collect();
        if files.iter().any(|file| !numbers.contains(file)) && self.learn_names() {
            // The lookups may have taken long.
            files = self.files()?;
        }
        self.report_strangers(&files);
        Ok(self.search(&files))
    }

    /// As [`MaintenanceDir::look`], but waits for at most `limit` for the files, and again for the names. If the
    /// names are late, only files named after addresses count. The lookups continue for later calls.
    ///
    /// # Errors
    /// The directory cannot be read within this time.
    pub async fn look_within(&self, limit: Duration) -> io::Result<MaintainedServers> {
        let rules = self.clone();
        let listed = tokio::time::timeout(limit, aside(move || rules.files())).await;
        let late = |_| io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()));
        let files = listed.map_err(late)??;
        let rules = self.clone();
        if let Ok(found) = tokio::time::timeout(limit, aside(move || rules.look())).await {
            return found;
        }
        warn!(
            "maintenancedir {}: the host names of servers are not known yet, because the system's resolver does not answer; only \
             files named after addresses count until it does; check /etc/resolv.conf",
            self.directory.display()
        );
        Ok(self.search(&files))
    }

    fn files(&self) -> io::Result<BTreeSet<String>> {
        match fs::read_dir(&self.directory) {
            Ok(entries) => {
                entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
            }
            // A missing directory has no files.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Reports each file that matches no server once. While the name of a server is unknown, a file may be named after
    /// it, so only files named after addresses are reported.
    fn report_strangers(&self, files: &BTreeSet<String>) {
        let mut learned = lock(&self.learned);
        let all_names_known = learned.silent.is_empty();
        let is_certain = |file: &&String| all_names_known || is_address(file);
        let named: BTreeSet<String> =
            self.servers.iter().flat_map(|server| self.candidates(server, &learned.names)).collect();
        let strangers: BTreeSet<String> = files.difference(&named).filter(is_certain).cloned().collect();
        for file in strangers.difference(&learned.reported) {
            warn!(
                "maintenancedir {}: the file {file:?} has no effect, because no real server has this name; name it after the \
                 address, address:port or host name of a real server, or remove it",
                self.directory.display()
            );
        }
        learned.reported = strangers;
    }

    /// The servers that match a file, by address and by the names known so far.
    fn search(&self, files: &BTreeSet<String>) -> MaintainedServers {
        let learned = lock(&self.learned);
        let mut found = MaintainedServers::new();
        for server in &self.servers {
            let candidates = self.candidates(server, &learned.names);
            if let Some(file) = candidates.iter().find(|candidate| files.contains(*candidate)) {
                let path = self.directory.join(file);
                found.insert(*server, format!("Server in maintenance: {} exists", path.display()));
            }
        }
        found
    }

    /// All file names that match this server.
    fn candidates(&self, server: &SocketAddr, names: &ServerNames) -> Vec<String> {
        let mut candidates = by_address(server);
        if let Some(name) = names.get(&server.ip()) {
            candidates.extend(with_port(name, server.port()));
            candidates.extend(short(name).iter().flat_map(|short| with_port(short, server.port())));
        }
        candidates
    }

    /// Looks up the name of each server. A known name stays known if the resolver does not answer. If a full round
    /// of lookups gets no answer, the rest is skipped this time. Returns whether it looked up names.
    #[expect(clippy::disallowed_methods, reason = "names are looked up again after a time")]
    fn learn_names(&self) -> bool {
        let now = Instant::now();
        let mut addresses: Vec<IpAddr> =
            self.servers.iter().map(SocketAddr::ip).collect::<BTreeSet<_>>().into_iter().collect();
        {
            let mut learned = lock(&self.learned);
            if learned.asked.is_some_and(|asked| now < asked + NAME_LIFETIME) {
                return false;
            }
            learned.asked = Some(now);
            addresses.sort_by_key(|address| learned.silent.contains(address));
        }
        resolve::each(addresses, |address| {
            let answer = (self.look_up)(address);
            let mut learned = lock(&self.learned);
            learned.silent.remove(&address);
            match answer {
                Ok(name) => drop(learned.names.insert(address, name)),
                Err(ResolveError::NotFound(_)) => {}
                Err(error @ ResolveError::Failed { .. }) => {
                    learned.silent.insert(address);
                    return Err(error);
                }
            }
            Ok(())
        });
        true
    }
}

/// The servers in maintenance at the start. If the directory cannot be read, these are the servers that the kernel
/// has out of rotation, and the text is a warning for the operator.
pub async fn at_start(
    rules: Option<&MaintenanceDir>,
    spec: &Spec,
    ipvs: &mut dyn Ipvs,
) -> (MaintainedServers, String) {
    let Some(rules) = rules else { return (MaintainedServers::new(), String::new()) };
    let error = match rules.look_within(NAMES_LIMIT).await {
        Ok(found) => return (found, String::new()),
        Err(error) => cause(&error),
    };
    let reason = format!("maintenancedir {} cannot be read: {error}", rules.directory().display());
    let table = ipvs.dump().unwrap_or_default();
    let servers = desired::out_of_rotation(spec, &table);
    let note = format!(
        "{reason}; {} real servers that are out of rotation in the kernel's table (weight 0, or absent with quiescent=no) stay out \
         of rotation until the directory can be read",
        servers.len()
    );
    error!("{note}");
    let reason = format!("{reason}, and the server was out of rotation in the kernel's table");
    (servers.into_iter().map(|server| (server, reason.clone())).collect(), note)
}

/// Locks a mutex, even after a thread panicked: the content is valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches the directory, until it is dropped.
pub struct MaintenanceWatcher {
    rules: Option<MaintenanceDir>,
    known: MaintainedServers,
    changes: mpsc::Receiver<MaintainedServers>,
    task: JoinHandle<()>,
}

impl MaintenanceWatcher {
    /// Watches the directory, in which `known` was found. It is read at once, because it may have changed since,
    /// and then at least once per `interval`. `reported`: it was already reported that the directory cannot be
    /// read.
    #[must_use]
    pub fn observe(
        rules: Option<MaintenanceDir>,
        known: MaintainedServers,
        interval: Duration,
        reported: bool,
    ) -> MaintenanceWatcher {
        let (sender, changes) = mpsc::channel(1);
        let (observed, from) = (rules.clone(), known.clone());
        let task = tokio::spawn(async move {
            if let Some(rules) = observed {
                observe(rules, from, interval, reported, sender).await;
            }
        });
        MaintenanceWatcher { rules, known, changes, task }
    }

    /// All servers in maintenance, as last returned by [`MaintenanceWatcher::next`].
    #[must_use]
    pub fn known(&self) -> &MaintainedServers {
        &self.known
    }

    /// The results of name lookups so far.
    #[must_use]
    pub fn learned(&self) -> Learned {
        self.rules.as_ref().map_or_else(Learned::default, |rules| lock(&rules.learned).clone())
    }

    /// Waits for a change and returns all servers in maintenance. Safe to cancel.
    pub async fn next(&mut self) -> MaintainedServers {
        match self.changes.recv().await {
            Some(found) => {
                self.known.clone_from(&found);
                found
            }
            None => std::future::pending().await,
        }
    }
}

impl Drop for MaintenanceWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether the directory existed when it was last read.
#[derive(Default)]
struct Presence(bool);

impl Presence {
    /// Updates the state. Returns whether the directory existed before and is gone now.
    fn goes(&mut self, there: bool) -> bool {
        std::mem::replace(&mut self.0, there) && !there
    }
}

async fn observe(
    rules: MaintenanceDir,
    mut known: MaintainedServers,
    interval: Duration,
    mut unreadable: bool,
    changes: mpsc::Sender<MaintainedServers>,
) {
    let (mut watch, mut hints) = FileWatch::directory(&rules.directory);
    let directory = rules.directory.display();
    let mut presence = Presence::default();
    loop {
        let looking = rules.clone();
        // If the file system hangs, only this one thread hangs.
        let (returned, looked) = aside(move || {
            watch.follow();
            (watch, looking.look().map(|found| (found, looking.directory.is_dir())))
        })
        .await;
        watch = returned;
        match looked {
            Ok((found, there)) => {
                if presence.goes(there) {
                    error!("{}", describe_gone(&rules.directory, known.len().saturating_sub(found.len())));
                }
                if std::mem::take(&mut unreadable) {
                    info!("maintenancedir {directory} can be read again");
                }
                if found != known {
                    known.clone_from(&found);
                    if changes.send(found).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) if !std::mem::replace(&mut unreadable, true) => error!(
                "maintenancedir {directory} cannot be read: {}; servers in maintenance stay in maintenance until it can be read",
                cause(&error)
            ),
            Err(_) => {}
        }
        tokio::select! {
            _ = hints.next() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// The warning for a configuration whose `maintenancedir` does not exist.
#[must_use]
pub fn missing(spec: &Spec) -> Option<String> {
    let directory = spec.config().globals.maintenancedir.as_deref()?;
    (!directory.is_dir()).then(|| describe_missing(directory))
}

/// The message for a directory that was removed. As in the original, no server is in maintenance without the directory.
fn describe_gone(directory: &Path, servers: usize) -> String {
    let plural = if servers == 1 { "" } else { "s" };
    format!(
        "maintenancedir {} is gone: {servers} real server{plural} in maintenance can return to rotation; to keep them out, restore the \
         directory with its files, or mount its file system",
        directory.display()
    )
}

fn describe_missing(directory: &Path) -> String {
    // The original's words.
    let mut text = format!("maintenance directory does not exist: {}", directory.display());
    if directory.to_string_lossy().contains('"') {
        text.push_str(" (the quotes are part of the name: write it without quotes)");
    }
    text
}

/// Whether a file is named after an address, with or without a port.
fn is_address(file: &str) -> bool {
    file.parse::<SocketAddr>().is_ok() || file.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn by_address(server: &SocketAddr) -> Vec<String> {
    with_port(&host_text(server.ip()), server.port())
}

/// The file names for a host and port, the more specific one first.
fn with_port(host: &str, port: u16) -> Vec<String> {
    vec![format!("{host}:{port}"), host.to_owned()]
}

fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The first label of a host name, if it has at least two characters and only lower case letters, digits and hyphens.
fn short(name: &str) -> Option<&str> {
    let (label, _) = name.split_once('.')?;
    let mut bytes = label.bytes();
    let good = bytes.next()?.is_ascii_lowercase()
        && bytes.len() > 0
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    good.then_some(label)
}

#[cfg(test)]
mod tests;
