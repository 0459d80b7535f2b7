//! `maintenancedir`: a file there named after a server takes the server out of service until it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::net::resolve::{self, ResolveError};
use crate::plan::Plan;
use crate::sys::command::aside;
use crate::sys::watch::FileWatch;

/// A name is asked for again after this long.
const NAME_LIFETIME: Duration = Duration::from_secs(60);

/// So long a start waits for the names of servers, after which files may be named.
pub const NAMES_LIMIT: Duration = Duration::from_secs(2);

/// The servers in maintenance, by their configured addresses, each with a reason in words.
pub type InMaintenance = BTreeMap<SocketAddr, String>;

/// The names of servers, by their addresses.
pub type Names = BTreeMap<IpAddr, String>;

/// The directory, the servers that files there may name, and the names of these servers, which copies share.
#[derive(Clone, Debug)]
pub struct Rules {
    directory: PathBuf,
    servers: BTreeSet<SocketAddr>,
    names: Arc<Mutex<Learned>>,
    look_up: LookUp,
}

/// Asks for the name of an address, and may block.
type LookUp = fn(IpAddr) -> Result<String, ResolveError>;

/// What the resolver has said.
#[derive(Debug, Default)]
struct Learned {
    names: Names,
    /// Nobody answered for these; others are asked for first.
    silent: BTreeSet<IpAddr>,
    asked: Option<Instant>,
}

impl Rules {
    /// What a plan says; none without `maintenancedir`. `known` are names that were learned before.
    #[must_use]
    pub fn of(plan: &Plan, known: Names) -> Option<Rules> {
        let directory = plan.config().globals.maintenancedir.clone()?;
        let servers: BTreeSet<SocketAddr> =
            plan.members().map(|member| plan.member(member).1.address).collect();
        let names = known.into_iter().filter(|(ip, _)| servers.iter().any(|server| server.ip() == *ip));
        let learned = Learned { names: names.collect(), ..Learned::default() };
        Some(Rules { directory, servers, names: Arc::new(Mutex::new(learned)), look_up: resolve::reverse })
    }

    /// Looks into the directory; none while it cannot be read, which says nothing about its files. Blocks, with files that may
    /// be named after hosts for as long as the resolver does.
    #[must_use]
    pub fn look(&self) -> Option<InMaintenance> {
        let files = self.files()?;
        let numbers: BTreeSet<String> = self.servers.iter().flat_map(by_address).collect();
        if files.iter().any(|file| !numbers.contains(file)) {
            self.learn_names();
        }
        Some(self.search(&files))
    }

    /// Looks for as long as `limit`. Then what is known counts, that is the files that are named after addresses; whoever looks
    /// later finds the names that were learned meanwhile.
    pub async fn look_within(&self, limit: Duration) -> Option<InMaintenance> {
        let rules = self.clone();
        if let Ok(found) = tokio::time::timeout(limit, aside(move || rules.look())).await {
            return found;
        }
        warn!(
            "the names of servers, after which files in {} may be named, are not known yet, for the system's resolver is silent (see \
             /etc/resolv.conf); files that are named after addresses count",
            self.directory.display()
        );
        Some(self.search(&self.files()?))
    }

    fn files(&self) -> Option<BTreeSet<String>> {
        match fs::read_dir(&self.directory) {
            Ok(entries) => entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<_>>()
                .ok(),
            // No directory, no files.
            Err(error) if error.kind() == ErrorKind::NotFound => Some(BTreeSet::new()),
            Err(_) => None,
        }
    }

    /// The servers that files are named after, as far as their names are known.
    fn search(&self, files: &BTreeSet<String>) -> InMaintenance {
        let learned = lock(&self.names);
        let mut found = InMaintenance::new();
        for server in &self.servers {
            let mut candidates = by_address(server);
            if let Some(name) = learned.names.get(&server.ip()) {
                candidates.extend(with_port(name, server.port()));
                candidates.extend(short(name).iter().flat_map(|short| with_port(short, server.port())));
            }
            if let Some(file) = candidates.iter().find(|candidate| files.contains(*candidate)) {
                let path = self.directory.join(file);
                found.insert(*server, format!("Server in maintenance: {} exists", path.display()));
            }
        }
        found
    }

