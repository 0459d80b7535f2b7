//! Times of checks: the spread of first runs, the times that a reload keeps, and the spread after a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::{self, Answers};
use crate::value::{Outcome, UnknownCause};

const MANY: usize = 8000;
const WINDOW: Duration = Duration::from_millis(100);
const INTERVAL: Duration = Duration::from_secs(10);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[expect(clippy::disallowed_methods, reason = "a test needs a start time")]
fn start() -> Instant {
    Instant::now()
}

/// Server `index` of the tests.
fn address(index: usize) -> SocketAddr {
    let [_, _, high, low] = u32::try_from(index).unwrap().to_be_bytes();
    SocketAddr::from(([10, 1, high, low], 443))
}

/// One service with servers from `range`, and the directives `more`.
fn spec(range: std::ops::Range<usize>, more: &str) -> Spec {
    let mut text = format!("checkinterval=10\nvirtual=10.0.0.1:443\n\t{more}\n");
    for index in range {
        let _ = writeln!(text, "\treal={} masq", address(index));
    }
    let config = config::load(text.as_bytes(), &Answers::new("director")).config.unwrap();
    Spec::new(Arc::new(config))
}

/// All servers of a spec that `wanted` selects, as the kernel has them in service.
fn in_service(spec: &Spec, wanted: impl Fn(usize) -> bool) -> BTreeSet<ServerId> {
    let id = spec.virtuals()[0].id;
    (0..MANY).filter(|index| wanted(*index)).map(|index| (id, address(index))).collect()
}

/// The due checks, with a slot for each.
fn all_due(health: &mut Health, spec: &Spec, now: Instant) -> Vec<Due> {
    let mut all = Vec::new();
    health.due(spec, now, |due| {
        all.push(due);
        true
    });
    all
}

/// Runs the clock in steps of 10 ms, answers every check at once, and returns when each check ran.
fn run(health: &mut Health, spec: &Spec, from: Instant, to: Instant) -> BTreeMap<SocketAddr, Vec<Instant>> {
    let mut runs: BTreeMap<SocketAddr, Vec<Instant>> = BTreeMap::new();
    let mut now = from;
    while now < to {
        for due in all_due(health, spec, now) {
            runs.entry(due.probe.target).or_default().push(now);
            health.verdict(spec, due.id, Verdict::up("fine"), now);
        }
        now += millis(10);
    }
    runs
}

/// The largest number of runs that fall into any window of 100 ms.
fn densest(runs: &BTreeMap<SocketAddr, Vec<Instant>>) -> usize {
    let mut times: Vec<Instant> = runs.values().flatten().copied().collect();
    times.sort();
    (0..times.len()).map(|i| times.partition_point(|at| *at < times[i] + WINDOW) - i).max().unwrap_or(0)
}

/// 8,000 https servers in rotation, checked for half a minute. Then a reload gives each check another key.
#[test]
fn a2_changed_keys_keep_their_phase() {
    let (old, new) = (
        spec(0..MANY, "service=https\n\tnegotiatetimeout=6"),
        spec(0..MANY, "service=https\n\tnegotiatetimeout=3"),
    );
    let begin = start();
    let mut health = Health::new(&old, &in_service(&old, |_| true), begin);
    let reload = begin + 3 * INTERVAL;
    let before = run(&mut health, &old, begin, reload);
    let mut health = health.carry_over(&old, &new, &BTreeSet::new(), reload);
    let after = run(&mut health, &new, reload, reload + 3 * INTERVAL);
    assert_eq!(after.len(), MANY);
    // 80 on average.
    let most = densest(&after);
    assert!(most <= 160, "{most} checks in 100 ms");
    for (server, runs) in &after {
        let last = *before[server].last().unwrap();
        let gap = runs[0] - last;
        assert!(gap <= INTERVAL + millis(20), "{server}: {gap:?} between the last check and the next");
    }
}

