//! The other daemons on this kernel's table. A virtual service has one owner: the daemon that noted it as its own, as long as that
//! lives. A daemon whose configuration has it, too, leaves it to its owner, and takes it over when that gives it up; one that gives it
//! up leaves it in the table where another one's configuration has it. Neither costs a write, nor a moment without the service.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipvs_rs::ServiceKey;
use tracing::{error, info, warn};

use super::load::load;
use super::owned::{self, OwnedServices};
use crate::desired;
use crate::plan::Plan;
use crate::sys::instance;
use crate::sys::lock::{self, Holder};
use crate::sys::place::Place;
use crate::sys::process::Process;
use crate::value::VirtualId;

/// Between two looks at what the others own.
const INTERVAL: Duration = Duration::from_secs(1);
/// For so long after a change of our own, since another daemon may have taken the same service at the same moment.
const AFTER_CHANGE: Duration = Duration::from_secs(3);

/// Services with the name of the daemon that has them.
pub type Claims = BTreeMap<ServiceKey, String>;

/// Where the others are found.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    name: String,
    place: Place,
}

impl Directory {
    /// The others than the daemon of this name; none where it cannot be known who they are.
    #[must_use]
    pub fn new(path: &Path, name: &str) -> Option<Directory> {
        Some(Directory { path: path.to_owned(), name: name.to_owned(), place: Place::here().ok()? })
    }

    /// What daemons that live, or start, have noted as their own. Of a service that is one of `mine`, too, the daemon that was started
    /// first is the owner.
    #[must_use]
    pub fn owned(&self, mine: &BTreeSet<ServiceKey>) -> Claims {
        let own = (Process::own().started, &self.name);
        let mut claims = Claims::new();
        for other in self.names(&owned::file_name("")) {
            let Some(left) = OwnedServices::open(self.path.join(owned::file_name(&other))).left() else {
                continue;
            };
            let is_locked =
                !matches!(lock::holder(&self.path.join(lock::file_name(&other))), Ok(Holder::Nobody));
            let lives = is_locked || left.daemon.is_some_and(Process::lives);
            if !lives || left.place.as_ref() != Some(&self.place) {
                continue;
            }
            let is_first = (left.daemon.map_or(0, |daemon| daemon.started), &other) < own;
            let theirs = left.owned.services.into_iter().filter(|key| is_first || !mine.contains(key));
            claims.extend(theirs.map(|key| (key, other.clone())));
        }
        claims
    }

    /// What the configurations of daemons that run have, as they stand in their files now. Blocks as long as file systems and name
    /// servers do.
    #[must_use]
    pub fn configured(&self) -> Claims {
        let mut claims = Claims::new();
        for other in self.names(&lock::file_name("")) {
            let held = instance::held(&self.path.join(lock::file_name(&other))).ok().flatten();
            let Some((_, other)) =
                held.filter(|(_, other)| other.network.as_ref() == Some(&self.place.network))
            else {
                continue;
            };
            // With a wrong file it goes on with what it has.
            let Ok(loaded) = load(&other.file) else { continue };
            claims.extend(planned(&loaded.plan).into_iter().map(|key| (key, other.name.clone())));
        }
        claims
    }

    /// What an earlier run of this daemon left behind, without what is another one's now.
    #[must_use]
    pub fn without_theirs(&self, formerly: BTreeSet<ServiceKey>, plan: &Plan) -> BTreeSet<ServiceKey> {
        let goes: BTreeSet<ServiceKey> = formerly.difference(&planned(plan)).copied().collect();
        if goes.is_empty() {
            return formerly;
        }
        let (owned, configured) = (self.owned(&BTreeSet::new()), self.configured());
        let is_theirs = |key: &ServiceKey| owned.contains_key(key) || configured.contains_key(key);
        formerly.into_iter().filter(|key| !(goes.contains(key) && is_theirs(key))).collect()
    }

    /// The other names that have such a file.
    fn names(&self, ending: &str) -> BTreeSet<String> {
        let entries = self.path.read_dir().into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Some(entry.file_name().into_string().ok()?.strip_suffix(ending)?.to_owned()))
            .filter(|name| *name != self.name)
            .collect()
    }
}

/// The configuration as it was read, and what of it is left to others.
pub struct Peers {
    directory: Directory,
    whole: Plan,
    elsewhere: Claims,
    look_at: Instant,
    until: Instant,
}

