//! Metrics, as recorded in `tests/data/metrics`.

#![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ipvs_rs::Table;

use super::*;
use crate::config::{self, Answers};
use crate::event::{Event, EventKind};
use crate::health::{CheckId, Ending, Health, Override, Owner, Standing, What};
use crate::report::Moment;
use crate::spec::Spec;
use crate::value::{Phase, UnknownCause, Verdict};

const TEXT: &str = "virtual=10.0.0.1:443\n\treal=10.0.0.2:443 masq\n\treal=10.0.0.3:443 masq\n\tfallback=127.0.0.1:80\n\
                    \tservice=https\nvirtual6=7\n\treal6=[2001:db8::2]:53 masq\n\tchecktype=connect\n";

fn spec() -> Spec {
    Spec::new(Arc::new(config::load(TEXT.as_bytes(), &Answers::new("director")).config.unwrap()))
}

fn render(scrape: Scrape) -> String {
    let mut text = Vec::new();
    Arc::new(scrape).write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// A daemon after one round: one server is up, one is down, one could not be checked.
fn scrape(per_server: bool) -> Scrape {
    let (spec, now) = (spec(), Instant::now());
    let mut health = Health::new(&spec, &BTreeSet::new(), now);
    let mut meters = Meters::default();
    let mut due: Vec<CheckId> = Vec::new();
    health.hurry_all(now);
    health.due(&spec, now, |check| {
        due.push(check.id);
        true
    });
    let certificate = |expires| Verdict { certificate_expires: Some(expires), ..Verdict::up("fine") };
    let mut refused = Verdict::down("connection refused");
    refused.phases.add(Phase::Connect, Duration::from_millis(2));
    refused.took = Duration::from_millis(2);
    let unknown = Verdict::unknown(UnknownCause::OwnLimit("no free local port"), "no free local port");
    for (id, verdict) in due.into_iter().zip([certificate(1_800_000_000), refused, unknown]) {
        let member = health.members(&spec, id)[0];
        let (v, real) = spec.member(member);
        meters.checked(spec.check_of(member).unwrap().key.probe.kind(), &verdict);
        let kind = match verdict.outcome {
            crate::value::Outcome::Up => Some(EventKind::Up { verdict: Arc::new(verdict.clone()) }),
            crate::value::Outcome::Down => Some(EventKind::Down { verdict: Arc::new(verdict.clone()) }),
            crate::value::Outcome::Unknown(_) => None,
        };
        let events: Vec<Event> =
            kind.map(|kind| Event::of_server(v.id, real.address, kind)).into_iter().collect();
        meters.published(&events, now);
        health.verdict(&spec, id, verdict, now);
    }
    meters.reconciled(now + Duration::from_millis(3));
    meters.reloaded(false, UNIX_EPOCH + Duration::from_secs(1_700_000_100));
    let at = Moment {
        instant: now + Duration::from_secs(60),
        wall: UNIX_EPOCH + Duration::from_secs(1_700_000_200),
    };
    let view =
        View { config: Arc::from("/etc/ha.d/web\".cf"), ..View::of(&spec, &health, &Table::default(), at) };
    let facts = DaemonFacts {
        started: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        config_digest: "a41f7c".to_owned(),
        running_checks: 3,
        max_checks: 4096,
        mail_queued: 2,
        mail_dropped: 1,
        commands: vec![("callback".to_owned(), "failed", 4)],
    };
    Scrape { view: Arc::new(view), meters, facts, per_server }
}

fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/data/metrics/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    // The version changes with each release.
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{path}");
}

#[test]
fn metrics_of_services_are_as_recorded() {
    golden("services", &render(scrape(false)));
}

#[test]
fn metrics_of_servers_are_as_recorded() {
    let (services, all) = (render(scrape(false)), render(scrape(true)));
    let known: BTreeSet<&str> = services.lines().collect();
    let more: String = all.lines().filter(|line| !known.contains(line)).map(|l| format!("{l}\n")).collect();
    golden("servers", &more);
}

/// The list for people has exactly the metrics that a daemon gives.
#[test]
fn each_metric_is_in_the_list() {
    let text = render(scrape(true));
    let given: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let page = include_str!("../../../docs/monitoring.md");
    let listed: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
        .filter(|name| name.starts_with("ldirectord_"))
        .collect();
    assert_eq!(given, listed);
}

