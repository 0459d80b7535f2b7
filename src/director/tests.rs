//! Steps and events of the director. Some tests make the kernel's answers themselves.

#![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipvs_rs::{DestinationKey, Error, Ipvs, Memory, Operation, ServiceKey, Table, diff};

use super::{Director, Done, Objection, Step};
use crate::daemon::{perform, test_spec};
use crate::desired;
use crate::event::{Because, Event, EventKind, Fate};
use crate::health::Owner;
use crate::value::Verdict;

const SECOND: Duration = Duration::from_secs(1);

struct Harness {
    kernel: Memory,
    director: Director,
    now: Instant,
}

impl Harness {
    fn new(text: &str) -> Harness {
        let now = Instant::now();
        let director = Director::new(test_spec(text), Table::default(), &BTreeSet::new(), None, now);
        let mut harness = Harness { kernel: Memory::new(), director, now };
        harness.settle();
        harness
    }

    fn settle(&mut self) -> Vec<Event> {
        while let Some(done) = perform(&mut self.kernel, self.director.next_step()) {
            self.director.done(done, self.now);
        }
        self.director.take_events()
    }

    /// One round of checks, one second later. `verdict` gives the result for a server's address.
    fn find(&mut self, verdict: impl Fn(&str) -> Verdict) {
        self.now += SECOND;
        self.director.hurry_all(self.now);
        let mut verdicts = Vec::new();
        self.director.due(self.now, |due| {
            verdicts.push((due.id, verdict(&due.probe.target.to_string())));
            true
        });
        self.director.verdicts(verdicts, self.now);
    }

    fn round(&mut self, down: &[&str]) -> Vec<Event> {
        self.find(|server| if down.contains(&server) { Verdict::down("down") } else { Verdict::up("up") });
        self.settle()
    }
}

fn downs_without_change(events: &[Event]) -> Vec<String> {
    let quiet = events.iter().filter(|event| event.kind == EventKind::DownWithoutChange);
    quiet.map(|event| event.server.unwrap().to_string()).collect()
}

/// A change of the table names the transition of its server.
#[test]
fn a_table_change_names_its_transition() {
    let text = "quiescent=yes\nreaddquiescent=yes\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:81 gate\n";
    let mut harness = Harness::new(text);
    let causes = |events: Vec<Event>| -> Vec<(String, Option<Because>)> {
        let cause = |event: Event| match event.kind {
            EventKind::Table { because, .. } => Some((event.server.unwrap().to_string(), because)),
            _ => None,
        };
        events.into_iter().filter_map(cause).collect()
    };
    let (one, two) = ("10.0.0.2:80".to_owned(), "10.0.0.3:81".to_owned());
    let both = [(one.clone(), Some(Because::Up)), (two.clone(), Some(Because::Up))];
    assert_eq!(causes(harness.round(&[])), both);
    assert_eq!(causes(harness.round(&["10.0.0.3:81"])), [(two, Some(Because::Down))]);
    let reason = BTreeMap::from([("10.0.0.2:80".parse().unwrap(), "new kernel".to_owned())]);
    harness.director.maintain(&reason, harness.now);
    let maintained = [(one.clone(), Some(Because::Overridden(Owner::Maintenance)))];
    assert_eq!(causes(harness.settle()), maintained);
    // Drift by another program has no transition as its cause.
    let server = DestinationKey { address: "10.0.0.2".parse().unwrap(), port: 80 };
    let service = ServiceKey::Address {
        protocol: ipvs_rs::Protocol::Tcp,
        address: "10.0.0.1".parse().unwrap(),
        port: 80,
    };
    assert!(harness.kernel.apply(&[Operation::RemoveDestination { service, key: server }])[0].is_ok());
    harness.director.reconciler.must_read(BTreeSet::from([service]));
    assert_eq!(causes(harness.settle()), [(one, None)]);
}

/// L01
#[test]
fn a_server_down_without_a_table_change_is_reported() {
    let text = "quiescent=no\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:81 gate\n";
    let mut harness = Harness::new(text);
    // The server fails its first check, so it was never in rotation.
    assert_eq!(downs_without_change(&harness.round(&["10.0.0.2:80"])), ["10.0.0.2:80"]);
    assert!(downs_without_change(&harness.round(&["10.0.0.2:80"])).is_empty(), "reported once");
    // With direct routing the table has the port of the service. The change is still matched to the server.
    assert!(downs_without_change(&harness.round(&["10.0.0.3:81"])).is_empty());
    assert!(downs_without_change(&harness.round(&[])).is_empty());
}

