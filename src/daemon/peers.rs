//! The other daemons on this kernel's table. A virtual service has one owner: the daemon that noted it as its own, as long as that
//! lives. A daemon whose configuration has it, too, leaves it to its owner, notes that it wants it, and takes it when it is free. One
//! whose configuration has it no more, while that of another daemon has it, goes on with it, notes that it offers it, and lets go of it
//! when the other one has taken it: the service is checked at every moment, and nobody removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipvs_rs::ServiceKey;
use tracing::{error, info, warn};

use super::load::judge;
use super::owned::{self, Owned, OwnedServices};
use crate::desired;
use crate::plan::{Config, Plan, Virtual};
use crate::sys::instance;
use crate::sys::lock::{self, Holder};
use crate::sys::place::Place;
use crate::sys::process::Process;
use crate::value::shown::escaped;

/// Between two looks at the notes of others.
const INTERVAL: Duration = Duration::from_secs(1);
/// They are looked at for so long after a change of our own, since another daemon may have taken the same service at the same moment.
const COLLISION: Duration = Duration::from_secs(10);
/// So long a daemon that has gone without removing its note keeps its services: it may be on its way back, by a restart or by systemd.
const LINGER: Duration = Duration::from_secs(15);

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
pub struct Note {
    name: String,
    /// Its services.
    pub owned: Owned,
    daemon: Option<Process>,
    state: Life,
}

/// Whether a daemon runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Runs,
    /// A start holds its lock, or a daemon of which nothing else is known.
    Starts,
    Gone,
}

impl Note {
    /// Whether its daemon runs, or starts.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.state != Life::Gone
    }

    /// Whether it has this service and does not offer it.
    fn keeps(&self, key: &ServiceKey) -> bool {
        self.owned.services.contains(key) && !self.owned.offered.contains(key)
    }
}

impl Directory {
    /// The others than the daemon of this name; none where it cannot be known who they are.
    #[must_use]
    pub fn new(path: &Path, name: &str) -> Option<Directory> {
        Some(Directory { path: path.to_owned(), name: name.to_owned(), place: Place::here().ok()? })
    }

    /// The notes of others on this table, in the order of their names.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let read = |name: String| {
            let left = OwnedServices::open(self.path.join(owned::file_name(&name))).left()?;
            if left.place.as_ref() != Some(&self.place) {
                return None;
            }
            let state = match lock::holder(&self.path.join(lock::file_name(&name))) {
                _ if left.daemon.is_some_and(Process::lives) => Life::Runs,
                Ok(Holder::Daemon(_) | Holder::Start) => Life::Starts,
                // In the foreground it has no lock; and one that may not be read says nothing.
                Ok(Holder::Nobody) | Err(_) => Life::Gone,
            };
            Some(Note { name, owned: left.owned, daemon: left.daemon, state })
        };
        self.names(&owned::file_name("")).into_iter().filter_map(read).collect()
    }

    /// What others want: by their notes, and by the configurations of those that run as they stand in their files now, which they may
    /// not have read yet. Blocks as long as file systems do.
    #[must_use]
    pub fn claims(&self) -> Claims {
        let mut claims = Claims::new();
        for other in self.names(&lock::file_name("")) {
            let held = instance::held(&self.path.join(lock::file_name(&other))).ok().flatten();
            let here = held.filter(|(_, other)| other.network.as_ref() == Some(&self.place.network));
            // With a wrong file it goes on with what it has.
            if let Some(loaded) = here.and_then(|(_, other)| judge(&other.file).ok()) {
                claims.extend(keys(loaded.plan.config()).into_iter().map(|key| (key, other.clone())));
            }
        }
        for note in self.notes().into_iter().filter(Note::is_alive) {
            claims.extend(note.owned.wanted.into_iter().map(|key| (key, note.name.clone())));
        }
        claims
    }

    /// The same, on a thread of its own; nothing where it takes longer.
    pub async fn claims_within(&self, limit: Duration) -> Claims {
        let directory = self.clone();
        let read = tokio::task::spawn_blocking(move || directory.claims());
        tokio::time::timeout(limit, read).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The other names that have such a file.
    fn names(&self, ending: &str) -> BTreeSet<String> {
        let entries = self.path.read_dir().into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Some(entry.file_name().into_string().ok()?.strip_suffix(ending)?.to_owned()))
            .filter(|name| *name != self.name && instance::is_name(name))
            .collect()
    }
}

