//! Finds what an alert says about servers: in the spec, and in their state at the time of the event.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, FixedOffset, Local, TimeDelta};

use super::details::{Details, ServerTransition, Servers};
use super::reminders::ReminderKey;
use crate::health::{self, Health, Override, Owner, Standing};
use crate::spec::{ServerRef, Spec};
use crate::value::VirtualId;
use crate::value::layout::endpoint;
use crate::value::shown::escaped;

/// The most characters of a reason.
const LONGEST_REASON: usize = 500;

/// The spec and the state of all servers at one moment.
pub(super) struct Situation<'a> {
    pub(super) spec: &'a Spec,
    pub(super) health: &'a Health,
    pub(super) now: Instant,
    /// The servers of each virtual service, counted once for all events of a turn.
    counted: BTreeMap<usize, Servers>,
}

impl<'a> Situation<'a> {
    pub(super) fn new(spec: &'a Spec, health: &'a Health, now: Instant) -> Situation<'a> {
        Situation { spec, health, now, counted: BTreeMap::new() }
    }

    /// The details about a virtual service and a server of it. `config`: the name of the configuration.
    pub(super) fn details(
        &mut self,
        of: VirtualId,
        course: ServerTransition,
        config: &str,
    ) -> Option<Details> {
        let virtual_index = self.spec.virtual_index(of)?;
        let (spec, health) = (self.spec, self.health);
        let servers =
            *self.counted.entry(virtual_index).or_insert_with(|| count(spec, health, virtual_index));
        Some(Details {
            service: of.qualified().to_string(),
            servers,
            fallback: spec.virtuals()[virtual_index].fallback_address().map(endpoint),
            course,
            config: config.to_owned(),
        })
    }

    /// The state of a server. None if the spec does not have it.
    pub(super) fn server(&self, (of, address): ReminderKey) -> Option<&'a health::ServerHealth> {
        let virtual_index = self.spec.virtual_index(of)?;
        let reals = &self.spec.virtuals()[virtual_index].reals;
        let real_index = reals.iter().position(|real| real.address == address)?;
        Some(self.health.server(ServerRef { virtual_index, real_index }))
    }

    /// Why and since when a server is out of rotation. `since`: if known better than from its state. `reminds`: say for
    /// how long, too.
    pub(super) fn out(&self, server: ReminderKey, since: Option<Instant>, reminds: bool) -> ServerTransition {
        let state = self.server(server).filter(|state| state.standing() != Standing::InRotation);
        // A server that left with a reload has no reason of its own.
        let Some(state) = state.filter(|state| !state.has_gone()) else { return ServerTransition::Other };
        let since = since.or_else(|| state.is_seen().then(|| state.since()));
        let failures = if state.decided().is_some() { 0 } else { state.checked().failures() };
        ServerTransition::Out {
            why: cause(state),
            failures,
            since: since.map(|since| self.wall_at(since)),
            lasts: since.filter(|_| reminds).map(|since| self.now.saturating_duration_since(since)),
        }
    }

    /// Converts a time of the past to the wall clock.
    fn wall_at(&self, at: Instant) -> DateTime<FixedOffset> {
        let ago = TimeDelta::from_std(self.now.saturating_duration_since(at)).unwrap_or_default();
        (Local::now() - ago).fixed_offset()
    }
}

/// Why a server is out of rotation: its override, or the reason of its last check.
pub(super) fn cause(server: &health::ServerHealth) -> Option<String> {
    let reason = match server.decided() {
        Some(decision) => override_reason(decision),
        None => server.verdict()?.reason.clone(),
    };
    // Plain ASCII needs no encoding in mail, and the mark of a cut is the only other sign of our own.
    let reason = escaped(&reason).replace('…', "...");
    Some(match reason.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}...", &reason[..end]),
        None => reason,
    })
}

fn override_reason(decision: &Override) -> String {
    match &decision.owner {
        Owner::Maintenance => decision.reason.clone(),
        Owner::Operator(who) if decision.reason.is_empty() => format!("{} by {who}", decision.what),
        Owner::Operator(who) => format!("{} by {who}: {}", decision.what, decision.reason),
    }
}

