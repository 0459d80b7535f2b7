//! Property test of events while a request to the kernel is in progress: verdicts, reloads, maintenance, overrides,
//! crashes, refusals and changes by other programs, in any order. After each single operation, no service is empty
//! that has a server before and after it. In the end the table is as wanted.

#![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipvs_rs::{Error, Ipvs, Memory, Operation, ServiceKey, Table};
use proptest::prelude::*;

use super::{perform, test_spec};
use crate::desired;
use crate::director::{Director, Done, Step};
use crate::health::{Override, OverrideWeight, Owner, What};
use crate::spec::Spec;
use crate::value::{Outcome, UnknownCause, Verdict};

#[derive(Clone, Debug)]
enum Act {
    /// The director's next request is handed over, if none is in progress.
    Ask,
    /// The kernel answers.
    Answer,
    /// Checks of a server get this result from now on. All checks run.
    Find(u8, Outcome),
    Reload(usize),
    /// These servers are in maintenance.
    Maintain(BTreeSet<u8>),
    /// An operator sets an override, for a number of seconds.
    Override(u8, What, Option<u64>),
    /// An operator ends the override.
    Undo(u8),
    /// The daemon is killed while a request is in progress, and the next one starts.
    Crash,
    /// The kernel refuses this number of operations.
    Refuse(usize),
    /// This number of reads fail.
    Unreadable(usize),
    /// Another program removes a service (`true`), or its destinations (`false`).
    Meddle(bool),
    /// Time passes.
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let unknown = Outcome::Unknown(UnknownCause::QueueFull);
    let outcome = prop_oneof![4 => Just(Outcome::Up), 4 => Just(Outcome::Down), 1 => Just(unknown)];
    let weight = Just(What::Weight(OverrideWeight::Percent(50)));
    let what = prop_oneof![Just(What::Drain), Just(What::Down), Just(What::Up), weight];
    prop_oneof![
        8 => Just(Act::Ask),
        8 => Just(Act::Answer),
        8 => (2..6u8, outcome).prop_map(|(server, outcome)| Act::Find(server, outcome)),
        3 => (0..5usize).prop_map(Act::Reload),
        2 => proptest::collection::btree_set(2..6u8, 0..3).prop_map(Act::Maintain),
        2 => (2..6u8, what, proptest::option::of(1..70u64)).prop_map(|(n, what, time)| Act::Override(n, what, time)),
        2 => (2..6u8).prop_map(Act::Undo),
        1 => Just(Act::Crash),
        1 => (1..4usize).prop_map(Act::Refuse),
        1 => (1..3usize).prop_map(Act::Unreadable),
        1 => any::<bool>().prop_map(Act::Meddle),
        2 => (1..70u64).prop_map(Act::Wait),
    ]
}

fn specs() -> Vec<Spec> {
    let two = |a: u8, b: u8| {
        format!(
            "virtual=10.0.0.1:80\n\treal=10.0.0.{a}:80 masq 5\n\treal=10.0.0.{b}:80 masq 7\n\tfallback=127.0.0.1:80 masq\n"
        )
    };
    let other = "virtual=10.0.0.1:81\n\treal=10.0.0.2:80 masq\n\tservice=http\n";
    let texts = [
        format!("quiescent=yes\n{}", two(2, 3)),
        format!("quiescent=no\n{}{other}", two(2, 3)),
        format!("quiescent=yes\nfailurecount=2\n{}{other}", two(4, 5)),
        format!("quiescent=no\n{other}"),
        format!("quiescent=no\n{}", two(2, 4)),
    ];
    texts.iter().map(|text| test_spec(&format!("readdquiescent=yes\n{text}"))).collect()
}

struct Harness {
    kernel: Memory,
    director: Director,
    under_way: Option<Step>,
    outcomes: BTreeMap<SocketAddr, Outcome>,
    unreadable: usize,
    /// The configuration that the next daemon reads.
    file: usize,
    now: Instant,
}

fn address(server: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, server], 80))
}

impl Harness {
    fn ask(&mut self) {
        if self.under_way.is_none() {
            self.under_way = Some(self.director.next_step()).filter(|step| *step != Step::Rest);
        }
    }

    fn answer(&mut self) -> Result<(), TestCaseError> {
        let done = match self.under_way.take() {
            None => return Ok(()),
            Some(Step::Apply(operations)) => Done::Applied(self.apply(&operations)?),
            Some(Step::Read(_)) if self.unreadable > 0 => {
                self.unreadable -= 1;
                Done::Read(Err(Error::NoAnswer))
            }
            Some(step) => perform(&mut self.kernel, step).unwrap(),
        };
        self.director.done(done, self.now);
        drop(self.director.take_events());
        Ok(())
    }

    /// Executes operations one by one.
    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Result<(), Error>>, TestCaseError> {
        let before = rotation(&self.kernel.dump().unwrap());
        let mut results = Vec::new();
        let mut states = Vec::new();
        for operation in operations {
            results.append(&mut self.kernel.apply(std::slice::from_ref(operation)));
            states.push(rotation(&self.kernel.dump().unwrap()));
        }
        if results.iter().all(Result::is_ok)
            && let Some(after) = states.last().cloned()
        {
            for key in before.intersection(&after) {
                for (state, operation) in states.iter().zip(operations) {
                    prop_assert!(state.contains(key), "{operation} left {key} empty");
                }
            }
        }
        Ok(results)
    }

