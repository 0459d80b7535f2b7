//! `maintenancedir`: a file there named after a server takes the server out of service until it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, thread};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::net::resolve;
use crate::plan::Plan;
use crate::sys::command::aside;
use crate::sys::watch::FileWatch;

/// Names that are asked for at the same time.
const RESOLVERS: usize = 16;
/// A name is asked for again after this long.
const NAME_LIFETIME: Duration = Duration::from_secs(60);

/// The servers in maintenance, by their configured addresses, each with a reason in words.
pub type InMaintenance = BTreeMap<SocketAddr, String>;

/// The directory, the servers that files there may name, and the names of these servers.
#[derive(Clone, Debug)]
pub struct Rules {
    directory: PathBuf,
    servers: BTreeSet<SocketAddr>,
    names: BTreeMap<IpAddr, String>,
    asked: Option<Instant>,
}

impl Rules {
    /// What a plan says; none without `maintenancedir`.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Rules> {
        let directory = plan.config().globals.maintenancedir.clone()?;
        let servers = plan.members().map(|member| plan.member(member).1.address).collect();
        Some(Rules { directory, servers, names: BTreeMap::new(), asked: None })
    }

    /// Looks into the directory; none while it cannot be read, which says nothing about its files. Blocks, with files that may
    /// be named after hosts for as long as the resolver does.
    pub fn look(&mut self) -> Option<InMaintenance> {
        let files = match fs::read_dir(&self.directory) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect::<Result<BTreeSet<String>, _>>()
                .ok()?,
            // No directory, no files.
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
            Err(_) => return None,
        };
        let mut found = InMaintenance::new();
        let mut numbers = BTreeSet::new();
        for server in &self.servers {
            let candidates = with_port(&host_text(server.ip()), server.port());
            numbers.extend(candidates.iter().cloned());
            self.note(*server, &candidates, &files, &mut found);
        }
        if files.iter().any(|file| !numbers.contains(file)) {
            self.learn_names();
            for server in
                self.servers.iter().filter(|server| !found.contains_key(*server)).copied().collect::<Vec<_>>()
            {
                let Some(name) = self.names.get(&server.ip()) else { continue };
                let mut candidates = with_port(name, server.port());
                candidates.extend(short(name).iter().flat_map(|short| with_port(short, server.port())));
                self.note(server, &candidates, &files, &mut found);
            }
        }
        Some(found)
    }

    fn note(
        &self,
        server: SocketAddr,
        candidates: &[String],
        files: &BTreeSet<String>,
        found: &mut InMaintenance,
    ) {
        if let Some(file) = candidates.iter().find(|candidate| files.contains(*candidate)) {
            let path = self.directory.join(file);
            found.insert(server, format!("Server in maintenance: {} exists", path.display()));
        }
    }

    /// Asks for the name of each server. A name that was known stays known where nobody answers.
    #[expect(clippy::disallowed_methods, reason = "names are asked for again after a time")]
    fn learn_names(&mut self) {
        let now = Instant::now();
        if self.asked.is_some_and(|asked| now < asked + NAME_LIFETIME) {
            return;
        }
        let addresses: BTreeSet<IpAddr> = self.servers.iter().map(SocketAddr::ip).collect();
        let workers = addresses.len().min(RESOLVERS);
        let queue = Mutex::new(addresses.into_iter());
        let answers = Mutex::new(&mut self.names);
        let next = || queue.lock().ok()?.next();
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(address) = next() {
                        if let (Some(name), Ok(mut names)) = (resolve::reverse(address), answers.lock()) {
                            names.insert(address, name);
                        }
                    }
                });
            }
        });
        self.asked = Some(now);
    }
}

/// The observer of the directory. It ends when this is dropped.
pub struct Maintenance {
    changes: mpsc::Receiver<InMaintenance>,
    task: JoinHandle<()>,
}

impl Maintenance {
    /// Observes the directory, in which `known` was found; it is looked into at least once in `interval`.
    #[must_use]
    pub fn observe(rules: Option<Rules>, known: InMaintenance, interval: Duration) -> Maintenance {
        let (sender, changes) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            if let Some(rules) = rules {
                observe(rules, known, interval, sender).await;
            }
        });
        Maintenance { changes, task }
    }

    /// All servers in maintenance, when they are others than before. Safe to cancel.
    pub async fn next(&mut self) -> InMaintenance {
        match self.changes.recv().await {
            Some(found) => found,
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
    mut rules: Rules,
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
        let (back, found) = aside(move || {
            let found = rules.look();
            (rules, found)
        })
        .await;
        rules = back;
        match found {
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
        Rules {
            directory: directory.to_owned(),
            servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
            names: names.iter().map(|(ip, name)| (ip.parse().unwrap(), (*name).to_owned())).collect(),
            // No resolver is asked in this test.
            asked: Some(far_future()),
        }
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
