//! Seeded simulations of a director, compared with a simple reference model.
//!
//! Servers fail and recover, checks are not possible, the kernel refuses operations, administrators change the
//! table, configurations change, the process is killed
//! or hands over. After every event each server has the state of the model,
//! and the table follows from these states.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipvs_rs::{DestinationKey, Error, Ipvs, Operation, ServiceConfig, ServiceKey, Table, diff};
use proptest::prelude::*;

use super::harness::{Harness, render, spec};
use crate::desired;
use crate::health::{Known, ServerId};
use crate::spec::{Spec, Virtual};
use crate::value::{Outcome, UnknownCause, VirtualId};

const FOREIGN: &str = "tcp:10.9.9.9:80";

fn configurations() -> Vec<Spec> {
    let two = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq 5\n\treal=10.0.0.3:80 masq 7\n\tfallback=127.0.0.1:80 masq\n";
    let shared = "virtual=10.0.0.1:81\n\treal=10.0.0.2:80 masq\n\tservice=http\n";
    [
        format!("quiescent=yes\nfailurecount=2\n{two}"),
        format!("quiescent=no\n{two}{shared}"),
        format!("quiescent=yes\nfailurecount=3\n{shared}{two}"),
        format!("fallback=127.0.0.9:80\n{shared}"),
        format!("quiescent=no\n{}", two.replace("masq 7", "masq 0")),
        format!("quiescent=yes\n{}", two.replace("masq 5", "masq 0").replace("masq 7", "masq 0")),
        format!(
            "quiescent=yes\n{}{shared}",
            two.replace("10.0.0.2", "10.0.0.4").replace("10.0.0.3", "10.0.0.5")
        ),
        format!("failurecount=2\n{}", two.replace("10.0.0.2", "10.0.0.4")),
    ]
    .iter()
    .map(|text| spec(&format!("readdquiescent=yes\n{text}")))
    .collect()
}

#[derive(Clone, Debug)]
enum Act {
    /// Checks of this server get this result from now on. One round of checks.
    Find(u8, Outcome),
    Round,
    Reload(usize),
    Kill,
    /// A restart hands the table over to a daemon with this configuration.
    HandOver(usize),
    /// The kernel refuses the next operations.
    Refuse(usize),
    /// An administrator sets the weight of a server, or removes the server.
    Meddle(u8, Option<u32>),
    RemoveService,
}

const UNKNOWN: Outcome = Outcome::Unknown(UnknownCause::OwnLimit("no free local port"));

fn act() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![4 => Just(Outcome::Up), 4 => Just(Outcome::Down), 1 => Just(UNKNOWN)];
    prop_oneof![
        6 => (2..6u8, outcome).prop_map(|(server, outcome)| Act::Find(server, outcome)),
        3 => Just(Act::Round),
        2 => (0..8usize).prop_map(Act::Reload),
        1 => Just(Act::Kill),
        1 => (0..8usize).prop_map(Act::HandOver),
        1 => (1..4usize).prop_map(Act::Refuse),
        1 => (2..4u8, proptest::option::of(0..9u32)).prop_map(|(server, weight)| Act::Meddle(server, weight)),
        1 => Just(Act::RemoveService),
    ]
}

fn address(server: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, server], 80))
}

/// The model: for each server of each virtual service, whether it is up, and its consecutive failures.
#[derive(Default)]
struct Model {
    servers: BTreeMap<(VirtualId, SocketAddr), (bool, u32)>,
}

impl Model {
    /// Applies a spec. New servers are down, unless the kernel has them in service; servers that are gone are
    /// forgotten.
    fn apply_reload(&mut self, spec: &Spec, kernel: &Table) {
        let in_service = desired::in_service(spec, kernel);
        let old = std::mem::take(&mut self.servers);
        for member in spec.members() {
            let (v, real) = spec.member(member);
            let key = (v.id, real.address);
            let state = old.get(&key).copied().unwrap_or((in_service.contains(&key), 0));
            self.servers.insert(key, state);
        }
    }

    fn is_up(&self, id: VirtualId, server: SocketAddr) -> bool {
        self.servers.get(&(id, server)).is_some_and(|(up, _)| *up)
    }

