//! Services that move between daemons. The other daemons are only notes.

#![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

use std::fs;

use super::*;
use crate::config::{self, Answers};
use crate::daemon::owned::{self, OwnedServices};
use crate::sys::instance;
use crate::sys::lock::{self, Lock};
use crate::sys::place::TablePlace;
use crate::value::Family;

const BLOCK: &str = "\treal=10.0.0.2:80 masq\n\tchecktype=on\n";

fn text(ports: &[u16]) -> String {
    ports.iter().map(|port| format!("virtual=10.0.0.1:{port}\n{BLOCK}")).collect()
}

fn spec(ports: &[u16]) -> Spec {
    let config = config::load(text(ports).as_bytes(), &Answers::new("director")).config.unwrap();
    Spec::new(Arc::new(config))
}

fn keys(ports: &[u16]) -> BTreeSet<ServiceKey> {
    configured(&spec(ports))
}

fn configured(spec: &Spec) -> BTreeSet<ServiceKey> {
    super::keys(spec.config())
}

/// The state directory with the notes of other daemons.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn directory(&self) -> StateDirectory {
        StateDirectory::new(self.0.path(), "web.cf").unwrap()
    }

    fn write(&self, name: &str, owned: Owned, process: &str) {
        let path = self.0.path().join(owned::file_name(name));
        OwnedServices::open(path.clone()).write(&owned).unwrap();
        let own = Process::own().to_string();
        fs::write(&path, fs::read_to_string(&path).unwrap().replace(&own, process)).unwrap();
    }

    /// Writes the note of a running daemon, with the process of this test.
    fn runs(&self, name: &str, ports: &[u16], offered: &[u16]) {
        let owned = Owned { services: keys(ports), offered: keys(offered), ..Owned::default() };
        self.write(name, owned, &Process::own().to_string());
    }

    /// Writes the note of a daemon that is gone.
    fn gone(&self, name: &str, ports: &[u16]) {
        self.write(name, Owned { services: keys(ports), ..Owned::default() }, "4194304 1");
    }

    fn lock(&self, name: &str) -> Lock {
        Lock::take(&self.0.path().join(lock::file_name(name))).unwrap().unwrap()
    }

    fn sight(&self) -> Sight {
        self.directory().look(&Hosts::new(), seconds(20))
    }

    fn start(&self, ports: &[u16], previously_owned: &[u16], now: Instant) -> Beginning {
        Peers::begin(self.directory(), spec(ports), keys(previously_owned), self.sight(), now)
    }
}