#[test]
fn a2_first_checks_are_spread_by_their_cost() {
    let begin = start();
    let within = |servers: usize, service: &str| {
        let spec = spec(0..servers, &format!("service={service}"));
        let mut health = Health::new(&spec, &in_service(&spec, |_| true), begin);
        let runs = run(&mut health, &spec, begin, begin + INTERVAL);
        let first = runs.values().map(|runs| runs[0]).max().unwrap();
        let firsts = runs.iter().map(|(server, runs)| (*server, vec![runs[0]])).collect();
        (first - begin, densest(&firsts))
    };
    let (few, _) = within(100, "http");
    assert!(few <= Duration::from_secs(1), "{few:?}");
    let (many, most) = within(MANY, "https");
    assert!((millis(6000)..millis(8500)).contains(&many), "{many:?}");
    assert!(most <= 140, "{most} first checks in 100 ms");
}

/// One server in ten is out of rotation.
#[test]
fn a2_servers_out_of_rotation_go_first() {
    let begin = start();
    let spec = spec(0..MANY, "service=https");
    let mut health = Health::new(&spec, &in_service(&spec, |index| index % 10 != 0), begin);
    let runs = run(&mut health, &spec, begin, begin + INTERVAL);
    let first = |wanted: bool| {
        let servers = (0..MANY).filter(|index| (index % 10 == 0) == wanted);
        servers.map(|index| runs[&address(index)][0]).collect::<Vec<_>>()
    };
    let (out, in_rotation) = (first(true), first(false));
    let last_out = *out.iter().max().unwrap();
    assert!(last_out <= *in_rotation.iter().min().unwrap() + millis(10));
    assert!(last_out - begin <= Duration::from_secs(1), "{:?}", last_out - begin);
}

/// After the operator corrects the check of a server that is down, the check does not wait for its old time.
#[test]
fn a2_changed_check_of_a_down_server_goes_first() {
    let (old, new) = (spec(0..2, "service=http\n\trequest=\"wrong\""), spec(0..2, "service=http"));
    let begin = start();
    let mut health = Health::new(&old, &in_service(&old, |_| true), begin);
    let mut now = begin + INTERVAL;
    run(&mut health, &old, begin, now);
    while health.servers[0][0].checked.is_up() {
        for due in all_due(&mut health, &old, now) {
            let outcome = if due.probe.target == address(0) { Outcome::Down } else { Outcome::Up };
            health.verdict(&old, due.id, Verdict::new(outcome, ""), now);
        }
        now += millis(10);
    }
    let mut health = health.carry_over(&old, &new, &BTreeSet::new(), now);
    let due: Vec<SocketAddr> = all_due(&mut health, &new, now).iter().map(|due| due.probe.target).collect();
    assert_eq!(due, [address(0)]);
}

/// The loop was blocked for a minute.
#[test]
fn a2_overdue_checks_are_spread_after_a_gap() {
    let begin = start();
    let spec = spec(0..500, "service=http");
    let mut health = Health::new(&spec, &in_service(&spec, |_| true), begin);
    run(&mut health, &spec, begin, begin + 3 * INTERVAL);
    let awake = begin + 9 * INTERVAL;
    let runs = run(&mut health, &spec, awake, awake + 2 * INTERVAL);
    assert_eq!(runs.len(), 500);
    let most = densest(&runs);
    assert!(most <= 120, "{most} checks in 100 ms");
    // Afterwards they are as far apart as before.
    let later = run(&mut health, &spec, awake + 2 * INTERVAL, awake + 3 * INTERVAL);
    assert!(densest(&later) <= 20, "{} checks in 100 ms", densest(&later));
}

/// Ten servers, and never a free slot.
#[test]
fn a2_falling_behind_is_said_once_and_counted() {
    let begin = start();
    let spec = spec(0..10, "service=http");
    let mut health = Health::new(&spec, &in_service(&spec, |_| true), begin);
    run(&mut health, &spec, begin, begin + 2 * INTERVAL);
    let mut now = begin + 2 * INTERVAL;
    let mut news = Vec::new();
    while now < begin + 5 * INTERVAL {
        health.due(&spec, now, |_| false);
        news.extend(health.punctuality(now));
        now += millis(100);
    }
    let [Punctuality::Behind { late, waiting: 10, .. }] = &news[..] else { panic!("{news:?}") };
    assert!((INTERVAL..INTERVAL + millis(200)).contains(late), "{late:?}");
    // A check that has not begun has no verdict, and nothing changes.
    assert_eq!((health.any_in(&spec, 0), health.late_checks()), (true, 0));
    run(&mut health, &spec, now, now + millis(10));
    assert_eq!(health.late_checks(), 10);
    let later = now + 2 * INTERVAL;
    run(&mut health, &spec, now, later);
    assert_eq!(health.punctuality(later), Some(Punctuality::CaughtUp { checks: 10 }));
    assert_eq!(health.punctuality(later), None);
}