/// What a daemon has to do.
pub struct Share {
    /// Its plan.
    pub plan: Plan,
    /// What goes from its plan and stays in the table.
    pub left: BTreeSet<ServiceKey>,
}

impl Peers {
    /// The configuration of a daemon that starts, and the plan that is left for it.
    #[must_use]
    pub fn new(directory: Directory, whole: Plan, now: Instant) -> (Peers, Plan) {
        let elsewhere = Claims::new();
        let mut peers = Peers { directory, whole, elsewhere, look_at: now + INTERVAL, until: now };
        let nothing = BTreeSet::new();
        let Share { plan, .. } = peers.share(peers.theirs(&nothing), &nothing, &Claims::new(), now);
        (peers, plan)
    }

    /// Divides another configuration; `configured` is what those of others have.
    pub fn take_up(&mut self, whole: Plan, running: &Plan, configured: &Claims, now: Instant) -> Share {
        self.whole = whole;
        let mine = planned(running);
        self.share(self.theirs(&mine), &mine, configured, now)
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

    /// When [`Peers::look`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.elsewhere.is_empty() || self.look_at <= self.until).then_some(self.look_at)
    }

    /// Looks whether a service has changed hands; gives the new share if so.
    pub fn look(&mut self, running: &Plan, now: Instant) -> Option<Share> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return None;
        }
        self.look_at = now + INTERVAL;
        let mine = planned(running);
        let elsewhere = self.theirs(&mine);
        (elsewhere.keys().ne(self.elsewhere.keys()))
            .then(|| self.share(elsewhere, &mine, &Claims::new(), now))
    }

    /// What of the configuration belongs to others.
    fn theirs(&self, mine: &BTreeSet<ServiceKey>) -> Claims {
        let all = planned(&self.whole);
        self.directory.owned(mine).into_iter().filter(|(key, _)| all.contains(key)).collect()
    }

    fn share(
        &mut self,
        elsewhere: Claims,
        mine: &BTreeSet<ServiceKey>,
        configured: &Claims,
        now: Instant,
    ) -> Share {
        for (key, owner) in elsewhere.iter().filter(|(key, _)| !self.elsewhere.contains_key(*key)) {
            error!(
                "Virtual server {} is owned by the daemon {owner} and left to it; take it out of one of the two configurations",
                shown(*key)
            );
        }
        for (key, owner) in self.elsewhere.iter().filter(|(key, _)| !elsewhere.contains_key(*key)) {
            info!("Virtual server {} is owned by the daemon {owner} no more", shown(*key));
        }
        let plan = self.whole.without(&elsewhere.keys().map(|key| desired::virtual_id(*key)).collect());
        let goes: BTreeSet<ServiceKey> = mine.difference(&planned(&plan)).copied().collect();
        for (key, other) in configured.iter().filter(|(key, _)| goes.contains(*key)) {
            warn!(
                "Virtual server {} stays in the table for the daemon {other}, whose configuration has it; if that has not read it yet: \
                 ldirectord-rs {other} reload",
                shown(*key)
            );
        }
        let left = goes
            .into_iter()
            .filter(|key| elsewhere.contains_key(key) || configured.contains_key(key))
            .collect();
        self.elsewhere = elsewhere;
        self.until = now + AFTER_CHANGE;
        Share { plan, left }
    }
}

fn planned(plan: &Plan) -> BTreeSet<ServiceKey> {
    plan.virtuals().iter().map(|v| desired::service_key(v.id)).collect()
}

