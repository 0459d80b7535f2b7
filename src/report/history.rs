//! What happened to each server since the start of the daemon: changes of its state, its last events, and the times
//! of its last checks.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use crate::event::{Event, EventKind};
use crate::health::{CheckId, ServerId};
use crate::spec::Spec;
use crate::value::{Outcome, Verdict};

/// Maximum number of changes of state of a server.
const MAX_CHANGES: usize = 48;
/// Changes of state are kept for this time.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Maximum number of events of a server.
const MAX_EVENTS: usize = 20;
/// Maximum number of times of a check.
const MAX_TIMES: usize = 40;

/// The history of all servers. Grows only when something happens to a server.
#[derive(Debug, Default)]
pub struct History {
    servers: BTreeMap<ServerId, ServerHistory>,
    checks: HashMap<CheckId, CheckTimes>,
}

/// What happened to one server, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct ServerHistory {
    changes: VecDeque<(SystemTime, &'static str)>,
    /// Events, with their times.
    pub events: VecDeque<(SystemTime, Event)>,
}

/// The durations of the last runs of a check: four bytes for each run.
#[derive(Clone, Debug, Default)]
pub struct CheckTimes {
    /// Milliseconds. Negative if the check failed.
    ring: Vec<f32>,
    oldest: usize,
}

/// The duration of one run of a check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckTime {
    /// The duration in milliseconds.
    pub ms: f32,
    /// Whether the check succeeded.
    pub is_up: bool,
}

impl History {
    /// Records an event of a server. `state`: the state that the event begins, if it begins one.
    pub fn happened(&mut self, event: &Event, state: Option<&'static str>, at: SystemTime) {
        let (Some(service), Some(server)) = (event.service, event.server) else { return };
        let history = self.servers.entry((service, server)).or_default();
        // A check that could not be carried out changes no state, and its end is not an event.
        let state = state.filter(|_| !matches!(event.kind, EventKind::Unknown { .. }));
        let is_new = |state: &&str| history.changes.back().is_none_or(|(_, last)| last != state);
        if let Some(state) = state.filter(is_new) {
            push(&mut history.changes, (at, state), MAX_CHANGES);
        }
        push(&mut history.events, (at, event.clone()), MAX_EVENTS);
    }

    /// Records a run of a check. A run that could not be carried out says nothing about the server.
    pub fn checked(&mut self, id: CheckId, verdict: &Verdict) {
        let is_up = match verdict.outcome {
            Outcome::Up => true,
            Outcome::Down => false,
            Outcome::Unknown(_) => return,
        };
        let ms = verdict.took.as_secs_f32() * 1000.0;
        self.checks.entry(id).or_default().push(CheckTime { ms, is_up });
    }

    /// Forgets the servers and checks that a new spec does not have.
    pub fn set_spec(&mut self, spec: &Spec, knows: impl Fn(CheckId) -> bool) {
        self.checks.retain(|id, _| knows(*id));
        if self.servers.is_empty() {
            return;
        }
        let servers = spec.virtuals().iter().flat_map(|v| v.reals.iter().map(|real| (v.id, real.address)));
        let servers: HashSet<ServerId> = servers.collect();
        self.servers.retain(|id, _| servers.contains(id));
    }

    /// What happened to a server.
    #[must_use]
    pub fn server(&self, id: ServerId) -> ServerHistory {
        self.servers.get(&id).cloned().unwrap_or_default()
    }

    /// The times of the last runs of a check, the oldest first.
    #[must_use]
    pub fn times(&self, id: CheckId) -> Vec<CheckTime> {
        self.checks.get(&id).map(|times| times.iter().collect()).unwrap_or_default()
    }
}

impl ServerHistory {
    /// The changes of state of the last 24 hours, and the change before them: each state with its beginning.
    pub fn changes(&self, now: SystemTime) -> impl Iterator<Item = (SystemTime, &'static str)> + '_ {
        let is_old = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age > KEPT);
        let old = self.changes.iter().filter(|(at, _)| is_old(*at)).count();
        self.changes.iter().skip(old.saturating_sub(1)).copied()
    }
}

fn push<T>(all: &mut VecDeque<T>, new: T, most: usize) {
    if all.len() == most {
        all.pop_front();
    }
    all.push_back(new);
}

impl CheckTimes {
    fn push(&mut self, time: CheckTime) {
        let ms = if time.is_up { time.ms } else { -time.ms };
        if self.ring.len() < MAX_TIMES {
            self.ring.push(ms);
        } else {
            self.ring[self.oldest] = ms;
            self.oldest = (self.oldest + 1) % MAX_TIMES;
        }
    }

    fn iter(&self) -> impl Iterator<Item = CheckTime> + '_ {
        let (late, early) = self.ring.split_at(self.oldest);
        let time = |ms: &f32| CheckTime { ms: ms.abs(), is_up: ms.is_sign_positive() };
        early.iter().chain(late).map(time)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn down(history: &mut History, at: u64, state: Option<&'static str>) {
        let verdict = Arc::new(Verdict::down("connection refused"));
        let (of, server) = ("tcp:10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let event = Event::of_server(of, server, EventKind::Down { verdict });
        history.happened(&event, state, time(at));
    }

    fn time(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn states_and_events_are_bounded_and_in_order() {
        let mut history = History::default();
        for n in 0..200 {
            down(&mut history, n, Some(if n % 2 == 0 { "down" } else { "up" }));
        }
        let id = ("tcp:10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let server = history.server(id);
        let changes: Vec<_> = server.changes(time(200)).collect();
        assert_eq!((changes.len(), changes[0], changes[47]), (48, (time(152), "down"), (time(199), "up")));
        assert_eq!((server.events.len(), server.events[0].0), (20, time(180)));
        // After a day only the state in force is left.
        assert_eq!(server.changes(time(200 + 24 * 3600)).collect::<Vec<_>>(), [(time(199), "up")]);
        let gone = crate::daemon::test_spec("virtual=10.0.0.1:80\n\treal=10.0.0.3:80 masq\n");
        history.set_spec(&gone, |_| false);
        assert!(history.servers.is_empty() && history.server(id).events.is_empty());
    }

    #[test]
    fn the_same_state_again_is_no_change() {
        let mut history = History::default();
        down(&mut history, 1, Some("down"));
        down(&mut history, 2, None);
        down(&mut history, 3, Some("down"));
        let id = ("tcp:10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        assert_eq!(history.server(id).changes(time(4)).collect::<Vec<_>>(), [(time(1), "down")]);
        assert_eq!(history.server(id).events.len(), 3);
    }

    #[test]
    fn a_check_that_was_not_possible_changes_no_state() {
        let mut history = History::default();
        down(&mut history, 1, Some("down"));
        let id: ServerId = ("tcp:10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let verdict = Arc::new(Verdict::down("no free local port"));
        let event = Event::of_server(id.0, id.1, EventKind::Unknown { verdict });
        history.happened(&event, Some("unknown"), time(2));
        assert_eq!(history.server(id).changes(time(3)).collect::<Vec<_>>(), [(time(1), "down")]);
        assert_eq!(history.server(id).events.len(), 2);
    }

    #[test]
    fn the_last_forty_times_are_kept() {
        let mut times = CheckTimes::default();
        for n in 0..95_u16 {
            times.push(CheckTime { ms: f32::from(n), is_up: n % 10 != 0 });
        }
        let found: Vec<CheckTime> = times.iter().collect();
        let expected = (55..95_u16).map(|n| CheckTime { ms: f32::from(n), is_up: n % 10 != 0 });
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
}
