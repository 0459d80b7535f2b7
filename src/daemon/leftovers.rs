//! Removes the virtual services that a crashed or killed daemon left in the kernel's table, for a `stop` that finds
//! no daemon.

use std::collections::BTreeSet;
use std::path::Path;

use ipvs_rs::{Ipvs, ServiceKey, Table, diff};

use super::addresses::Hosts;
use super::directory::{DaemonNote, StateDirectory};
use super::owned::{self, Left, Owned, OwnedServices};
use super::peers::FILES_LIMIT;
use crate::desired;
use crate::sys::place::TablePlace;

/// The result of the removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// There was nothing to remove, or no note of it.
    None,
    /// The number of virtual services that were removed.
    Removed(usize),
    /// All or some services stay, for this reason.
    Left(String),
}

/// Removes the services that the daemon of this name left, except those with `cleanstop=no` and those of other
/// daemons. The caller holds the lock of this name, so that no daemon starts in the meantime. `original`: the pid
/// of a Perl ldirectord, which may have taken the services over.
pub fn remove_leftovers(
    directory: &Path,
    name: &str,
    original: Option<i32>,
    open: impl FnOnce() -> Result<Box<dyn Ipvs>, ipvs_rs::Error>,
) -> Leftovers {
    let file = OwnedServices::open(directory.join(owned::file_name(name)));
    let left = match file.left() {
        Ok(Some(left)) => left,
        Ok(None) => return Leftovers::None,
        Err(error) => return Leftovers::Left(error.to_string()),
    };
    if let Some(why) = not_to_be_removed(&left, original) {
        return Leftovers::Left(why);
    }
    let others = match of_others(directory, name) {
        Ok(others) => others,
        Err(why) => return Leftovers::Left(why),
    };
    let wanted = removable(&left.owned, &others);
    let is_shared = wanted.len() + left.owned.kept.len() < left.owned.services.len();
    let results = open().and_then(|mut ipvs| {
        let left = desired::restrict(&ipvs.dump()?, &wanted);
        Ok(ipvs.apply(&diff(&left, &Table::default())))
    });
    let results = match results {
        Ok(results) => results,
        Err(error) => return Leftovers::Left(error.to_string()),
    };
    let all = results.len();
    match results.into_iter().filter_map(Result::err).collect::<Vec<_>>().as_slice() {
        [] => {
            // The file stays, so that the next stop finds the services that another daemon claims but never takes.
            if !is_shared {
                file.remove();
            }
            if all == 0 { Leftovers::None } else { Leftovers::Removed(all) }
        }
        [first, others @ ..] => {
            Leftovers::Left(format!("only {} of {all} were removed: {first}", all - others.len() - 1))
        }
    }
}

/// Why nothing may be removed.
fn not_to_be_removed(left: &Left, original: Option<i32>) -> Option<String> {
    if let Some(daemon) = left.daemon.filter(|daemon| daemon.lives()) {
        return Some(format!(
            "their daemon still runs, in the foreground or without a lock (pid {})",
            daemon.pid
        ));
    }
    let Some(place) = &left.place else {
        return Some("the daemon did not record the boot and the network namespace".to_owned());
    };
    match TablePlace::here() {
        Err(error) => return Some(format!("cannot read the boot id or the network namespace: {error}")),
        Ok(here) if here.boot != place.boot => {
            return Some("the machine was rebooted since the daemon ran".to_owned());
        }
        Ok(here) if here.network != place.network => {
            return Some("the daemon ran in another network namespace".to_owned());
        }
        Ok(_) => {}
    }
    original.map(|pid| format!("the original ldirectord runs (pid {pid}) and may own them"))
}

fn removable(owned: &Owned, others: &BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
    let goes = |key: &&ServiceKey| !owned.kept.contains(*key) && !others.contains(*key);
    owned.services.iter().filter(goes).copied().collect()
}