/// The configuration as it was read, and what of it is left to others.
pub struct Peers {
    directory: Directory,
    whole: Arc<Config>,
    elsewhere: Claims,
    /// What the configuration has no more, and another one has.
    offered: BTreeMap<ServiceKey, Virtual>,
    /// When a daemon was seen to live for the last time.
    seen: BTreeMap<String, Instant>,
    next_look: Instant,
    collision_until: Instant,
}

/// What a daemon has to do.
pub struct Share {
    /// Its plan.
    pub plan: Plan,
    /// What goes from its plan and stays in the table: it is another one's.
    pub handed_over: BTreeSet<ServiceKey>,
}

impl Peers {
    /// The configuration of a daemon that starts, and the plan that is left for it.
    #[must_use]
    pub fn new(directory: Directory, whole: Plan, now: Instant) -> (Peers, Plan) {
        let mut peers = Peers {
            directory,
            whole: Arc::clone(whole.config()),
            elsewhere: Claims::new(),
            offered: BTreeMap::new(),
            seen: BTreeMap::new(),
            next_look: now + INTERVAL,
            collision_until: now + COLLISION,
        };
        let notes = peers.notes(now);
        let elsewhere = peers.theirs(&notes, &BTreeSet::new());
        peers.say(&elsewhere);
        peers.elsewhere = elsewhere;
        let plan = peers.plan(Some(whole));
        (peers, plan)
    }

    /// Of what an earlier run of this daemon left behind: what is nobody else's now. `claims`: what others want.
    #[must_use]
    pub fn without_theirs(
        &mut self,
        formerly: BTreeSet<ServiceKey>,
        claims: &Claims,
        now: Instant,
    ) -> BTreeSet<ServiceKey> {
        let (notes, all) = (self.notes(now), keys(&self.whole));
        let is_theirs = |key: &ServiceKey| {
            notes.iter().any(|note| note.keeps(key)) || (!all.contains(key) && claims.contains_key(key))
        };
        formerly.into_iter().filter(|key| !is_theirs(key)).collect()
    }

    /// Divides another configuration; `claims`: what others want.
    pub fn take_up(&mut self, whole: Plan, running: &Plan, claims: &Claims, now: Instant) -> Share {
        self.whole = Arc::clone(whole.config());
        self.offered.clear();
        let (mine, notes) = (keys(running.config()), self.notes(now));
        let elsewhere = self.theirs(&notes, &mine);
        let stays = keys(&self.whole);
        for v in running.virtuals() {
            let key = desired::service_key(v.id);
            let Some(other) = claims.get(&key).filter(|_| !stays.contains(&key)) else { continue };
            warn!(
                "Virtual server {} is checked until the daemon {} takes it, whose configuration has it; if that has not read it yet: reload \
                 it",
                v.id,
                escaped(other)
            );
            self.offered.insert(key, v.clone());
        }
        self.share(Some(whole), elsewhere, &notes, &mine, now)
    }

    /// Looks whether a service has changed hands; gives the new share if so.
    pub fn look(&mut self, running: &Plan, now: Instant) -> Option<Share> {
        self.next_look = now + INTERVAL;
        let (mine, notes) = (keys(running.config()), self.notes(now));
        let elsewhere = self.theirs(&notes, &mine);
        let is_taken = self.offered.keys().any(|key| is_taken(&notes, key));
        if !is_taken && elsewhere.keys().eq(self.elsewhere.keys()) {
            self.elsewhere = elsewhere;
            return None;
        }
        Some(self.share(None, elsewhere, &notes, &mine, now))
    }