    /// The services that have a working server in rotation whose weight in the next configuration is not 0.
    fn in_rotation(&self, spec: &Spec, next: &Spec) -> Vec<VirtualId> {
        let drained = |v: &Virtual, server: SocketAddr| {
            let mut reals = next.virtuals().iter().filter(|n| n.id == v.id).flat_map(|n| &n.reals);
            reals.any(|real| real.address == server && real.weight == 0)
        };
        let works = |v: &Virtual| {
            let mut reals = v.reals.iter().filter(|r| r.weight > 0 && !drained(v, r.address));
            reals.any(|r| self.is_up(v.id, r.address))
        };
        spec.virtuals().iter().filter(|v| works(v)).map(|v| v.id).collect()
    }

    /// One round of checks: every check runs once.
    fn round(&mut self, spec: &Spec, outcomes: &BTreeMap<SocketAddr, Outcome>) {
        for member in spec.members() {
            let (v, real) = spec.member(member);
            let (up, failures) = self.servers.entry((v.id, real.address)).or_default();
            match outcomes.get(&real.address).copied().unwrap_or(Outcome::Up) {
                Outcome::Up => (*up, *failures) = (true, 0),
                Outcome::Unknown(_) => {}
                Outcome::Down => {
                    *failures += 1;
                    *up = *up && *failures < v.failurecount;
                }
            }
        }
    }
}

/// Asserts everything that must hold once the table has been read again.
fn assert_consistent(harness: &mut Harness, model: &Model, context: &str) {
    let director = harness.director.as_ref().unwrap();
    let spec = director.spec().clone();
    // Leaving servers have been removed by now.
    for member in spec.members().filter(|member| !spec.is_leaving(*member)) {
        let (v, real) = spec.member(member);
        let (up, _) = model.servers[&(v.id, real.address)];
        assert_eq!(
            director.health().server(member).checked().is_up(),
            up,
            "{context}: {} of {}",
            real.address,
            v.id
        );
    }
    let wanted = desired::wanted(&spec, director.health());
    let table = harness.table();
    let ours = desired::restrict(&table, &wanted.services.keys().copied().collect());
    assert_eq!(ours, wanted, "{context}\nkernel\n{}wanted\n{}", render(&ours), render(&wanted));
    let foreign: ServiceKey = desired::service_key(FOREIGN.parse().unwrap());
    assert_eq!(table.services.len(), wanted.services.len() + 1, "{context}: {}", render(&table));
    assert!(table.services.contains_key(&foreign), "{context}: the foreign service is gone");
    for (index, v) in spec.virtuals().iter().enumerate() {
        let Some(fallback) = v.fallback else { continue };
        let service = &wanted.services[&desired::service_key(v.id)];
        let stands = service.destinations.keys().any(|key| key.address == fallback.address);
        let any_up = v.reals.iter().any(|real| model.is_up(v.id, real.address));
        assert_eq!(stands, !any_up, "{context}: fallback of virtual {index}");
    }
}