#[test]
fn a_refused_change_is_made_once_more_before_it_is_reported() {
    let text = "quiescent=no\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n";
    let mut harness = Harness::new(text);
    harness.round(&[]);
    harness.kernel.fail_next(1, Error::Busy);
    let events = harness.round(&["10.0.0.2:80"]);
    assert!(!events.iter().any(|event| matches!(event.kind, EventKind::Refused { .. })), "{events:?}");
    assert!(downs_without_change(&events).is_empty());
    harness.kernel.fail_next(2, Error::Busy);
    let events = harness.round(&["10.0.0.2:80", "10.0.0.3:80"]);
    let refused = events.iter().filter(|e| matches!(e.kind, EventKind::Refused { fate: Fate::Retried, .. }));
    assert_eq!((refused.count(), downs_without_change(&events)), (1, vec!["10.0.0.3:80".to_owned()]));
    // The operation is retried later, and the same refusal is not reported again.
    assert_eq!(harness.director.next_step(), Step::Rest);
    for wait in [1, 2] {
        harness.kernel.fail_next(2, Error::Busy);
        harness.now = harness.director.reconciler.poll_timeout().unwrap();
        harness.director.tick(harness.now);
        assert_eq!(harness.settle(), [], "{wait}");
    }
    harness.kernel.fail_next(0, Error::Busy);
    harness.now = harness.director.reconciler.poll_timeout().unwrap();
    harness.director.tick(harness.now);
    assert_eq!(harness.settle().len(), 1);
    assert_eq!(harness.director.reconciler.poll_timeout(), None);
}

/// The cost of a transition is that of its service.
#[test]
fn only_the_service_of_a_transition_is_read_and_written() {
    let services = |count: usize| -> String {
        let block = |n| format!("virtual=10.0.0.1:{n}\n\treal=10.0.0.2:{n} masq\n");
        (1..=count).map(block).collect()
    };
    let mut harness = Harness::new(&format!("quiescent=yes\n{}", services(3000)));
    harness.round(&[]);
    harness.find(|server| if server == "10.0.0.2:7" { Verdict::down("down") } else { Verdict::up("up") });
    let Step::Apply(operations) = harness.director.next_step() else { panic!("no operation") };
    let service = operations[0].service();
    assert_eq!(operations.len(), 1);
    harness.director.done(Done::Applied(vec![Err(Error::Busy)]), harness.now);
    assert_eq!(harness.director.next_step(), Step::Read(BTreeSet::from([service])));
}

#[test]
fn a_large_table_is_written_in_steps_that_divide_no_service() {
    let block = |n| format!("virtual=10.0.0.1:{n}\n\treal=10.0.0.2:{n} masq\n");
    let text: String = (1..=2500).map(block).collect();
    let spec = test_spec(&format!("quiescent=yes\n{text}"));
    let now = Instant::now();
    let mut director = Director::new(spec, Table::default(), &BTreeSet::new(), None, now);
    let mut sizes = Vec::new();
    let mut added = BTreeSet::new();
    while let Step::Apply(operations) = director.next_step() {
        sizes.push(operations.len());
        let services: BTreeSet<_> = operations.iter().map(Operation::service).collect();
        assert_eq!(services.len() * 2, operations.len());
        assert!(added.is_disjoint(&services));
        added.extend(services);
        director.done(Done::Applied(operations.iter().map(|_| Ok(())).collect()), now);
    }
    assert_eq!(sizes, [1000; 5]);
}