impl Share {
    /// The services of the new spec, and the services handed over.
    fn parts(&self) -> (BTreeSet<ServiceKey>, BTreeSet<ServiceKey>) {
        (configured(self.spec.as_ref().unwrap()), self.handed_over.clone())
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
    // A service that an earlier run left and that now has another owner is not removed here.
    let Beginning { mut peers, spec: running, previously_owned } =
        folder.start(&[80, 81], &[25, 80, 81, 99], now);
    assert_eq!((configured(&running), previously_owned), (keys(&[81]), keys(&[81, 99])));
    assert_eq!(peers.elsewhere().values().collect::<Vec<_>>(), ["mail.cf"]);
    assert_eq!(peers.noted(Owned::default()).wanted, keys(&[80]));
    assert!(peers.look(folder.sight(), &running, now + seconds(1)).is_none(), "nothing has changed");
    folder.runs("mail.cf", &[25], &[]);
    let share = peers.look(folder.sight(), &running, now + seconds(2)).unwrap();
    assert_eq!(share.parts(), (keys(&[80, 81]), BTreeSet::new()));
    let both = share.spec.unwrap();
    // "mail.cf" and this daemon have taken the service at the same moment: it goes to the first, by start time and
    // name.
    folder.runs("mail.cf", &[25, 80], &[]);
    let again = peers.look(folder.sight(), &both, now + seconds(3)).unwrap();
    assert_eq!(again.parts(), (keys(&[81]), keys(&[80])), "not removed");
    // Compared with "zeta.cf", this daemon is the first.
    folder.gone("mail.cf", &[]);
    let share = peers.look(folder.sight(), &again.spec.unwrap(), now + seconds(4)).unwrap();
    let both = share.spec.unwrap();
    folder.runs("zeta.cf", &[80], &[]);
    assert!(peers.look(folder.sight(), &both, now + seconds(5)).is_none());
    assert_eq!(peers.poll_timeout(), Some(now + seconds(6)));
    assert!(peers.look(folder.sight(), &both, now + seconds(20)).is_none());
    assert_eq!(peers.poll_timeout(), Some(now + seconds(30)), "nothing is shared");
    // While our note could not be written, the other daemon may have taken the service.
    peers.noted_at(now + seconds(21));
    assert_eq!(peers.poll_timeout(), Some(now + seconds(22)));
}

/// R93: a daemon may be restarted, for example by systemd.
#[test]
fn a_daemon_that_may_come_back_keeps_its_services() {
    let (folder, now) = (Folder::new(), Instant::now());
    folder.runs("mail.cf", &[80], &[]);
    let Beginning { mut peers, spec: running, .. } = folder.start(&[80, 81], &[], now);
    folder.gone("mail.cf", &[80]);
    assert!(peers.look(folder.sight(), &running, now + seconds(1)).is_none());
    assert!(peers.look(folder.sight(), &running, now + seconds(14)).is_none());
    // A daemon that starts now, perhaps the same file under another name, has not seen the other one running.
    assert_eq!(configured(&folder.start(&[80, 81], &[], now).spec), keys(&[80, 81]));
    let share = peers.look(folder.sight(), &running, now + seconds(15)).unwrap();
    assert_eq!(share.parts().0, keys(&[80, 81]));
    // The other daemon returns late, and the service keeps its new owner.
    let _held = folder.lock("mail.cf");
    assert!(peers.look(folder.sight(), &share.spec.unwrap(), now + seconds(17)).is_none());
}

/// R93
#[test]
fn what_another_daemon_wants_is_checked_until_it_has_taken_it() {
    let (folder, now) = (Folder::new(), Instant::now());
    // The file of the other daemon has the service, but that daemon has not loaded it yet.
    let file = folder.0.path().join("mail.cf");
    fs::write(&file, text(&[25, 80])).unwrap();
    let network = Some(TablePlace::here().unwrap().network);
    let mail = instance::Instance { name: "mail.cf".to_owned(), network, file: file.clone() };
    let mut held = folder.lock("mail.cf");
    held.name_own_process(&mail.to_string());
    folder.runs("mail.cf", &[25], &[]);
    let sight = folder.sight();
    assert_eq!(sight.claims.keys().copied().collect::<BTreeSet<_>>(), keys(&[25, 80]));
    let Beginning { mut peers, spec: running, .. } = folder.start(&[80, 81, 82], &[], now);
    let share = peers.apply_reload(spec(&[82]), &running, sight, now + seconds(1));
    assert_eq!(share.parts(), (keys(&[80, 82]), BTreeSet::new()), "81 goes");
    assert_eq!(peers.noted(Owned::default()).offered, keys(&[80]));
    let offering = share.spec.unwrap();
    assert!(peers.look(folder.sight(), &offering, now + seconds(60)).is_none());
    folder.runs("mail.cf", &[25, 80], &[]);
    let last = peers.look(folder.sight(), &offering, now + seconds(61)).unwrap();
    assert_eq!(last.parts(), (keys(&[82]), keys(&[80])));
    // An offered service is free for other daemons.
    folder.runs("mail.cf", &[25, 80], &[80]);
    assert_eq!(configured(&folder.start(&[80], &[], now).spec), keys(&[80]));
    // The note still claims the service while the file is invalid.
    fs::write(&file, "nonsense\n").unwrap();
    let waits = Owned { wanted: keys(&[80]), ..Owned::default() };
    folder.write("mail.cf", waits, &Process::own().to_string());
    assert_eq!(folder.sight().claims.into_keys().collect::<BTreeSet<_>>(), keys(&[80]));
    // A daemon that stops claims nothing and offers all its services.
    let stops = Owned { wanted: keys(&[80]), is_stopping: true, ..Owned::default() };
    folder.write("mail.cf", stops, &Process::own().to_string());
    assert!(folder.sight().claims.is_empty());
}

/// R93: the other daemon may have been started before a link was changed, without a lock, or with another file.
#[test]
fn the_file_of_a_note_is_read_and_hosts_keep_their_address() {
    let folder = Folder::new();
    let file = folder.0.path().join("named.cf");
    fs::write(&file, format!("virtual=www.example.net:80\n{BLOCK}")).unwrap();
    folder.write("mail.cf", Owned { file: Some(file), ..Owned::default() }, &Process::own().to_string());
    let hosts = Hosts::from([(("www.example.net".to_owned(), Family::V4), "10.0.0.1".parse().unwrap())]);
    let sight = folder.directory().look(&hosts, seconds(20));
    assert_eq!(sight.claims.into_keys().collect::<BTreeSet<_>>(), keys(&[80]));
}

/// R93: both daemons were restarted at once, after a service was moved from one file to the other.
#[test]
fn leftovers_stay_while_another_daemon_may_want_them() {
    let (folder, now) = (Folder::new(), Instant::now());
    folder.gone("mail.cf", &[25]);
    let Beginning { mut peers, spec: running, previously_owned } = folder.start(&[81], &[80, 81, 99], now);
    assert_eq!(previously_owned, keys(&[81]));
    let noted = peers.noted(Owned::default());
    assert_eq!((noted.services, noted.offered), (keys(&[80, 99]), keys(&[80, 99])));
    // The other daemon runs now, and its file has one of the services.
    let file = folder.0.path().join("mail.cf");
    fs::write(&file, text(&[25, 80])).unwrap();
    let note = |services: &[u16]| {
        let owned = Owned { services: keys(services), file: Some(file.clone()), ..Owned::default() };
        folder.write("mail.cf", owned, &Process::own().to_string());
    };
    note(&[25]);
    assert!(peers.look(folder.sight(), &running, now + seconds(14)).is_none());
    let share = peers.look(folder.sight(), &running, now + seconds(15)).unwrap();
    assert_eq!((share.abandoned, share.spec.is_none()), (keys(&[99]), true));
    assert_eq!(peers.noted(Owned::default()).offered, keys(&[80]));
    note(&[25, 80]);
    assert!(peers.look(folder.sight(), &running, now + seconds(16)).is_none());
    assert!(peers.noted(Owned::default()).offered.is_empty());
    // If all other daemons run and claim nothing, the service is removed at once.
    assert_eq!(folder.start(&[81], &[80, 81, 99], now).previously_owned, keys(&[81, 99]));
}

#[test]
fn in_another_network_namespace_it_is_another_service() {
    let folder = Folder::new();
    folder.runs("mail.cf", &[80], &[]);
    assert_eq!(folder.directory().notes().unwrap().len(), 1);
    let path = folder.0.path().join(owned::file_name("mail.cf"));
    let elsewhere = fs::read_to_string(&path).unwrap().replace("network net:[", "network net:[9");
    fs::write(&path, elsewhere).unwrap();
    assert!(folder.directory().notes().unwrap().is_empty());
}

/// A failed look proves nothing: without descriptors every other daemon would seem to be gone.
#[test]
fn what_cannot_be_read_changes_no_owner() {
    let (folder, now) = (Folder::new(), Instant::now());
    folder.runs("mail.cf", &[80], &[]);
    let Beginning { mut peers, spec: running, .. } = folder.start(&[80, 81, 82], &[], now);
    let blind = Sight::blind("gone".to_owned());
    assert!(peers.look(blind, &running, now + seconds(30)).is_none());
    assert_eq!(peers.elsewhere().len(), 1);
    assert_eq!(peers.poll_timeout(), Some(now + seconds(31)));
    // Also at a reload: owners stay the same, and services that leave the file are not removed yet.
    let share = peers.apply_reload(spec(&[80, 81]), &running, blind_sight(), now + seconds(40));
    assert_eq!(share.parts(), (keys(&[81, 82]), BTreeSet::new()));
    let running = share.spec.unwrap();
    assert!(peers.look(folder.sight(), &running, now + seconds(45)).is_none());
    let share = peers.look(folder.sight(), &running, now + seconds(60)).unwrap();
    assert_eq!(share.parts(), (keys(&[81]), BTreeSet::new()));
}

fn blind_sight() -> Sight {
    Sight::blind("gone".to_owned())
}

/// R93: a daemon that starts removes no service until its owner is known.
#[test]
fn a_start_that_sees_no_other_daemon_removes_nothing() {
    let (folder, now) = (Folder::new(), Instant::now());
    folder.runs("mail.cf", &[80], &[]);
    let missing = StateDirectory::new(&folder.0.path().join("none"), "web.cf").unwrap();
    let trouble = missing.look(&Hosts::new(), seconds(20)).trouble.unwrap();
    assert!(trouble.contains("/none cannot be read: ") && trouble.contains("no such file"), "{trouble}");
    let begin =
        Peers::begin(folder.directory(), spec(&[80, 81]), keys(&[81, 99]), Sight::blind(trouble), now);
    let Beginning { mut peers, spec: running, previously_owned } = begin;
    // Services of the file are managed: two owners are better than none.
    assert_eq!((configured(&running), previously_owned), (keys(&[80, 81]), keys(&[81])));
    assert_eq!(peers.noted(Owned::default()).services, keys(&[99]));
    assert!(peers.look(blind_sight(), &running, now + seconds(60)).is_none());
    assert_eq!(peers.noted(Owned::default()).services, keys(&[99]));
    // A stop now would leave it in the table; a stop that can read the notes would not.
    assert_eq!(blind_sight().to_leave(peers.held()), keys(&[99]));
    assert_eq!(folder.sight().to_leave(peers.held()), BTreeSet::new());
    // Once the notes can be read, each daemon has its own services again, and unclaimed ones are removed.
    let share = peers.look(folder.sight(), &running, now + seconds(61)).unwrap();
    assert_eq!(share.parts(), (keys(&[81]), keys(&[80])));
    assert_eq!(share.abandoned, keys(&[99]));
}

/// R93: a service was moved to the other file, and then removed from it, too.
#[test]
fn what_is_offered_and_wanted_no_more_is_removed() {
    let (folder, now) = (Folder::new(), Instant::now());
    let file = folder.0.path().join("mail.cf");
    let mail_has = |ports: &[u16]| fs::write(&file, text(ports)).unwrap();
    folder.write(
        "mail.cf",
        Owned { file: Some(file.clone()), services: keys(&[25]), ..Owned::default() },
        &Process::own().to_string(),
    );
    mail_has(&[25, 80]);
    let Beginning { mut peers, spec: running, .. } = folder.start(&[80, 81], &[], now);
    let share = peers.apply_reload(spec(&[81]), &running, folder.sight(), now);
    let running = share.spec.unwrap();
    assert_eq!(configured(&running), keys(&[80, 81]));
    let mut is_same_at = |at: u64| peers.look(folder.sight(), &running, now + seconds(at)).is_none();
    mail_has(&[25]);
    assert!(is_same_at(5) && is_same_at(19));
    // It is claimed again: the time starts over.
    mail_has(&[25, 80]);
    assert!(is_same_at(20));
    // An invalid file, for example during an edit, proves nothing.
    fs::write(&file, "nonsense\n").unwrap();
    assert!(is_same_at(25) && is_same_at(50));
    mail_has(&[25]);
    assert!(is_same_at(55) && is_same_at(69));
    let share = peers.look(folder.sight(), &running, now + seconds(70)).unwrap();
    assert_eq!(share.parts(), (keys(&[81]), BTreeSet::new()), "not handed over, so removed");
    assert!(peers.noted(Owned::default()).offered.is_empty());
}

/// While a service is offered, the files of the other daemons are read, not only their notes.
#[tokio::test(start_paused = true)]
async fn what_is_offered_has_looks_at_the_files() {
    let (folder, now) = (Folder::new(), Instant::now());
    let file = folder.0.path().join("mail.cf");
    fs::write(&file, text(&[80])).unwrap();
    let mail = Owned { file: Some(file), ..Owned::default() };
    folder.write("mail.cf", mail, &Process::own().to_string());
    let Beginning { mut peers, spec: running, .. } = folder.start(&[80], &[], now);
    let _ = peers.apply_reload(spec(&[]), &running, folder.sight(), now);
    for (after, is_whole) in [(1, false), (5, true), (6, false), (10, true)] {
        peers.start_look(&Hosts::new(), now + seconds(after));
        assert_eq!(peers.sight().await.is_whole, is_whole, "after {after} s");
    }
}