fn live(harness: &mut Harness, acts: &[Act]) {
    let specs = configurations();
    let mut current = 0;
    let mut model = Model::default();
    model.apply_reload(&specs[current], &Table::default());
    harness.start(specs[current].clone());
    for (number, act) in acts.iter().enumerate() {
        let context = format!("after {number}: {act:?}");
        match act {
            Act::Find(server, outcome) => {
                harness.outcomes.insert(address(*server), *outcome);
                harness.round();
                model.round(&specs[current], &harness.outcomes);
            }
            Act::Round => {
                harness.round();
                model.round(&specs[current], &harness.outcomes);
            }
            Act::Reload(next) => {
                repair(harness);
                let (before, same) = (harness.kernel.operations(), *next == current);
                let kernel = harness.table();
                harness.reload(specs[*next].clone());
                assert!(
                    !same || harness.kernel.operations() == before,
                    "{context}: a reload of the same file wrote to the table"
                );
                for id in model.in_rotation(&specs[current], &specs[*next]) {
                    assert_make_before_break(&harness.table(), &specs[*next], id, &context);
                }
                current = *next;
                model.apply_reload(&specs[current], &kernel);
            }
            Act::Kill => {
                repair(harness);
                let before = harness.kernel.operations();
                let kernel = harness.table();
                harness.kill();
                harness.start(specs[current].clone());
                assert_eq!(harness.kernel.operations(), before, "{context}: a restart wrote to the table");
                // Failure counts are lost; servers in service stay up.
                model.servers.clear();
                model.apply_reload(&specs[current], &kernel);
            }
            Act::HandOver(next) => {
                repair(harness);
                let before = harness.kernel.operations();
                let kernel = harness.table();
                let known = harness.director().known();
                harness.kill();
                harness.start(specs[*next].clone());
                let list: Vec<_> = known.iter().map(|(id, known)| (*id, *known)).collect();
                harness.director().know(&list);
                if *next == current {
                    let after = harness.kernel.operations();
                    assert_eq!(after, before, "{context}: a handover wrote to the table");
                }
                current = *next;
                model.servers.clear();
                model.apply_reload(&specs[current], &kernel);
                assert_since_is_kept(harness, &known, &context);
            }
            Act::Refuse(count) => harness.kernel.fail_next(*count, Error::Busy),
            Act::Meddle(server, weight) => meddle(harness, &specs[current], *server, *weight),
            Act::RemoveService => {
                let key = desired::service_key(specs[current].virtuals()[0].id);
                let _ = harness.kernel.apply(&[Operation::RemoveService { key }]);
            }
        }
        repair(harness);
        assert_consistent(harness, &model, &context);
    }
}

/// Asserts that a service that had a working server in rotation still has one after a reload, unless the new
/// configuration has only weights of 0.
fn assert_make_before_break(table: &Table, spec: &Spec, id: VirtualId, context: &str) {
    let Some(v) = spec.virtuals().iter().find(|v| v.id == id) else { return };
    if v.reals.iter().all(|real| real.weight == 0) {
        return;
    }
    let mut destinations = table.services[&desired::service_key(id)].destinations.iter();
    let in_rotation = destinations.any(|(key, config)| config.weight > 0 && !key.address.is_loopback());
    assert!(in_rotation, "{context}: {id} was left without a server\n{}", render(table));
}

/// Asserts that a server counts from the same time as before, if it has the same standing.
fn assert_since_is_kept(harness: &mut Harness, before: &BTreeMap<ServerId, Known>, context: &str) {
    for (id, after) in harness.director().known() {
        if let Some(before) = before.get(&id).filter(|before| before.is_up == after.is_up) {
            assert_eq!(after.since, before.since, "{context}: {id:?}");
        }
    }
}

/// Lets the kernel accept operations again, and the director read the table.
fn repair(harness: &mut Harness) {
    harness.kernel.fail_next(0, Error::Busy);
    harness.now += std::time::Duration::from_secs(60);
    let now = harness.now;
    harness.director().tick(now);
    harness.settle();
}

fn meddle(harness: &mut Harness, spec: &Spec, server: u8, weight: Option<u32>) {
    let service = desired::service_key(spec.virtuals()[0].id);
    let key = DestinationKey { address: address(server).ip(), port: 80 };
    let table = harness.table();
    let Some(config) = table.services.get(&service).and_then(|s| s.destinations.get(&key)) else { return };
    let mut edited = table.clone();
    let destinations = &mut edited.services.get_mut(&service).unwrap().destinations;
    match weight {
        Some(weight) => drop(destinations.insert(key, ipvs_rs::DestinationConfig { weight, ..*config })),
        None => drop(destinations.remove(&key)),
    }
    let _ = harness.kernel.apply(&diff(&table, &edited));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    // A7 and R65: this also tests that no reload leaves a service without a server.
    fn a_director_does_what_the_model_says(acts in proptest::collection::vec(act(), 1..40)) {
        let mut harness = Harness::new();
        let key = desired::service_key(FOREIGN.parse().unwrap());
        harness.kernel.apply(&[Operation::AddService { key, config: ServiceConfig::new("rr") }]);
        live(&mut harness, &acts);
    }
}