/// Otherwise the result of a check could be reported before its server is added.
#[test]
fn the_table_is_set_up_before_the_first_check() {
    let text = |port: u16| format!("quiescent=yes\nvirtual=10.0.0.1:{port}\n\treal=10.0.0.2:80 masq\n");
    let now = Instant::now();
    let director = Director::new(test_spec(&text(80)), Table::default(), &BTreeSet::new(), None, now);
    let mut harness = Harness { kernel: Memory::new(), director, now };
    let steps = |harness: &mut Harness| {
        let mut states = Vec::new();
        while let Some(done) = perform(&mut harness.kernel, harness.director.next_step()) {
            states.push(harness.director.is_set_up());
            harness.director.done(done, harness.now);
        }
        states
    };
    assert_eq!(steps(&mut harness), [false]);
    assert!(harness.director.is_set_up());
    harness.round(&[]);
    assert!(harness.director.is_set_up());
    harness.director.reload(test_spec(&text(81)));
    // Read, add, remove.
    assert_eq!(steps(&mut harness), [true, false, false]);
    assert!(harness.director.is_set_up());
    // A kernel that refuses everything does not stop the checks.
    harness.kernel.fail_next(10, Error::Busy);
    harness.director.reload(test_spec(&text(82)));
    harness.settle();
    assert!(harness.director.is_set_up());
}

/// A reload does not wait for a kernel that cannot be read: it uses what is known.
#[test]
fn a_reload_is_applied_also_when_the_table_cannot_be_read() {
    let text = |port: u16| format!("virtual=10.0.0.1:{port}\n\treal=10.0.0.2:80 masq\n");
    let mut harness = Harness::new(&text(80));
    harness.round(&[]);
    harness.director.reload(test_spec(&text(81)));
    assert!(harness.director.is_reloading());
    harness.kernel.fail_next_reads(2, Error::NoAnswer);
    let events = harness.settle();
    assert!(!harness.director.is_reloading());
    assert!(events.iter().any(|event| event.kind == EventKind::Reloaded));
    assert!(events.iter().any(|event| event.kind == EventKind::Unreadable { error: Error::NoAnswer }));
    assert_eq!(harness.kernel.dump().unwrap().services.len(), 1);
}

/// A released service is not written again, even while its configuration is still in force.
#[test]
fn a_service_that_was_given_up_is_not_touched() {
    let mut harness = Harness::new("quiescent=yes\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n");
    harness.round(&[]);
    let services = harness.director.owned().clone();
    harness.director.leave(&services);
    let before = harness.kernel.operations();
    harness.round(&["10.0.0.2:80"]);
    assert_eq!(harness.kernel.operations(), before);
}

/// A service of an earlier run that no other daemon claims.
#[test]
fn an_adopted_service_is_removed_after_a_failed_first_read() {
    let mut harness = Harness::new("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n");
    let left = desired::service_key("tcp:10.0.0.9:80".parse().unwrap());
    let config = ipvs_rs::ServiceConfig::new("rr");
    harness.kernel.apply(&[Operation::AddService { key: left, config }]).remove(0).unwrap();
    harness.director.adopt(BTreeSet::from([left]));
    harness.kernel.fail_next_reads(2, Error::NoAnswer);
    harness.settle();
    assert!(!harness.director.owned().contains(&left));
    harness.now = harness.director.reconciler.poll_timeout().unwrap();
    harness.director.tick(harness.now);
    let events = harness.settle();
    assert!(!events.iter().any(|event| matches!(event.kind, EventKind::Drift { .. })), "{events:?}");
    assert_eq!(harness.kernel.dump().unwrap().services.len(), 1);
    assert!(!harness.director.owned().contains(&left));
}

/// A daemon whose services all belong to other daemons has nothing to read.
#[test]
fn a_reload_from_nothing_to_nothing_is_applied() {
    let mut harness = Harness::new("");
    harness.director.reload(test_spec(""));
    assert!(!harness.director.is_at_rest());
    let events = harness.settle();
    assert!(events.iter().any(|event| event.kind == EventKind::Reloaded));
    assert!(harness.director.is_at_rest() && harness.director.is_set_up());
}