    /// When [`Peers::look`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let is_shared = !self.elsewhere.is_empty() || !self.offered.is_empty();
        (is_shared || self.next_look <= self.collision_until).then_some(self.next_look)
    }

    /// Where the others are found.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What is left to others.
    #[must_use]
    pub fn elsewhere(&self) -> &Claims {
        &self.elsewhere
    }

    /// What is to be noted of it besides the services that are ours.
    #[must_use]
    pub fn noted(&self, owned: Owned) -> Owned {
        let (offered, wanted) =
            (self.offered.keys().copied().collect(), self.elsewhere.keys().copied().collect());
        Owned { offered, wanted, ..owned }
    }

    /// The notes that count: also those of daemons that may be on their way back.
    fn notes(&mut self, now: Instant) -> Vec<Note> {
        let mut notes = self.directory.notes();
        for note in notes.iter().filter(|note| note.is_alive()) {
            self.seen.insert(note.name.clone(), now);
        }
        notes.retain(|note| self.seen.get(&note.name).is_some_and(|at| *at + LINGER > now));
        notes
    }

    /// What of the configuration belongs to others. A service that is ours, too, belongs to the daemon that was started first.
    fn theirs(&self, notes: &[Note], mine: &BTreeSet<ServiceKey>) -> Claims {
        let own = (Process::own().started, &self.directory.name);
        let belongs = |note: &Note, key: &ServiceKey| {
            let is_first = note.state == Life::Runs
                && note.daemon.is_some_and(|daemon| (daemon.started, &note.name) < own);
            note.keeps(key) && (is_first || !mine.contains(key))
        };
        let owner =
            |key: ServiceKey| Some((key, notes.iter().find(|note| belongs(note, &key))?.name.clone()));
        keys(&self.whole).into_iter().filter_map(owner).collect()
    }

    /// `whole`: the plan of the configuration, where it is at hand.
    fn share(
        &mut self,
        whole: Option<Plan>,
        elsewhere: Claims,
        notes: &[Note],
        mine: &BTreeSet<ServiceKey>,
        now: Instant,
    ) -> Share {
        self.say(&elsewhere);
        self.elsewhere = elsewhere;
        self.offered.retain(|key, _| !is_taken(notes, key));
        self.collision_until = now + COLLISION;
        let plan = self.plan(whole);
        let goes = mine.difference(&keys(plan.config())).copied().collect::<BTreeSet<_>>();
        let is_theirs = |key: &ServiceKey| self.elsewhere.contains_key(key) || is_taken(notes, key);
        Share { plan, handed_over: goes.into_iter().filter(is_theirs).collect() }
    }

    fn plan(&self, whole: Option<Plan>) -> Plan {
        match whole {
            Some(plan) if self.elsewhere.is_empty() && self.offered.is_empty() => plan,
            _ => {
                let elsewhere = self.elsewhere.keys().map(|key| desired::virtual_id(*key)).collect();
                Plan::shared(&self.whole, &elsewhere, self.offered.values().cloned())
            }
        }
    }

    /// Says which services have come and gone.
    fn say(&self, elsewhere: &Claims) {
        for (key, owner) in elsewhere.iter().filter(|(key, _)| !self.elsewhere.contains_key(*key)) {
            error!(
                "Virtual server {} is owned by the daemon {} and left to it; take it out of one of the two configurations",
                desired::virtual_id(*key),
                escaped(owner)
            );
        }
        for (key, owner) in self.elsewhere.iter().filter(|(key, _)| !elsewhere.contains_key(*key)) {
            info!(
                "Virtual server {} is owned by the daemon {} no more",
                desired::virtual_id(*key),
                escaped(owner)
            );
        }
    }
}

/// Whether another daemon has taken what is offered.
fn is_taken(notes: &[Note], key: &ServiceKey) -> bool {
    notes.iter().any(|note| note.state == Life::Runs && note.keeps(key))
}