/// The services that running or starting daemons of other names own or claim.
fn of_others(directory: &Path, name: &str) -> Result<BTreeSet<ServiceKey>, String> {
    let Some(others) = StateDirectory::new(directory, name) else { return Ok(BTreeSet::new()) };
    let sight = others.look(&Hosts::new(), FILES_LIMIT);
    if let Some(trouble) = sight.trouble {
        return Err(format!("{trouble}, and another daemon may own them"));
    }
    if !sight.is_whole {
        return Err(format!(
            "the configuration of another daemon, which may claim them, was not read within {} s",
            FILES_LIMIT.as_secs()
        ));
    }
    let alive = sight.notes.into_iter().filter(DaemonNote::is_alive);
    Ok(alive.flat_map(|note| note.owned.services).chain(sight.claims.into_keys()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sys::lock::Lock;
    use crate::sys::process::Process;
    use ipvs_rs::{Memory, Service, ServiceConfig};

    fn key(text: &str) -> ServiceKey {
        desired::service_key(text.parse().unwrap())
    }

    fn table(services: &[&str]) -> Memory {
        let mut table = Table::default();
        for text in services {
            table.services.insert(key(text), Service::new(ServiceConfig::new("wrr")));
        }
        let mut memory = Memory::new();
        memory.apply(&diff(&Table::default(), &table)).into_iter().collect::<Result<Vec<()>, _>>().unwrap();
        memory
    }

    fn write(directory: &Path, name: &str, services: &[&str], kept: &[&str]) {
        let keys = |all: &[&str]| all.iter().map(|text| key(text)).collect();
        let owned = Owned { services: keys(services), kept: keys(kept), ..Owned::default() };
        let path = directory.join(owned::file_name(name));
        OwnedServices::open(path.clone()).write(&owned).unwrap();
        // The daemon is gone.
        let own = format!("daemon {}\n", Process::own());
        let text = fs::read_to_string(&path).unwrap().replace(&own, "daemon 4194304 1\n");
        fs::write(&path, text).unwrap();
    }

    /// R83
    #[test]
    fn what_a_crashed_daemon_left_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let all = ["tcp:10.0.0.1:80", "tcp:10.0.0.1:81", "tcp:10.0.0.1:82", "tcp:10.0.0.1:83", "fwm:5"];
        let memory = table(&all);
        let remove = || remove_leftovers(dir.path(), "web.cf", None, || Ok(Box::new(memory.clone())));
        assert_eq!(remove(), Leftovers::None, "there is no note");
        write(dir.path(), "web.cf", &all[..4], &all[1..2]);
        // A running daemon owns one of them now; a daemon that is gone owns none.
        write(dir.path(), "mail.cf", &all[2..3], &[]);
        write(dir.path(), "gone.cf", &all[3..4], &[]);
        let _lock = Lock::take(&dir.path().join("mail.cf.lock")).unwrap().unwrap();
        assert_eq!(remove(), Leftovers::Removed(2));
        let left: Vec<ServiceKey> = memory.clone().dump().unwrap().services.into_keys().collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!([1, 2, 4].iter().all(|index| left.contains(&key(all[*index]))), "{left:?}");
        assert_eq!(remove(), Leftovers::None, "the note is gone");
    }

    #[test]
    fn what_belongs_elsewhere_stays() {
        let here = TablePlace::here().unwrap();
        let why = |place: Option<&TablePlace>, daemon, original| {
            let left = Left { owned: Owned::default(), place: place.cloned(), daemon };
            not_to_be_removed(&left, original).unwrap_or_default()
        };
        assert_eq!(why(Some(&here), None, None), "");
        assert!(why(None, None, None).contains("did not record"));
        assert!(why(Some(&here), None, Some(7)).contains("(pid 7)"));
        let boot = TablePlace { boot: "x".to_owned(), ..here.clone() };
        assert!(why(Some(&boot), None, None).contains("rebooted"));
        let network = TablePlace { network: "net:[1]".to_owned(), ..here.clone() };
        assert!(why(Some(&network), None, None).contains("another network namespace"));
        // A daemon in the foreground has no lock.
        assert!(why(Some(&here), Some(Process::own()), None).contains("in the foreground"));
    }
}