/// If several servers of a service go down while the kernel is busy, each is reported once.
#[test]
fn what_happens_while_the_kernel_is_busy_is_reported_once() {
    let text = "quiescent=no\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n";
    let mut harness = Harness::new(text);
    harness.round(&[]);
    let down = |servers: &'static [&'static str]| {
        move |server: &str| if servers.contains(&server) { Verdict::down("down") } else { Verdict::up("up") }
    };
    harness.find(down(&["10.0.0.2:80"]));
    let step = harness.director.next_step();
    harness.find(down(&["10.0.0.2:80", "10.0.0.3:80"]));
    assert!(harness.director.take_touched().is_empty(), "the table is not reconciled yet");
    harness.director.done(perform(&mut harness.kernel, step).unwrap(), harness.now);
    let events = harness.settle();
    assert!(downs_without_change(&events).is_empty(), "{events:?}");
    assert_eq!(harness.director.take_touched(), BTreeSet::from([0]));
    // A server that is up again before the table was changed is not reported.
    harness.round(&[]);
    harness.find(down(&["10.0.0.2:80"]));
    harness.find(down(&[]));
    assert!(downs_without_change(&harness.settle()).is_empty());
    // A server that is down at its first check, while a reload waits for its read.
    let first = |host: u8| format!("quiescent=no\nvirtual=10.0.0.1:80\n\treal=10.0.0.{host}:80 masq\n");
    let mut harness = Harness::new(&first(2));
    harness.director.reload(test_spec(&first(2)));
    harness.find(down(&["10.0.0.2:80"]));
    assert_eq!(downs_without_change(&harness.settle()), ["10.0.0.2:80"]);
}

/// A read in progress when a service is released does not lead to its removal.
#[test]
fn a_read_under_way_brings_back_nothing_that_was_left() {
    let mut harness = Harness::new("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n");
    harness.round(&[]);
    harness.director.reload(test_spec("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n"));
    let step = harness.director.next_step();
    let services = harness.director.owned().clone();
    harness.director.leave(&services);
    harness.director.stop();
    harness.director.done(perform(&mut harness.kernel, step).unwrap(), harness.now);
    harness.settle();
    assert_eq!(harness.kernel.dump().unwrap().services.len(), 1);
}

/// A preview predicts exactly what a reload does, also while a request is in progress, and changes nothing.
#[test]
fn a_preview_is_what_a_reload_does() {
    let text = |server: u8, more: &str| {
        format!(
            "quiescent=no\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.{server}:80 masq\n{more}"
        )
    };
    let other = "virtual=10.0.0.1:81\n\treal=10.0.0.2:81 masq\n\tchecktype=on\n";
    let mut harness = Harness::new(&text(3, other));
    harness.round(&[]);
    harness.find(|server| if server == "10.0.0.2:80" { Verdict::down("down") } else { Verdict::up("up") });
    let Step::Apply(under_way) = harness.director.next_step() else { panic!("no operation") };
    let new = test_spec(&text(4, ""));
    let said = harness.director.preview(Some(new.clone()), harness.now);
    assert!(said.starts_with(&under_way) && said.len() > under_way.len(), "{said:?}");
    assert_eq!(harness.director.preview(None, harness.now), under_way);
    let mut done = under_way.clone();
    let results = harness.kernel.apply(&under_way);
    harness.director.done(Done::Applied(results), harness.now);
    harness.director.reload(new);
    loop {
        let step = harness.director.next_step();
        if let Step::Apply(operations) = &step {
            done.extend(operations.clone());
        }
        let Some(end) = perform(&mut harness.kernel, step) else { break };
        harness.director.done(end, harness.now);
    }
    assert_eq!(said, done);
}

/// A reload also reads which servers are in maintenance.
#[test]
fn a_preview_knows_the_servers_in_maintenance() {
    let text = |server: u8| {
        format!(
            "quiescent=yes\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.{server}:80 masq\n"
        )
    };
    let mut harness = Harness::new(&text(3));
    harness.round(&[]);
    let new = test_spec(&text(4));
    let maintained = [("10.0.0.2:80".parse().unwrap(), "file".to_owned())].into();
    let before = harness.kernel.dump().unwrap();
    let said = harness.director.preview_maintained(new.clone(), &maintained, harness.now);
    assert_eq!(harness.kernel.dump().unwrap(), before);
    harness.director.reload(new);
    while let Some(done) = perform(&mut harness.kernel, harness.director.next_step()) {
        let was_reloading = harness.director.is_reloading();
        harness.director.done(done, harness.now);
        if was_reloading && !harness.director.is_reloading() {
            harness.director.maintain(&maintained, harness.now);
        }
    }
    let mut table = before;
    said.0.iter().for_each(|operation| table.apply(operation).unwrap());
    assert_eq!(table, harness.kernel.dump().unwrap());
    let weight = |last: u8| {
        let service = table.services.values().next().unwrap();
        let key = |key: &&DestinationKey| key.address.to_string() == format!("10.0.0.{last}");
        service.destinations.keys().find(key).map(|key| service.destinations[key].weight)
    };
    assert_eq!((weight(2), weight(4)), (Some(0), Some(0)));
}

