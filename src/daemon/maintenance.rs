//! `maintenancedir`: a file there named after a server takes the server out of service until it is gone.

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
use crate::plan::Plan;
use crate::sys::command::aside;
use crate::sys::watch::FileWatch;

/// A name is asked for again after this long.
const NAME_LIFETIME: Duration = Duration::from_secs(60);

/// So long a start waits for the names of servers, after which files may be named.
const NAMES_LIMIT: Duration = Duration::from_secs(2);

/// The servers in maintenance, by their configured addresses, each with a reason in words.
pub type InMaintenance = BTreeMap<SocketAddr, String>;

/// The names of servers, by their addresses.
pub type Names = BTreeMap<IpAddr, String>;

/// The directory, the servers that files there may name, and the names of these servers, which copies share.
#[derive(Clone, Debug)]
pub struct Rules {
    directory: PathBuf,
    servers: BTreeSet<SocketAddr>,
    learned: Arc<Mutex<Learned>>,
    look_up: LookUp,
}

/// Asks for the name of an address, and may block.
type LookUp = fn(IpAddr) -> Result<String, ResolveError>;

/// What the resolver has said, and what the operator was told.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    names: Names,
    /// Nobody answered for these; others are asked for first.
    silent: BTreeSet<IpAddr>,
    asked: Option<Instant>,
    /// The files that name no server, each reported once.
    reported: BTreeSet<String>,
}