fn count(spec: &Spec, health: &Health, virtual_index: usize) -> Servers {
    let mut servers = Servers { any_in: health.any_in(spec, virtual_index), ..Servers::default() };
    for real_index in 0..spec.virtuals()[virtual_index].reals.len() {
        let member = ServerRef { virtual_index, real_index };
        if spec.is_leaving(member) {
            continue;
        }
        servers.all += 1;
        servers.up += usize::from(health.is_in(spec, member));
        let is_seen = spec.check_of(member).is_none() || health.server(member).is_seen();
        servers.unchecked += usize::from(!is_seen);
    }
    servers
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]

    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::health::What;
    use crate::value::Verdict;

    const TEXT: &str = "fallback=127.0.0.1:8080 masq\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 \
                        masq\n\tchecktype=connect\n\tfailurecount=2\n";

    fn check(health: &mut Health, spec: &Spec, verdicts: &[(&str, Verdict)], now: Instant) {
        let mut due = Vec::new();
        health.hurry_all(now);
        let _ = health.due(spec, now, |check| {
            due.push(check.id);
            true
        });
        for id in due {
            let member = health.members(spec, id)[0];
            let address = spec.member(member).1.address.to_string();
            let (_, verdict) = verdicts.iter().find(|(of, _)| *of == address).unwrap();
            let _ = health.verdict(spec, id, verdict.clone(), now);
        }
    }

    #[test]
    fn r97_details_come_from_the_state_of_the_servers() {
        let spec = crate::daemon::test_spec(TEXT);
        let of: VirtualId = "tcp:10.0.0.1:80".parse().unwrap();
        let (two, three): (ReminderKey, ReminderKey) =
            ((of, "10.0.0.2:80".parse().unwrap()), (of, "10.0.0.3:80".parse().unwrap()));
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut health = Health::new(&spec, &BTreeSet::from([two, three]), begin);
        let details = |health: &Health| {
            Situation::new(&spec, health, at(100)).details(of, ServerTransition::Other, "web.cf").unwrap()
        };
        let found = details(&health);
        assert_eq!(found.servers, Servers { all: 2, up: 2, unchecked: 2, any_in: true });
        assert_eq!(
            (found.service.as_str(), found.fallback.as_deref()),
            ("tcp:10.0.0.1:80", Some("127.0.0.1:8080"))
        );

        let (down, up) = (Verdict::down("refused \u{1b}[31m"), Verdict::up("fine"));
        for seconds in [10, 20, 30] {
            check(
                &mut health,
                &spec,
                &[("10.0.0.2:80", down.clone()), ("10.0.0.3:80", up.clone())],
                at(seconds),
            );
        }
        assert_eq!(details(&health).servers, Servers { all: 2, up: 1, unchecked: 0, any_in: true });
        let situation = Situation::new(&spec, &health, at(100));
        assert_eq!(situation.out(three, None, true), ServerTransition::Other, "it is in rotation");
        let ServerTransition::Out { why, failures, since, lasts } = situation.out(two, None, true) else {
            panic!("it is down");
        };
        assert_eq!((why.as_deref(), failures), (Some("refused \\u{1b}[31m"), 3));
        assert_eq!(lasts, Some(Duration::from_secs(80)), "since the second failure");
        let age = Local::now().fixed_offset() - since.unwrap();
        assert!((80..140).contains(&age.num_seconds()), "{age}");
    }

    #[test]
    fn an_override_is_the_cause_as_long_as_it_lasts() {
        let spec = crate::daemon::test_spec(TEXT);
        let of: VirtualId = "tcp:10.0.0.1:80".parse().unwrap();
        let server = (of, "10.0.0.2:80".parse().unwrap());
        let now = Instant::now();
        let mut health = Health::new(&spec, &BTreeSet::from([server]), now);
        let member = ServerRef { virtual_index: 0, real_index: 0 };
        for (reason, expected) in
            [("", "drain by alice"), ("kernel\nupdate…", "drain by alice: kernel\\nupdate...")]
        {
            let owner = Owner::Operator("alice".to_owned());
            let decision =
                Override { what: What::Drain, owner, reason: reason.to_owned(), since: now, until: None };
            let _ = health.set_override(member, decision, now);
            assert_eq!(cause(health.server(member)).as_deref(), Some(expected));
        }
        let wanted = |_| Some("x".repeat(1000));
        let _ = health.maintain(&spec, wanted, now);
        assert_eq!(cause(health.server(member)), Some(format!("{}...", "x".repeat(500))));
    }
}