fn shown(key: ServiceKey) -> VirtualId {
    desired::virtual_id(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

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

    /// The note of a daemon of this name, started at this time.
    fn note(directory: &Path, name: &str, ports: &[u16], started: u64) {
        let owned = owned::Owned { services: keys(ports), kept: BTreeSet::new() };
        let path = directory.join(owned::file_name(name));
        OwnedServices::open(path.clone()).write(owned).unwrap();
        let own = format!("daemon {}\n", Process::own());
        let other = format!("daemon {} {started}\n", Process::own().pid);
        fs::write(&path, fs::read_to_string(&path).unwrap().replace(&own, &other)).unwrap();
    }

    fn lock(directory: &Path, name: &str) -> Lock {
        Lock::take(&directory.join(lock::file_name(name))).unwrap().unwrap()
    }

    #[test]
    fn a_service_is_that_of_a_daemon_that_lives_here() {
        let dir = tempfile::tempdir().unwrap();
        let others = Directory::new(dir.path(), "web.cf").unwrap();
        let nothing = BTreeSet::new();
        note(dir.path(), "mail.cf", &[25, 80], 1);
        note(dir.path(), "web.cf", &[81], 1);
        assert_eq!(others.owned(&nothing), Claims::new(), "the daemon is gone");
        let held = lock(dir.path(), "mail.cf");
        let owned = others.owned(&nothing);
        assert_eq!(owned.keys().copied().collect::<BTreeSet<_>>(), keys(&[25, 80]));
        assert!(owned.values().all(|name| name == "mail.cf"));
        // Both have taken it at the same moment: it stays that of the daemon that was started first.
        assert_eq!(others.owned(&keys(&[80])), owned);
        note(dir.path(), "mail.cf", &[25, 80], u64::MAX);
        assert_eq!(others.owned(&keys(&[80])).into_keys().collect::<BTreeSet<_>>(), keys(&[25]));
        // In another network namespace it is another service.
        let path = dir.path().join(owned::file_name("mail.cf"));
        let elsewhere = fs::read_to_string(&path).unwrap().replace("network net:[", "network net:[9");
        fs::write(&path, elsewhere).unwrap();
        assert_eq!(others.owned(&nothing), Claims::new());
        drop(held);
    }

    /// R93
    #[test]
    fn what_another_daemon_owns_is_left_to_it_until_it_gives_it_up() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::new(dir.path(), "web.cf").unwrap();
        let _held = lock(dir.path(), "mail.cf");
        note(dir.path(), "mail.cf", &[80], 1);
        let mut now = Instant::now();
        let (mut peers, running) = Peers::new(directory, plan(&[80, 81]), now);
        assert_eq!(planned(&running), keys(&[81]));
        assert_eq!(peers.elsewhere().values().collect::<Vec<_>>(), ["mail.cf"]);
        now += INTERVAL;
        assert!(peers.look(&running, now).is_none(), "nothing has changed");
        note(dir.path(), "mail.cf", &[25], 1);
        assert!(peers.look(&running, now).is_none(), "not so often");
        now += INTERVAL;
        let share = peers.look(&running, now).unwrap();
        assert_eq!((planned(&share.plan), share.left), (keys(&[80, 81]), BTreeSet::new()));
        // The other one gets it again at the same moment, and was first.
        note(dir.path(), "mail.cf", &[80], 1);
        now += INTERVAL;
        let again = peers.look(&share.plan, now).unwrap();
        assert_eq!((planned(&again.plan), again.left), (keys(&[81]), keys(&[80])), "not removed");
        note(dir.path(), "mail.cf", &[25], 1);
        now += INTERVAL;
        let share = peers.look(&again.plan, now).unwrap();
        now += AFTER_CHANGE + INTERVAL;
        assert!(peers.look(&share.plan, now).is_none());
        assert_eq!(peers.poll_timeout(), None, "nothing is looked for where nothing is shared");
    }

    /// R93
    #[test]
    fn what_another_configuration_has_stays_in_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::new(dir.path(), "web.cf").unwrap();
        let file = dir.path().join("mail.cf");
        fs::write(&file, text(&[25, 80])).unwrap();
        let network = Some(Place::here().unwrap().network);
        let mail = instance::Instance { name: "mail.cf".to_owned(), network, file: file.clone() };
        let mut held = lock(dir.path(), "mail.cf");
        held.name_own_process(&mail.to_string());
        let configured = directory.configured();
        assert_eq!(configured.keys().copied().collect::<BTreeSet<_>>(), keys(&[25, 80]));
        let (mut peers, running) = Peers::new(directory.clone(), plan(&[80, 81, 82]), Instant::now());
        let share = peers.take_up(plan(&[82]), &running, &configured, Instant::now());
        assert_eq!((planned(&share.plan), share.left), (keys(&[82]), keys(&[80])));
        // After a restart, too.
        assert_eq!(directory.without_theirs(keys(&[80, 81, 82]), &plan(&[82])), keys(&[81, 82]));
        // A file that is wrong has nothing.
        fs::write(&file, "nonsense\n").unwrap();
        assert_eq!(directory.configured(), Claims::new());
    }
}