fn keys(config: &Config) -> BTreeSet<ServiceKey> {
    config.virtuals.iter().map(|v| desired::service_key(v.id)).collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "some instant is needed to count from")]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{self, Answers};
    use crate::sys::lock::Lock;

    const BLOCK: &str = "\treal=10.0.0.2:80 masq\n\tchecktype=on\n";

    fn text(ports: &[u16]) -> String {
        ports.iter().map(|port| format!("virtual=10.0.0.1:{port}\n{BLOCK}")).collect()
    }

    fn plan(ports: &[u16]) -> Plan {
        let config = config::load(text(ports).as_bytes(), &Answers::new("director")).config.unwrap();
        Plan::new(Arc::new(config))
    }

    fn keys(ports: &[u16]) -> BTreeSet<ServiceKey> {
        planned(&plan(ports))
    }

    fn planned(plan: &Plan) -> BTreeSet<ServiceKey> {
        super::keys(plan.config())
    }

    /// The notes of others, and the one that asks.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            Folder(tempfile::tempdir().unwrap())
        }

        fn directory(&self) -> Directory {
            Directory::new(self.0.path(), "web.cf").unwrap()
        }

        fn write(&self, name: &str, owned: Owned, process: &str) {
            let path = self.0.path().join(owned::file_name(name));
            OwnedServices::open(path.clone()).write(owned, Instant::now()).unwrap();
            let own = Process::own().to_string();
            fs::write(&path, fs::read_to_string(&path).unwrap().replace(&own, process)).unwrap();
        }

        /// The note of a daemon that runs: it has the process of this test.
        fn runs(&self, name: &str, ports: &[u16], offered: &[u16]) {
            let owned = Owned { services: keys(ports), offered: keys(offered), ..Owned::default() };
            self.write(name, owned, &Process::own().to_string());
        }

        /// The note of one that is gone.
        fn gone(&self, name: &str, ports: &[u16]) {
            self.write(name, Owned { services: keys(ports), ..Owned::default() }, "4194304 1");
        }

        fn lock(&self, name: &str) -> Lock {
            Lock::take(&self.0.path().join(lock::file_name(name))).unwrap().unwrap()
        }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// R93
    #[test]
    fn what_another_daemon_owns_is_left_to_it_until_it_gives_it_up() {
        let (folder, now) = (Folder::new(), Instant::now());
        folder.runs("mail.cf", &[25, 80], &[]);
        let (mut peers, running) = Peers::new(folder.directory(), plan(&[80, 81]), now);
        assert_eq!(planned(&running), keys(&[81]));
        assert_eq!(peers.elsewhere().values().collect::<Vec<_>>(), ["mail.cf"]);
        assert_eq!(peers.noted(Owned::default()).wanted, keys(&[80]));
        // What a former run has left of it is not ours to remove.
        let formerly = peers.without_theirs(keys(&[25, 80, 81, 99]), &Claims::new(), now);
        assert_eq!(formerly, keys(&[81, 99]));
        assert!(peers.look(&running, now + seconds(1)).is_none(), "nothing has changed");
        folder.runs("mail.cf", &[25], &[]);
        let share = peers.look(&running, now + seconds(2)).unwrap();
        assert_eq!((planned(&share.plan), share.handed_over), (keys(&[80, 81]), BTreeSet::new()));
        // "mail.cf" and this one have taken it at the same moment: it goes to the first, by time and name.
        folder.runs("mail.cf", &[25, 80], &[]);
        let again = peers.look(&share.plan, now + seconds(3)).unwrap();
        assert_eq!((planned(&again.plan), again.handed_over), (keys(&[81]), keys(&[80])), "not removed");
        // Of "zeta.cf" this one is the first.
        folder.gone("mail.cf", &[]);
        let share = peers.look(&again.plan, now + seconds(4)).unwrap();
        folder.runs("zeta.cf", &[80], &[]);
        assert!(peers.look(&share.plan, now + seconds(5)).is_none());
        assert_eq!(peers.poll_timeout(), Some(now + seconds(6)));
        assert!(peers.look(&share.plan, now + seconds(20)).is_none());
        assert_eq!(peers.poll_timeout(), None, "nothing is shared");
    }

    /// R93: by a restart, or by systemd.
    #[test]
    fn a_daemon_that_may_come_back_keeps_its_services() {
        let (folder, now) = (Folder::new(), Instant::now());
        folder.runs("mail.cf", &[80], &[]);
        let (mut peers, running) = Peers::new(folder.directory(), plan(&[80, 81]), now);
        folder.gone("mail.cf", &[80]);
        assert!(peers.look(&running, now + seconds(1)).is_none());
        assert!(peers.look(&running, now + seconds(14)).is_none());
        // Who starts now, perhaps the same file under another name, has not seen it alive.
        let (_, new) = Peers::new(folder.directory(), plan(&[80, 81]), now);
        assert_eq!(planned(&new), keys(&[80, 81]));
        let share = peers.look(&running, now + seconds(15)).unwrap();
        assert_eq!(planned(&share.plan), keys(&[80, 81]));
        // It is back after all, and finds that the service is another one's.
        let _held = folder.lock("mail.cf");
        assert!(peers.look(&share.plan, now + seconds(17)).is_none());
    }

    /// R93
    #[test]
    fn what_another_daemon_wants_is_checked_until_it_has_taken_it() {
        let (folder, now) = (Folder::new(), Instant::now());
        // Its file has it, and the daemon has not read that yet.
        let file = folder.0.path().join("mail.cf");
        fs::write(&file, text(&[25, 80])).unwrap();
        let network = Some(Place::here().unwrap().network);
        let mail = instance::Instance { name: "mail.cf".to_owned(), network, file: file.clone() };
        let mut held = folder.lock("mail.cf");
        held.name_own_process(&mail.to_string());
        folder.runs("mail.cf", &[25], &[]);
        let claims = folder.directory().claims();
        assert_eq!(claims.keys().copied().collect::<BTreeSet<_>>(), keys(&[25, 80]));
        let (mut peers, running) = Peers::new(folder.directory(), plan(&[80, 81, 82]), now);
        let share = peers.take_up(plan(&[82]), &running, &claims, now + seconds(1));
        assert_eq!((planned(&share.plan), share.handed_over), (keys(&[80, 82]), BTreeSet::new()), "81 goes");
        assert_eq!(peers.noted(Owned::default()).offered, keys(&[80]));
        assert!(peers.look(&share.plan, now + seconds(60)).is_none());
        folder.runs("mail.cf", &[25, 80], &[]);
        let last = peers.look(&share.plan, now + seconds(61)).unwrap();
        assert_eq!((planned(&last.plan), last.handed_over), (keys(&[82]), keys(&[80])));
        // For the other one an offer is free.
        folder.runs("mail.cf", &[25, 80], &[80]);
        let (_, other) = Peers::new(folder.directory(), plan(&[80]), now);
        assert_eq!(planned(&other), keys(&[80]));
        // A note tells of what a file cannot: it is wrong now, and the daemon waits for the service.
        fs::write(&file, "nonsense\n").unwrap();
        let waits = Owned { wanted: keys(&[80]), ..Owned::default() };
        folder.write("mail.cf", waits, &Process::own().to_string());
        assert_eq!(folder.directory().claims().into_keys().collect::<BTreeSet<_>>(), keys(&[80]));
    }

    #[test]
    fn in_another_network_namespace_it_is_another_service() {
        let folder = Folder::new();
        folder.runs("mail.cf", &[80], &[]);
        assert_eq!(folder.directory().notes().len(), 1);
        let path = folder.0.path().join(owned::file_name("mail.cf"));
        let elsewhere = fs::read_to_string(&path).unwrap().replace("network net:[", "network net:[9");
        fs::write(&path, elsewhere).unwrap();
        assert!(folder.directory().notes().is_empty());
    }
}
