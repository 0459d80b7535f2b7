//! Chooses one of several addresses of a name. An address in use stays in use as long as the resolver still returns it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use std::path::Path;

use ipvs_rs::{ServiceKey, Table};

use super::owned::{self, OwnedServices};
use crate::desired;
use crate::value::Family;

/// The address of each name.
pub type Hosts = BTreeMap<(String, Family), IpAddr>;

/// The addresses in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    hosts: Hosts,
    present: BTreeSet<IpAddr>,
}

/// The addresses in use before the daemon of this name starts: those of its services in the kernel's table. If it
/// has never run, all services of the table count, because the original may have set them up.
#[must_use]
pub fn in_use(state_directory: &Path, name: &str, table: &Table) -> InUse {
    let ours = OwnedServices::open(state_directory.join(owned::file_name(name))).read();
    let table = if ours.is_empty() { table } else { &desired::restrict(table, &ours) };
    InUse::new(Hosts::new(), table)
}

impl InUse {
    /// The addresses in use while a configuration runs: those of its names, and those in its table.
    #[must_use]
    pub fn new(hosts: Hosts, table: &Table) -> InUse {
        let destinations = table.services.values().flat_map(|service| service.destinations.keys());
        let services = table.services.keys().filter_map(|key| match key {
            ServiceKey::Address { address, .. } => Some(*address),
            ServiceKey::Mark { .. } => None,
        });
        InUse { hosts, present: destinations.map(|key| key.address).chain(services).collect() }
    }

    /// Chooses an address for each name from those that the resolver returned. In order of preference: the address
    /// that the name had; an address of the table that no other name has; an address of the table; the first
    /// address.
    #[must_use]
    pub fn choose(&self, found: BTreeMap<(String, Family), Vec<IpAddr>>) -> Hosts {
        let had = |name: &(String, Family), addresses: &[IpAddr]| {
            self.hosts.get(name).copied().filter(|address| addresses.contains(address))
        };
        let mut chosen: Hosts = found
            .iter()
            .filter_map(|(name, addresses)| Some((name.clone(), had(name, addresses)?)))
            .collect();
        let mut taken: BTreeSet<IpAddr> = chosen.values().copied().collect();
        for (name, addresses) in found {
            if chosen.contains_key(&name) {
                continue;
            }
            let present = || addresses.iter().filter(|address| self.present.contains(address));
            let address = present().find(|address| !taken.contains(address)).or_else(|| present().next());
            if let Some(address) = address.or(addresses.first()) {
                taken.insert(*address);
                chosen.insert(name, *address);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(answers: &[(&str, &[&str])]) -> BTreeMap<(String, Family), Vec<IpAddr>> {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        answers.iter().map(|(name, texts)| (((*name).to_owned(), Family::V4), parse(texts))).collect()
    }

    fn texts(hosts: &Hosts) -> Vec<String> {
        hosts.iter().map(|((name, _), address)| format!("{name}={address}")).collect()
    }

    fn in_use(present: &[&str]) -> InUse {
        InUse { present: present.iter().map(|text| text.parse().unwrap()).collect(), ..InUse::default() }
    }

    /// R73
    #[test]
    fn b5_an_address_that_runs_stays_in_any_order() {
        let orders = [["10.0.0.2", "10.0.0.3"], ["10.0.0.3", "10.0.0.2"]];
        let first = InUse::default().choose(found(&[("a", &orders[0]), ("b", &orders[1])]));
        assert_eq!(texts(&first), ["a=10.0.0.2", "b=10.0.0.3"]);
        for order in orders {
            let running = InUse { hosts: first.clone(), ..InUse::default() };
            assert_eq!(running.choose(found(&[("a", &order), ("b", &order)])), first, "{order:?}");
        }
        // An address that the resolver no longer returns is replaced.
        let running = InUse { hosts: first, ..InUse::default() };
        let next = running.choose(found(&[("a", &["10.0.0.9"]), ("b", &orders[0])]));
        assert_eq!(texts(&next), ["a=10.0.0.9", "b=10.0.0.3"]);
    }

    #[test]
    fn b5_an_address_of_the_table_is_preferred_at_start() {
        let answers: &[&str] = &["10.0.0.9", "10.0.0.2", "10.0.0.3"];
        let chosen = in_use(&["10.0.0.3", "10.0.0.2"]).choose(found(&[("a", answers), ("b", answers)]));
        assert_eq!(texts(&chosen), ["a=10.0.0.2", "b=10.0.0.3"]);
        let chosen = in_use(&["10.0.0.3"]).choose(found(&[("a", answers), ("b", answers)]));
        assert_eq!(texts(&chosen), ["a=10.0.0.3", "b=10.0.0.3"]);
        let chosen = in_use(&["10.0.0.7"]).choose(found(&[("a", answers)]));
        assert_eq!(texts(&chosen), ["a=10.0.0.9"]);
    }
}