/// As node_exporter reads it. With direct routing two lines of a server can be one destination, and so one series.
#[test]
fn a_server_has_its_port_in_the_table() {
    let text = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\treal=10.0.0.2:81 gate\n\treal=10.0.0.3:81 masq\n\tchecktype=on\n";
    let config = config::load(text.as_bytes(), &Answers::new("director")).config.unwrap();
    let (spec, mut scrape) = (Spec::new(Arc::new(config)), scrape(true));
    let health = Health::new(&spec, &BTreeSet::new(), scrape.view.at.instant);
    scrape.view = Arc::new(View::of(&spec, &health, &Table::default(), scrape.view.at));
    let text = render(scrape);
    let weights = text.lines().filter(|line| line.starts_with("ldirectord_server_weight{"));
    let servers: Vec<&str> =
        weights.filter_map(|line| line.split_once("remote_")?.1.split('}').next()).collect();
    assert_eq!(servers, [r#"address="10.0.0.2",remote_port="80""#, r#"address="10.0.0.3",remote_port="81""#]);
}

/// An override counts as forgotten after a day without an end. Maintenance is a file that stays in sight.
#[test]
fn an_override_of_a_day_without_an_end_is_counted() {
    let forgotten = |hours: u64, owner: Owner, has_end: bool| {
        let mut scrape = scrape(false);
        let view = Arc::make_mut(&mut scrape.view);
        let since = view.at.instant - Duration::from_secs(hours * 3600);
        let until = has_end.then_some(view.at.instant + Duration::from_secs(60));
        let decided = Override { what: What::Drain, owner, reason: String::new(), since, until };
        let mut services = view.services.to_vec();
        Arc::make_mut(&mut services[0]).servers[0].overridden = Some(Arc::new(decided));
        view.services = services.into();
        let text = render(scrape);
        let value =
            text.lines().find_map(|line| line.strip_prefix("ldirectord_overrides_without_end_over_a_day "));
        value.unwrap().to_owned()
    };
    let anna = || Owner::Operator("anna".to_owned());
    assert_eq!(forgotten(25, anna(), false), "1.0");
    assert_eq!(forgotten(23, anna(), false), "0.0");
    assert_eq!(forgotten(25, anna(), true), "0.0");
    assert_eq!(forgotten(25, Owner::Maintenance, false), "0.0");
}

#[test]
fn the_largest_lag_is_forgotten_after_a_minute() {
    let (begin, s) = (Instant::now(), Duration::from_secs);
    let mut meters = Meters::default();
    let mut lag = |lag: u64, at: u64| {
        meters.late(Duration::from_millis(lag), begin + s(at));
        meters.lag().as_millis()
    };
    assert_eq!(
        [lag(5, 0), lag(70, 1), lag(1, 20), lag(1, 40), lag(2, 75), lag(0, 200)],
        [5, 70, 70, 70, 2, 0]
    );
}

/// A first verdict that changes nothing in the table is not followed by an operation.
#[test]
fn a_decision_without_a_change_of_the_table_is_not_timed() {
    let (spec, now) = (spec(), Instant::now());
    let (service, server) = (spec.virtuals()[0].id, spec.virtuals()[0].reals[0].address);
    let mut meters = Meters::default();
    let down = EventKind::Down { verdict: Arc::new(Verdict::down("down")) };
    meters.published(&[Event::of_server(service, server, down)], now);
    meters.nothing_to_apply();
    meters.reconciled(now + Duration::from_secs(43_200));
    assert_eq!(meters.to_kernel.count(), 0);
}

/// Two lines with one address are one series, with the lower state.
#[test]
fn a_server_in_two_lines_has_one_series() {
    let text = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.2:80 masq 1 \"x\",\"y\"\n\tservice=http\n";
    let spec = Spec::new(Arc::new(config::load(text.as_bytes(), &Answers::new("director")).config.unwrap()));
    let mut scrape = scrape(true);
    let now = scrape.view.at;
    let health = Health::new(&spec, &BTreeSet::new(), now.instant);
    scrape.view = Arc::new(View::of(&spec, &health, &Table::default(), now));
    let text = render(scrape);
    assert_eq!(text.lines().filter(|line| line.starts_with("ldirectord_server_up{")).count(), 1, "{text}");
}

/// A server that stays down counts on. A server that is no longer configured is forgotten.
#[test]
fn downtime_is_counted() {
    let (spec, begin, s) = (spec(), Instant::now(), Duration::from_secs);
    let (service, server) = (spec.virtuals()[0].id, spec.virtuals()[0].reals[0].address);
    let verdict = Arc::new(Verdict::down("down"));
    let again = Arc::clone(&verdict);
    let mut meters = Meters::default();
    let mut event = |kind: EventKind, at: u64| {
        meters.published(&[Event::of_server(service, server, kind)], begin + s(at));
        let known = meters.servers[&(service, server)];
        (known.ups, known.downs, known.downtime(begin + s(100)).as_secs())
    };
    assert_eq!(event(EventKind::Down { verdict: Arc::clone(&verdict) }, 10), (0, 1, 90));
    assert_eq!(event(EventKind::Up { verdict: Arc::clone(&verdict) }, 30), (1, 1, 20));
    assert_eq!(event(EventKind::Down { verdict }, 95), (1, 2, 25));
    // Recovered during an override, which ends; and reported again after one.
    let mut event = |kind: EventKind, at: u64| {
        meters.published(&[Event::of_server(service, server, kind)], begin + s(at));
        let known = meters.servers[&(service, server)];
        (known.downs, known.downtime(begin + s(200)).as_secs())
    };
    assert_eq!(event(EventKind::Down { verdict: Arc::clone(&again) }, 98), (2, 125));
    let decision = Arc::new(Override {
        what: What::Drain,
        owner: Owner::Operator("anna".to_owned()),
        reason: String::new(),
        since: begin,
        until: None,
    });
    let ending = Ending::Undone(Owner::Operator("anna".to_owned()));
    let ended =
        |state| EventKind::OverrideEnded { decision: Arc::clone(&decision), ending: ending.clone(), state };
    assert_eq!(event(ended(Some(Standing::Out)), 110), (2, 125));
    assert_eq!(event(ended(Some(Standing::InRotation)), 115), (2, 40));
    meters.set_spec(&spec);
    assert_eq!(meters.servers.len(), 1);
    assert!(meters.copy(false).servers.is_empty());
    let other = TEXT.replace("10.0.0.2", "10.0.0.9");
    let other = config::load(other.as_bytes(), &Answers::new("director")).config.unwrap();
    meters.set_spec(&Spec::new(Arc::new(other)));
    assert!(meters.servers.is_empty());
}