    fn round(&mut self) {
        self.now += Duration::from_secs(1);
        self.director.hurry_all(self.now);
        let mut due = Vec::new();
        self.director.due(self.now, |check| {
            due.push((check.id, check.probe.target));
            true
        });
        let outcome = |target| self.outcomes.get(target).copied().unwrap_or(Outcome::Up);
        let verdicts = due.iter().map(|(id, target)| (*id, Verdict::new(outcome(target), "found"))).collect();
        self.director.verdicts(verdicts, self.now);
    }

    fn act(&mut self, act: &Act, specs: &[Spec]) -> Result<(), TestCaseError> {
        match act {
            Act::Ask => self.ask(),
            Act::Answer => self.answer()?,
            Act::Find(server, outcome) => {
                self.outcomes.insert(address(*server), *outcome);
                self.round();
            }
            Act::Reload(spec) => {
                self.file = *spec;
                self.director.reload(specs[*spec].clone());
            }
            Act::Maintain(servers) => {
                let servers = servers.iter().map(|n| (address(*n), "in maintenance".to_owned())).collect();
                self.director.maintain(&servers, self.now);
            }
            Act::Override(server, what, time) => {
                let until = time.map(|seconds| self.now + Duration::from_secs(seconds));
                let owner = Owner::Operator("anna".to_owned());
                let decision = Override { what: *what, owner, reason: String::new(), since: self.now, until };
                // A refusal changes nothing.
                drop(self.director.override_server(None, address(*server), &decision, false, self.now));
            }
            Act::Undo(server) => {
                let anna = Owner::Operator("anna".to_owned());
                drop(self.director.end_override(None, address(*server), &anna, self.now));
            }
            Act::Crash => self.crash(specs)?,
            Act::Refuse(count) => self.kernel.fail_next(*count, Error::Busy),
            Act::Unreadable(count) => self.unreadable = *count,
            Act::Meddle(whole) => self.meddle(*whole),
            Act::Wait(seconds) => {
                self.now += Duration::from_secs(*seconds);
                self.director.tick(self.now);
            }
        }
        Ok(())
    }

    /// The daemon is killed, and the next one starts. Overrides survive.
    fn crash(&mut self, specs: &[Spec]) -> Result<(), TestCaseError> {
        self.under_way = None;
        // The file does not have the leaving servers.
        let spec = specs[self.file].clone();
        let owned = self.director.owned().clone();
        let decisions = self.director.overrides();
        let present = desired::restrict(&self.kernel.dump().unwrap(), &Director::to_read(&spec, &owned));
        let minute = Some(Duration::from_secs(60));
        self.director = Director::new(spec, present, &owned, minute, self.now);
        let kept = decisions.iter().map(|(id, decision)| (*id, (**decision).clone())).collect();
        drop(self.director.restore_overrides(kept, self.now));
        // A reload with other servers may have been in progress.
        let kept = self.director.overrides();
        prop_assert!(kept.iter().all(|(id, decision)| decisions.get(id) == Some(decision)));
        Ok(())
    }

    fn meddle(&mut self, whole: bool) {
        let mut table = self.kernel.dump().unwrap();
        let Some((key, service)) = table.services.pop_first() else { return };
        let operations = match whole {
            true => vec![Operation::RemoveService { key }],
            false => service
                .destinations
                .keys()
                .map(|server| Operation::RemoveDestination { service: key, key: *server })
                .collect(),
        };
        drop(self.kernel.apply(&operations));
    }

    /// The kernel works again. Runs until the director rests.
    fn rest(&mut self) -> Result<(), TestCaseError> {
        self.kernel.fail_next(0, Error::Busy);
        self.unreadable = 0;
        self.answer()?;
        self.now += Duration::from_secs(120);
        self.director.tick(self.now);
        for _ in 0..100 {
            self.ask();
            if self.under_way.is_none() {
                return Ok(());
            }
            self.answer()?;
        }
        Err(TestCaseError::fail("the director never rests"))
    }
}

/// The services with a destination in rotation.
fn rotation(table: &Table) -> BTreeSet<ServiceKey> {
    let takes =
        table.services.iter().filter(|(_, service)| service.destinations.values().any(|d| d.weight > 0));
    takes.map(|(key, _)| *key).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn in_any_order_the_table_comes_to_what_is_wanted(acts in proptest::collection::vec(act(), 1..60)) {
        let (specs, now) = (specs(), Instant::now());
        let minute = Some(Duration::from_secs(60));
        let director = Director::new(specs[0].clone(), Table::default(), &BTreeSet::new(), minute, now);
        let mut harness = Harness {
            kernel: Memory::new(), director, under_way: None, outcomes: BTreeMap::new(), unreadable: 0, file: 0, now,
        };
        for act in &acts {
            harness.act(act, &specs)?;
        }
        harness.rest()?;
        prop_assert!(harness.director.is_at_rest() && !harness.director.is_reloading());
        let table = harness.kernel.dump().unwrap();
        let wanted = desired::wanted(harness.director.spec(), harness.director.health());
        prop_assert_eq!(&table, &wanted);
        prop_assert_eq!(harness.director.table(), &table);
        prop_assert_eq!(harness.director.owned(), &wanted.services.keys().copied().collect());
        harness.director.stop();
        harness.rest()?;
        drop(harness.director.finish_stop());
        prop_assert!(harness.kernel.dump().unwrap().services.is_empty());
        prop_assert!(harness.director.owned().is_empty());
    }
}