/// R65: the service belonged to another daemon, with other servers.
#[test]
fn a_taken_over_service_keeps_its_servers_until_ours_is_up() {
    let moved =
        "virtual=10.0.0.1:81\n\treal=10.0.0.4:81 masq\n\treal=10.0.0.5:81 masq\n\tfallback=127.0.0.1:81\n";
    let own = "quiescent=no\nchecktimeout=5\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n";
    let theirs = "virtual=10.0.0.1:81\n\treal=10.0.0.3:81 masq 7\n\treal=10.0.0.5:81 masq\n\treal=10.0.0.6:81 gate 0\n";
    let start = |theirs: &str| {
        let mut harness = Harness::new(own);
        let other = test_spec(&format!("quiescent=yes\n{theirs}"));
        let in_rotation = other.virtuals()[0].reals.iter().map(|real| (other.virtuals()[0].id, real.address));
        let health = crate::health::Health::new(&other, &in_rotation.collect(), harness.now);
        let found = desired::wanted(&other, &health);
        assert!(harness.kernel.apply(&diff(&Table::default(), &found)).iter().all(Result::is_ok));
        harness.round(&[]);
        harness.director.reload(test_spec(&format!("{own}{moved}")));
        let events = harness.settle();
        (harness, events)
    };
    let weights = |harness: &mut Harness| -> Vec<(String, u32)> {
        let service = harness.kernel.dump().unwrap().services[&planned_key("10.0.0.1:81")].clone();
        service.destinations.iter().map(|(key, config)| (key.address.to_string(), config.weight)).collect()
    };
    let is = |all: &[(&str, u32)]| -> Vec<(String, u32)> {
        all.iter().map(|(server, weight)| ((*server).to_owned(), *weight)).collect()
    };
    // 10.0.0.5 is in both files, so no other server has to stay.
    let (mut harness, _) = start(theirs);
    assert_eq!(weights(&mut harness), is(&[("10.0.0.5", 1)]));
    let theirs = theirs.replace("0.5:81", "0.7:81");
    let (mut harness, events) = start(&theirs);
    assert_eq!(weights(&mut harness), is(&[("10.0.0.3", 7), ("10.0.0.7", 1)]));
    let leave = events.iter().filter(|event| matches!(event.kind, EventKind::Leaving { .. }));
    assert_eq!(leave.count(), 2);
    harness.round(&["10.0.0.4:81"]);
    assert_eq!(weights(&mut harness), is(&[("10.0.0.5", 1)]));
    // If all our servers are down, the old ones are removed when their time has passed.
    let (mut harness, _) = start(&theirs);
    harness.round(&["10.0.0.4:81", "10.0.0.5:81"]);
    assert_eq!(weights(&mut harness), is(&[("10.0.0.3", 7), ("10.0.0.7", 1)]));
    harness.now = harness.director.health().leaves_at(harness.director.spec()).unwrap();
    harness.director.tick(harness.now);
    harness.settle();
    assert_eq!(weights(&mut harness), is(&[("127.0.0.1", 1)]));
    harness.round(&[]);
    assert!(harness.director.spec().leaving().is_empty());
    assert_eq!(harness.director.spec().virtuals()[1].reals.len(), 2);
}