    /// Asks for the name of each server. A name that was known stays known where nobody answers. When a full round of names stays
    /// without an answer, no more are asked for this time.
    #[expect(clippy::disallowed_methods, reason = "names are asked for again after a time")]
    fn learn_names(&self) {
        let now = Instant::now();
        let mut addresses: Vec<IpAddr> =
            self.servers.iter().map(SocketAddr::ip).collect::<BTreeSet<_>>().into_iter().collect();
        {
            let mut learned = lock(&self.names);
            if learned.asked.is_some_and(|asked| now < asked + NAME_LIFETIME) {
                return;
            }
            learned.asked = Some(now);
            addresses.sort_by_key(|address| learned.silent.contains(address));
        }
        resolve::each(addresses, |address| {
            let answer = (self.look_up)(address);
            let mut learned = lock(&self.names);
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
    }
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
    /// Observes the directory, in which `known` was found; it is looked into at least once in `interval`.
    #[must_use]
    pub fn observe(rules: Option<Rules>, known: InMaintenance, interval: Duration) -> Maintenance {
        let (sender, changes) = mpsc::channel(1);
        let (observed, from) = (rules.clone(), known.clone());
        let task = tokio::spawn(async move {
            if let Some(rules) = observed {
                observe(rules, from, interval, sender).await;
            }
        });
        Maintenance { rules, known, changes, task }
    }

    /// All servers in maintenance, as was said last.
    #[must_use]
    pub fn known(&self) -> &InMaintenance {
        &self.known
    }

    /// The names that were learned so far.
    #[must_use]
    pub fn names(&self) -> Names {
        self.rules.as_ref().map_or_else(Names::new, |rules| lock(&rules.names).names.clone())
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

async fn observe(
    rules: Rules,
    mut known: InMaintenance,
    interval: Duration,
    changes: mpsc::Sender<InMaintenance>,
) {
    // The watch is on a name in the directory, so that the directory is watched.
    let mut watch = FileWatch::new(&rules.directory.join("*"));
    let mut unreadable = false;
    loop {
        tokio::select! {
            () = watch.hint() => {}
            () = tokio::time::sleep(interval) => {}
        }
        watch.follow();
        let looking = rules.clone();
        match aside(move || looking.look()).await {
            Some(found) => {
                unreadable = false;
                if found != known {
                    known.clone_from(&found);
                    if changes.send(found).await.is_err() {
                        return;
                    }
                }
            }
            None if !std::mem::replace(&mut unreadable, true) => {
                warn!(
                    "maintenancedir {} cannot be read; servers in maintenance stay so until it can be",
                    rules.directory.display()
                );
            }
            None => {}
        }
    }
}

/// Says what is odd about the directory when a configuration is taken up.
#[must_use]
pub fn missing(plan: &Plan) -> Option<String> {
    let directory = plan.config().globals.maintenancedir.as_deref()?;
    (!directory.is_dir()).then(|| describe_missing(directory))
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
mod tests {
    use super::*;

    fn rules(directory: &Path, names: &[(&str, &str)]) -> Rules {
        let servers = ["10.0.0.2:80", "10.0.0.2:81", "10.0.0.3:80", "[fd00::2]:80"];
        let learned = Learned {
            names: names.iter().map(|(ip, name)| (ip.parse().unwrap(), (*name).to_owned())).collect(),
            silent: BTreeSet::new(),
            // No resolver is asked in this test.
            asked: Some(far_future()),
        };
        Rules {
            directory: directory.to_owned(),
            servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
            names: Arc::new(Mutex::new(learned)),
            look_up: silent,
        }
    }

    fn silent(address: IpAddr) -> Result<String, ResolveError> {
        Err(ResolveError::Failed { name: address.to_string(), cause: "try again".to_owned() })
    }

    /// Rules of a plan whose resolver is another one.
    fn rules_of(text: &str, known: Names, look_up: LookUp) -> Rules {
        Rules { look_up, ..Rules::of(&crate::daemon::steps::plan(text), known).unwrap() }
    }

    #[test]
    fn names_that_were_known_stay_known_where_the_resolver_is_silent() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("web2"), "").unwrap();
        let text = format!(
            "maintenancedir={}\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n",
            directory.path().display()
        );
        let before = rules_of(&text, Names::new(), |address| {
            Ok(format!("web{}.example.net", &address.to_string()[7..]))
        });
        let found = before.look().unwrap();
        assert_eq!(found.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2:80"]);
        let after = rules_of(&text, lock(&before.names).names.clone(), silent);
        assert_eq!(after.look(), Some(found));
        let fewer = rules_of(
            &text.replace("\treal=10.0.0.2:80 masq\n", ""),
            lock(&before.names).names.clone(),
            silent,
        );
        assert_eq!(lock(&fewer.names).names.len(), 1);
    }

    #[test]
    fn a_silent_resolver_is_asked_one_round_of_names_and_the_others_first_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("web"), "").unwrap();
        let text = format!(
            "maintenancedir={}\nvirtual=10.0.0.1:80\n\treal=10.0.1.1->10.0.1.200:80 masq\n",
            directory.path().display()
        );
        let rules = rules_of(&text, Names::new(), silent);
        assert_eq!(rules.look(), Some(InMaintenance::new()));
        let asked = lock(&rules.names).silent.clone();
        // Those of a worker that looked just before the last one failed come on top.
        assert!((resolve::AT_ONCE..2 * resolve::AT_ONCE).contains(&asked.len()), "{}", asked.len());
        lock(&rules.names).asked = None;
        assert_eq!(rules.look(), Some(InMaintenance::new()));
        let both = lock(&rules.names).silent.clone();
        assert!(both.is_superset(&asked) && both.len() >= asked.len() + resolve::AT_ONCE, "{}", both.len());
    }

    #[tokio::test]
    async fn a_silent_resolver_does_not_keep_a_file_by_address_from_being_seen() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["10.0.0.2", "web3"] {
            fs::write(directory.path().join(file), "").unwrap();
        }
        let text = format!(
            "maintenancedir={}\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n",
            directory.path().display()
        );
        let rules = rules_of(&text, Names::new(), |_| {
            std::thread::sleep(Duration::from_secs(1));
            Ok("web3.example.net".to_owned())
        });
        let keys = |found: InMaintenance| found.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(keys(rules.look_within(Duration::from_millis(50)).await.unwrap()), ["10.0.0.2:80"]);
        // Whoever looks later finds what was learned meanwhile.
        let mut found = keys(rules.look().unwrap());
        for _ in 0..200 {
            if found.len() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            found = keys(rules.look().unwrap());
        }
        assert_eq!(found, ["10.0.0.2:80", "10.0.0.3:80"]);
    }

    #[expect(clippy::disallowed_methods, reason = "some instant is needed to count from")]
    fn far_future() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    fn check(files: &[&str], expected: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(directory.path().join(file), "").unwrap();
        }
        let names =
            [("10.0.0.2", "web2.example.net"), ("10.0.0.3", "X.example.net"), ("fd00::2", "six.example.net")];
        let found = rules(directory.path(), &names).look().unwrap();
        let found: Vec<String> = found.keys().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn files_name_servers_by_address_and_by_name() {
        check(&[], &[]);
        check(&["10.0.0.2"], &["10.0.0.2:80", "10.0.0.2:81"]);
        check(&["10.0.0.2:81", "README"], &["10.0.0.2:81"]);
        check(&["[fd00::2]"], &["[fd00::2]:80"]);
        check(&["fd00::2"], &[]);
        check(&["web2.example.net"], &["10.0.0.2:80", "10.0.0.2:81"]);
        check(&["web2.example.net:80"], &["10.0.0.2:80"]);
        check(&["web2:81"], &["10.0.0.2:81"]);
        check(&["six", "web2"], &["10.0.0.2:80", "10.0.0.2:81", "[fd00::2]:80"]);
        // The name must begin with two or more signs of lower case.
        check(&["X"], &[]);
        check(&["X.example.net"], &["10.0.0.3:80"]);
    }

    #[test]
    fn no_directory_is_no_maintenance() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(rules(&directory.path().join("absent"), &[]).look(), Some(InMaintenance::new()));
    }

    #[tokio::test]
    async fn a_file_that_comes_and_goes_is_seen_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let never = Duration::from_secs(3600);
        let mut maintenance =
            Maintenance::observe(Some(rules(directory.path(), &[])), InMaintenance::new(), never);
        let path = directory.path().join("10.0.0.3");
        // The watch stands once the task has run for the first time.
        tokio::task::yield_now().await;
        fs::write(&path, "").unwrap();
        let found = next(&mut maintenance).await;
        assert_eq!(
            found.into_values().collect::<Vec<_>>(),
            [format!("Server in maintenance: {} exists", path.display())]
        );
        fs::remove_file(&path).unwrap();
        assert!(next(&mut maintenance).await.is_empty());
    }

    async fn next(maintenance: &mut Maintenance) -> InMaintenance {
        tokio::time::timeout(Duration::from_secs(5), maintenance.next()).await.unwrap()
    }
}