/// A check without a result is repeated at once, but only once.
#[test]
fn a2_a_repeat_comes_at_once_and_only_once() {
    let begin = start();
    let spec = spec(0..1, "service=http");
    let mut health = Health::new(&spec, &in_service(&spec, |_| true), begin);
    run(&mut health, &spec, begin, begin + 2 * INTERVAL);
    let mut now = begin + 2 * INTERVAL;
    let mut next = |health: &mut Health, verdict: Verdict| {
        let at = health.poll_timeout().unwrap().max(now);
        let waited = at - now;
        now = at + millis(100);
        for due in all_due(health, &spec, at) {
            health.verdict(&spec, due.id, verdict.clone(), now);
        }
        waited
    };
    let late = || Verdict::unknown(UnknownCause::DirectorLate, "late");
    next(&mut health, late());
    assert_eq!(next(&mut health, late()), Duration::ZERO);
    let rest = next(&mut health, Verdict::up("fine"));
    // The grid is unchanged.
    assert_eq!(rest, INTERVAL - millis(200));
    assert_eq!(next(&mut health, Verdict::up("fine")), INTERVAL - millis(100));
}

/// If slots are scarce, servers in rotation are checked first, then servers without a verdict.
#[test]
fn a11_servers_in_rotation_go_first() {
    let begin = start();
    let spec = spec(0..6, "service=http");
    let mut health = Health::new(&spec, &in_service(&spec, |index| index % 2 == 1), begin);
    for due in all_due(&mut health, &spec, begin + millis(100)) {
        let outcome = if due.probe.target == address(0) {
            Outcome::Down
        } else {
            Outcome::Unknown(UnknownCause::Panic)
        };
        if due.probe.target != address(2) {
            health.verdict(&spec, due.id, Verdict::new(outcome, ""), begin + millis(100));
        }
    }
    health.hurry_all(begin + INTERVAL);
    let order: Vec<(Priority, SocketAddr)> =
        all_due(&mut health, &spec, begin + INTERVAL).iter().map(|d| (d.priority, d.probe.target)).collect();
    let priorities: Vec<Priority> = order.iter().map(|(priority, _)| *priority).collect();
    assert!(priorities.is_sorted(), "{order:?}");
    assert_eq!(order.iter().filter(|(priority, _)| *priority == Priority::InRotation).count(), 3);
    assert!(order.contains(&(Priority::Out, address(0))), "{order:?}");
}

/// Four servers in rotation always use the only slot. The two servers without a check get their turn, too.
#[test]
fn a11_a_first_check_gets_its_turn_where_places_are_scarce() {
    let mut now = start();
    let spec = spec(0..6, "service=http");
    let mut health = Health::new(&spec, &in_service(&spec, |index| index < 4), now);
    health.hurry_all(now);
    let mut runs: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    for _ in 0..30 {
        // A check takes 4 s, so that not all of them fit into the interval of 10 s.
        now += millis(4000);
        let mut found = None;
        health.due(&spec, now, |due| found.is_none() && found.replace(due).is_none());
        let due = found.unwrap();
        *runs.entry(due.probe.target).or_default() += 1;
        let silent = [address(4), address(5)].contains(&due.probe.target);
        let verdict = if silent { Verdict::down("silent") } else { Verdict::up("fine") };
        health.verdict(&spec, due.id, verdict, now);
    }
    assert!(runs.contains_key(&address(4)) && runs.contains_key(&address(5)), "{runs:?}");
    assert!((0..4).all(|index| runs[&address(index)] >= 5), "{runs:?}");
}