/// R98: a virtual service without a server in rotation is reported once, and once when it has one again.
#[test]
fn r98_the_loss_of_the_last_server_is_an_event() {
    const TEXT: &str = "quiescent=yes\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n\t\
                        fallback=127.0.0.1:8080 masq\n\tchecktype=connect\n";
    const BOTH: &[&str] = &["10.0.0.2:80", "10.0.0.3:80"];
    let mut harness = Harness::new(TEXT);
    let kinds = |events: Vec<Event>| {
        let is_ours =
            |kind: &EventKind| matches!(kind, EventKind::NoServerLeft { .. } | EventKind::ServerLeftAgain);
        events.into_iter().map(|event| event.kind).filter(is_ours).collect::<Vec<_>>()
    };
    let lost = [EventKind::NoServerLeft { servers: 2, fallback: Some("127.0.0.1:8080".parse().unwrap()) }];
    let mut due = Vec::new();
    harness.director.hurry_all(harness.now);
    harness.director.due(harness.now, |check| {
        due.push((check.id, Verdict::down("down")));
        true
    });
    harness.director.verdicts(vec![due.remove(0)], harness.now);
    assert_eq!(kinds(harness.settle()), [], "the other is not checked yet");
    harness.director.verdicts(due, harness.now);
    assert_eq!(kinds(harness.settle()), lost);

    let mut harness = Harness::new(TEXT);
    let events = harness.round(BOTH);
    let position =
        |wanted: &dyn Fn(&EventKind) -> bool| events.iter().rposition(|event| wanted(&event.kind)).unwrap();
    let last_down = position(&|kind| matches!(kind, EventKind::Down { .. }));
    assert_eq!(position(&|kind| *kind == lost[0]), last_down + 1, "{events:?}");
    assert_eq!(kinds(events), lost);
    assert_eq!(kinds(harness.round(BOTH)), []);
    assert_eq!(kinds(harness.round(&BOTH[..1])), [EventKind::ServerLeftAgain]);
    assert_eq!(kinds(harness.round(&[])), []);
    assert_eq!(kinds(harness.round(&BOTH[..1])), []);
    assert_eq!(kinds(harness.round(BOTH)), lost);
    assert_eq!(kinds(harness.round(&[])), [EventKind::ServerLeftAgain]);

    let maintained: BTreeMap<_, _> =
        BOTH.iter().map(|server| (server.parse().unwrap(), "maintained".to_owned())).collect();
    harness.director.maintain(&maintained, harness.now);
    assert_eq!(kinds(harness.settle()), lost);
    harness.director.maintain(&BTreeMap::new(), harness.now);
    assert_eq!(kinds(harness.settle()), [], "they are not checked yet");
    assert_eq!(kinds(harness.round(&[])), [EventKind::ServerLeftAgain]);

    assert_eq!(kinds(harness.round(BOTH)), lost);
    harness.director.reload(test_spec(&TEXT.replace("quiescent=yes", "quiescent=no")));
    assert_eq!(kinds(harness.settle()), []);
    assert_eq!(kinds(harness.round(BOTH)), [], "the same service is not reported again");
    assert_eq!(kinds(harness.round(&[])), [EventKind::ServerLeftAgain]);
    let emptied: String =
        TEXT.lines().filter(|line| !line.contains("real=")).map(|l| format!("{l}\n")).collect();
    harness.director.reload(test_spec(&emptied));
    let lost_all =
        [EventKind::NoServerLeft { servers: 0, fallback: Some("127.0.0.1:8080".parse().unwrap()) }];
    assert_eq!(kinds(harness.settle()), lost_all, "a reload took its servers");
    harness.director.reload(test_spec(&TEXT.replace("virtual=10.0.0.1:80", "virtual=10.0.0.1:81")));
    harness.settle();
    assert_eq!(kinds(harness.round(BOTH)), lost, "a new service");
}

#[test]
fn undo_in_maintenance_names_the_file() {
    let mut harness = Harness::new("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\tchecktype=connect\n");
    let (server, by) = ("10.0.0.2:80".parse().unwrap(), Owner::Operator("anna".to_owned()));
    let undo = |harness: &mut Harness| harness.director.end_override(None, server, &by, harness.now);
    assert_eq!(undo(&mut harness), Err(Objection::NotOverridden));
    let reason = "the file 10.0.0.2".to_owned();
    harness.director.maintain(&BTreeMap::from([(server, reason.clone())]), harness.now);
    let refused = undo(&mut harness).unwrap_err();
    assert_eq!(refused, Objection::InMaintenance(reason));
    assert!(refused.to_string().contains("(the file 10.0.0.2); remove the file"), "{refused}");
}

fn planned_key(address: &str) -> ServiceKey {
    desired::service_key(format!("tcp:{address}").parse().unwrap())
}