impl Rules {
    /// What a plan says; none without `maintenancedir`. `also` are servers that are not in the plan, `known` is what was learned
    /// before.
    #[must_use]
    pub fn of(plan: &Plan, also: impl IntoIterator<Item = SocketAddr>, known: Learned) -> Option<Rules> {
        let directory = plan.config().globals.maintenancedir.clone()?;
        let servers: BTreeSet<SocketAddr> =
            plan.members().map(|member| plan.member(member).1.address).chain(also).collect();
        let names = known.names.into_iter().filter(|(ip, _)| servers.iter().any(|server| server.ip() == *ip));
        let learned = Learned { names: names.collect(), reported: known.reported, ..Learned::default() };
        Some(Rules { directory, servers, learned: Arc::new(Mutex::new(learned)), look_up: resolve::reverse })
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Looks into the directory. Blocks where a file system hangs, and with files that may be named after hosts for as long as the
    /// resolver does.
    ///
    /// # Errors
    /// When the directory cannot be read, which says nothing about its files.
    pub fn look(&self) -> io::Result<InMaintenance> {
        let mut files = self.files()?;
        let numbers: BTreeSet<String> = self.servers.iter().flat_map(by_address).collect();
        if files.iter().any(|file| !numbers.contains(file)) && self.learn_names() {
            // Asking may have taken long.
            files = self.files()?;
        }
        self.report_strangers(&files);
        Ok(self.search(&files))
    }

    /// Looks for as long as `limit` for the files and for the names. Without names, the files that are named after addresses
    /// count; whoever looks later finds the names that were learned meanwhile.
    ///
    /// # Errors
    /// When the directory cannot be read in this time.
    pub async fn look_within(&self, limit: Duration) -> io::Result<InMaintenance> {
        let rules = self.clone();
        let listed = tokio::time::timeout(limit, aside(move || rules.files())).await;
        let late = |_| io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()));
        let files = listed.map_err(late)??;
        let rules = self.clone();
        if let Ok(found) = tokio::time::timeout(limit, aside(move || rules.look())).await {
            return found;
        }
        warn!(
            "the names of servers, after which files in {} may be named, are not known yet, for the system's resolver is silent (see \
             /etc/resolv.conf); files that are named after addresses count",
            self.directory.display()
        );
        Ok(self.search(&files))
    }

    fn files(&self) -> io::Result<BTreeSet<String>> {
        match fs::read_dir(&self.directory) {
            Ok(entries) => {
                entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
            }
            // No directory, no files.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Reports each file that names no server once. While the name of a server is not known, any file may be named after it.
    fn report_strangers(&self, files: &BTreeSet<String>) {
        let mut learned = lock(&self.learned);
        if !learned.silent.is_empty() {
            return;
        }
        let named: BTreeSet<String> =
            self.servers.iter().flat_map(|server| self.candidates(server, &learned.names)).collect();
        let strangers: BTreeSet<String> = files.difference(&named).cloned().collect();
        for file in strangers.difference(&learned.reported) {
            warn!(
                "maintenancedir {}: the file {file:?} takes no server out, because it names none; name it after the address, \
                 address:port or host name of a real server, or remove it",
                self.directory.display()
            );
        }
        learned.reported = strangers;
    }

    /// The servers that files are named after, as far as their names are known.
    fn search(&self, files: &BTreeSet<String>) -> InMaintenance {
        let learned = lock(&self.learned);
        let mut found = InMaintenance::new();
        for server in &self.servers {
            let candidates = self.candidates(server, &learned.names);
            if let Some(file) = candidates.iter().find(|candidate| files.contains(*candidate)) {
                let path = self.directory.join(file);
                found.insert(*server, format!("Server in maintenance: {} exists", path.display()));
            }
        }
        found
    }

    /// The names that a file for this server may have.
    fn candidates(&self, server: &SocketAddr, names: &Names) -> Vec<String> {
        let mut candidates = by_address(server);
        if let Some(name) = names.get(&server.ip()) {
            candidates.extend(with_port(name, server.port()));
            candidates.extend(short(name).iter().flat_map(|short| with_port(short, server.port())));
        }
        candidates
    }

    /// Asks for the name of each server. A name that was known stays known where nobody answers. When a full round of names stays
    /// without an answer, no more are asked for this time. Says whether it asked.
    #[expect(clippy::disallowed_methods, reason = "names are asked for again after a time")]
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

/// Who is in maintenance at the start. Where the directory cannot be read, the servers that the kernel has out of rotation are, and
/// the text tells the operator.
pub async fn at_start(rules: Option<&Rules>, plan: &Plan, ipvs: &mut dyn Ipvs) -> (InMaintenance, String) {
    let Some(rules) = rules else { return (InMaintenance::new(), String::new()) };
    let error = match rules.look_within(NAMES_LIMIT).await {
        Ok(found) => return (found, String::new()),
        Err(error) => cause(&error),
    };
    let reason = format!("maintenancedir {} cannot be read: {error}", rules.directory().display());
    let table = ipvs.dump().unwrap_or_default();
    let servers = desired::out_of_rotation(plan, &table);
    let note = format!(
        "{reason}; {} real servers that are out of rotation in the kernel's table (weight 0, or absent with quiescent=no) stay out of \
         rotation until it can be read",
        servers.len()
    );
    error!("{note}");
    let reason = format!("{reason}, and the server was out of rotation in the kernel's table");
    (servers.into_iter().map(|server| (server, reason.clone())).collect(), note)
}

/// What a panicking thread left is still a list of names.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The observer of the directory. It ends when this is dropped.
pub struct Maintenance {
    rules: Option<Rules>,
    known: InMaintenance,
    changes: mpsc::Receiver<InMaintenance>,
    task: JoinHandle<()>,
}

impl Maintenance {
    /// Observes the directory, in which `known` was found; it is looked into at once, because it may have changed since, and then
    /// at least once in `interval`. `reported` says that the operator knows that it cannot be read.
    #[must_use]
    pub fn observe(
        rules: Option<Rules>,
        known: InMaintenance,
        interval: Duration,
        reported: bool,
    ) -> Maintenance {
        let (sender, changes) = mpsc::channel(1);
        let (observed, from) = (rules.clone(), known.clone());
        let task = tokio::spawn(async move {
            if let Some(rules) = observed {
                observe(rules, from, interval, reported, sender).await;
            }
        });
        Maintenance { rules, known, changes, task }
    }

    /// All servers in maintenance, as was said last.
    #[must_use]
    pub fn known(&self) -> &InMaintenance {
        &self.known
    }

    /// What was learned so far.
    #[must_use]
    pub fn learned(&self) -> Learned {
        self.rules.as_ref().map_or_else(Learned::default, |rules| lock(&rules.learned).clone())
    }

    /// All servers in maintenance, when they are others than before. Safe to cancel.
    pub async fn next(&mut self) -> InMaintenance {
        match self.changes.recv().await {
            Some(found) => {
                self.known.clone_from(&found);
                found
            }
            None => std::future::pending().await,
        }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether the directory was there when it was last looked into.
#[derive(Default)]
struct Presence(bool);

impl Presence {
    /// Whether it was there and is gone now.
    fn goes(&mut self, there: bool) -> bool {
        std::mem::replace(&mut self.0, there) && !there
    }
}

async fn observe(
    rules: Rules,
    mut known: InMaintenance,
    interval: Duration,
    mut unreadable: bool,
    changes: mpsc::Sender<InMaintenance>,
) {
    let (mut watch, mut hints) = FileWatch::directory(&rules.directory);
    let directory = rules.directory.display();
    let mut presence = Presence::default();
    loop {
        let looking = rules.clone();
        // Where the file system hangs, this one thread does.
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
                "maintenancedir {directory} cannot be read: {}; servers in maintenance stay so until it can be",
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

/// Says what is odd about the directory when a configuration is taken up.
#[must_use]
pub fn missing(plan: &Plan) -> Option<String> {
    let directory = plan.config().globals.maintenancedir.as_deref()?;
    (!directory.is_dir()).then(|| describe_missing(directory))
}

/// As with the original, without the directory no server is in maintenance.
fn describe_gone(directory: &Path, servers: usize) -> String {
    let plural = if servers == 1 { "" } else { "s" };
    format!(
        "maintenancedir {} is gone: {servers} real server{plural} in maintenance can get into rotation again; make the directory with \
         its files again, or mount its file system, to keep them out",
        directory.display()
    )
}

fn describe_missing(directory: &Path) -> String {
    let mut text = format!("maintenance directory does not exist: {}", directory.display());
    if directory.to_string_lossy().contains('"') {
        text.push_str(" (quotes belong to the name here: write it without them)");
    }
    text
}

fn by_address(server: &SocketAddr) -> Vec<String> {
    with_port(&host_text(server.ip()), server.port())
}

/// The names that a file for this server may have, the more exact one first.
fn with_port(host: &str, port: u16) -> Vec<String> {
    vec![format!("{host}:{port}"), host.to_owned()]
}

fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The first label of a host's name, if it is a simple one (two characters or more, lower case).
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