/// Four servers in rotation always use the only slot. Without a check of its own, a server that works again would stay
/// out of rotation as long as the director is overloaded.
#[test]
fn a11_a_server_that_is_down_gets_a_turn_with_few_slots() {
    let mut now = start();
    let spec = spec(0..5, "service=http");
    let mut health = Health::new(&spec, &in_service(&spec, |_| true), now);
    let mut runs: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    for round in 0..60 {
        // A check takes 4 s, so that not all of them fit into the interval of 10 s.
        now += millis(4000);
        if round == 0 {
            health.hurry_all(now);
        }
        let mut found = None;
        health.due(&spec, now, |due| found.is_none() && found.replace(due).is_none());
        let due = found.unwrap();
        *runs.entry(due.probe.target).or_default() += 1;
        let verdict =
            if due.probe.target == address(4) { Verdict::down("silent") } else { Verdict::up("fine") };
        health.verdict(&spec, due.id, verdict, now);
    }
    // At most one check in five is one of a server that is down.
    assert!((5..=12).contains(&runs[&address(4)]), "{runs:?}");
    assert!((0..4).all(|index| runs[&address(index)] >= 10), "{runs:?}");
}

/// While checks with a long deadline fill the processor, a check with a short one would never get the CPU time that it
/// needs in time. It begins when it is its turn, and does not keep the checks behind it from beginning.
#[test]
fn a11_a_check_with_a_short_deadline_gets_its_turn() {
    let mut now = start();
    let reals: String = (0..4).map(|index| format!("\treal={} masq\n", address(index))).collect();
    let text = format!(
        "virtual=10.0.0.1:443\n\tservice=http\n{reals}\
         virtual=10.0.0.1:80\n\tchecktype=connect\n\tchecktimeout=1\n\treal=10.2.0.1:80 masq\n\treal=10.2.0.2:80 masq\n"
    );
    let spec = crate::daemon::test_spec(&text);
    let mut health = Health::new(&spec, &in_service(&spec, |index| index < 4), now);
    health.hurry_all(now);
    let mut runs: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    for _ in 0..60 {
        now += millis(4000);
        let mut found = None;
        health.due(&spec, now, |due| {
            let has_time = due.is_its_turn || due.probe.deadline >= Duration::from_secs(30);
            found.is_none() && has_time && found.replace(due).is_none()
        });
        let due = found.unwrap();
        *runs.entry(due.probe.target).or_default() += 1;
        let verdict =
            if due.probe.target.port() == 80 { Verdict::down("silent") } else { Verdict::up("fine") };
        health.verdict(&spec, due.id, verdict, now);
    }
    for server in ["10.2.0.1:80", "10.2.0.2:80"] {
        assert!(runs.get(&server.parse().unwrap()) >= Some(&3), "{runs:?}");
    }
    assert!((0..4).all(|index| runs[&address(index)] >= 10), "{runs:?}");
}

/// If the maintenance of all servers ends, there are as many first checks as at a start.
#[test]
fn a2_servers_that_come_back_from_maintenance_are_spread() {
    let begin = start();
    let spec = spec(0..MANY, "service=https");
    let mut health = Health::new(&spec, &in_service(&spec, |_| true), begin);
    let after = begin + 3 * INTERVAL;
    run(&mut health, &spec, begin, after);
    health.maintain(&spec, |_| Some("by file".to_owned()), after);
    health.maintain(&spec, |_| None, after);
    let runs = run(&mut health, &spec, after, after + INTERVAL);
    assert_eq!(runs.len(), MANY);
    let at_once = runs.values().filter(|times| times[0] < after + WINDOW).count();
    assert!(at_once < MANY / 40, "{at_once} in the first {WINDOW:?}");
}

/// A check waits for a slot while its server is in maintenance. It runs if the maintenance ends in the meantime.
#[test]
fn a_check_that_waits_runs_when_the_maintenance_ends() {
    let begin = start();
    let spec = spec(0..2, "service=http");
    let mut health = Health::new(&spec, &in_service(&spec, |_| true), begin);
    let by_file = |maintained: SocketAddr| (maintained == address(0)).then(|| "by file".to_owned());
    health.maintain(&spec, by_file, begin);
    health.hurry_all(begin);
    // There is no slot for the check of the other server, which is first.
    assert!(health.due(&spec, begin, |_| false).is_empty());
    health.maintain(&spec, |_| None, begin);
    let due: BTreeSet<SocketAddr> =
        all_due(&mut health, &spec, begin).iter().map(|due| due.probe.target).collect();
    assert_eq!(due, BTreeSet::from([address(0), address(1)]));
}
