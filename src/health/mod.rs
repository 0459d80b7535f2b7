//! The state machine of the servers. Inputs are verdicts and *now*; outputs are states, transitions, and the checks
//! that are due.

mod decision;
mod lateness;
mod leaving;
mod overrides;
mod schedule;
mod server;
mod spread;
#[cfg(test)]
mod tests;
mod unchecked;
mod weight;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::spec::{ServerRef, Spec, Virtual};
use crate::value::{Verdict, VirtualId};
pub use decision::{Ending, MAINTENANCE, OLD_OVERRIDE, Override, Owner, What};
pub use lateness::Punctuality;
pub use schedule::{CheckId, Due, Priority};
use schedule::{Origin, Schedule};
use server::Rules;
pub use server::{Checked, ServerHealth, Standing};
use unchecked::ImpossibleChecks;
pub use unchecked::{Blindness, Impossible};
pub use weight::OverrideWeight;

/// The identity of a real server in a virtual service, across reloads.
pub type ServerId = (VirtualId, SocketAddr);

/// The state of every server, and the schedule of the checks.
#[derive(Clone, Debug)]
pub struct Health {
    servers: Vec<Vec<ServerHealth>>,
    schedule: Schedule,
    unchecked: ImpossibleChecks,
    unchecked_is_down: bool,
    /// The servers with an override of an operator.
    overridden: BTreeSet<ServerRef>,
    /// When the next of these overrides expires.
    next_expiry: Option<Instant>,
}

/// The state of one server that a daemon hands over to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Whether the server was in rotation.
    pub is_up: bool,
    /// Since when.
    pub since: Instant,
}

/// A transition of a server. Log, mail, metrics and pages are renderings of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The server.
    pub member: ServerRef,
    /// What happened.
    pub event: HealthEvent,
}

/// The kinds of [`Transition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    /// The server was marked up.
    Up(Arc<Verdict>),
    /// The server was marked down.
    Down(Arc<Verdict>),
    /// A check failed, with fewer consecutive failures than `failurecount`.
    SoftFailure {
        /// Consecutive failures so far.
        failures: u32,
        /// The cause.
        verdict: Arc<Verdict>,
    },
    /// A check succeeded after soft failures.
    SoftFailureOver,
    /// A check could not be carried out although the previous one could.
    Unknown(Arc<Verdict>),
    /// An override was set.
    Overridden(Arc<Override>),
    /// An override ended.
    OverrideEnded {
        /// The override.
        decision: Arc<Override>,
        /// Why it ended.
        ending: Ending,
    },
}

impl Health {
    /// The state at the start of the daemon. A server that the kernel has in service is up until its first verdict.
    #[must_use]
    pub fn new(spec: &Spec, in_service: &BTreeSet<ServerId>, now: Instant) -> Health {
        let fresh = |member: ServerRef| {
            let (v, real) = spec.member(member);
            ServerHealth::fresh(in_service.contains(&(v.id, real.address)), now)
        };
        let servers = rows(spec, fresh);
        let origin = |check: usize| Origin {
            same: None,
            predecessor: None,
            urgent: is_urgent(&servers, &spec.checks()[check].members),
        };
        let schedule = Schedule::new(spec, origin, now);
        Health {
            servers,
            schedule,
            unchecked: ImpossibleChecks::default(),
            unchecked_is_down: false,
            overridden: BTreeSet::new(),
            next_expiry: None,
        }
    }

    /// The state after a reload. Servers that are still configured keep their state.
    #[must_use]
    pub fn carry_over(
        &self,
        old: &Spec,
        new: &Spec,
        in_service: &BTreeSet<ServerId>,
        now: Instant,
    ) -> Health {
        let id = |spec: &Spec, member: ServerRef| -> ServerId {
            let (v, real) = spec.member(member);
            (v.id, real.address)
        };
        let mut before: Vec<(ServerId, ServerRef)> = old.members().map(|m| (id(old, m), m)).collect();
        before.sort_unstable();
        let lines_of = |id: ServerId| {
            let first = before.partition_point(|(other, _)| *other < id);
            before[first..].iter().take_while(move |(other, _)| *other == id).map(|(_, member)| *member)
        };
        let same_checks = new.same_checks(old);
        let same = |member: ServerRef| new.check_index(member).map(|check| same_checks[check]);
        let carried = |member: ServerRef| {
            let id = id(new, member);
            let has_same_check = |other: &ServerRef| match (old.check_index(*other), same(member)) {
                (Some(check), Some(same)) => same == Some(check),
                (check, same) => check.is_none() && same.is_none(),
            };
            let unchanged = lines_of(id).find(has_same_check);
            let Some(old) = unchanged.or(lines_of(id).next()).map(|member| self.server(member)) else {
                return ServerHealth::fresh(in_service.contains(&id), now);
            };
            if new.is_leaving(member) {
                let limit = now + new.leaving_time(member.virtual_index);
                return old.clone().leaving(limit);
            }
            // With a different check, the results of the old one are dropped; a server in maintenance has none. A
            // server that had already left starts again.
            let forget = !old.is_in_maintenance() && (unchanged.is_none() || old.has_gone());
            old.clone().staying(forget)
        };
        let servers = rows(new, carried);
        let predecessor = |member: &ServerRef| lines_of(id(new, *member)).find_map(|m| old.check_index(m));
        let origin = |check: usize| {
            let members = &new.checks()[check].members;
            Origin {
                same: same_checks[check],
                predecessor: members.iter().find_map(predecessor),
                urgent: is_urgent(&servers, members),
            }
        };
        let schedule = self.schedule.carry_over(new, origin, now);
        let mut unchecked = self.unchecked.clone();
        unchecked.retain(|id| schedule.knows(id));
        let is_overridden = |member: &ServerRef| {
            servers[member.virtual_index][member.real_index].overrides.operator.is_some()
        };
        let overridden = match self.overridden.is_empty() {
            true => BTreeSet::new(),
            false => new.members().filter(is_overridden).collect(),
        };
        let unchecked_is_down = self.unchecked_is_down;
        let mut next =
            Health { unchecked_is_down, servers, schedule, unchecked, overridden, next_expiry: None };
        next.find_next_expiry();
        next
    }

    /// The state of one server.
    #[must_use]
    pub fn server(&self, member: ServerRef) -> &ServerHealth {
        &self.servers[member.virtual_index][member.real_index]
    }

    /// The state of a server, for the next daemon.
    #[must_use]
    pub fn known(&self, member: ServerRef) -> Known {
        let server = self.server(member);
        Known { is_up: server.standing() == Standing::InRotation, since: server.since() }
    }

    /// Takes the state of a server from the previous daemon, if this daemon found the server in the same state.
    pub fn know(&mut self, member: ServerRef, known: Known) {
        if self.known(member).is_up == known.is_up {
            self.server_mut(member).set_since(known.since);
        }
    }

    fn server_mut(&mut self, member: ServerRef) -> &mut ServerHealth {
        &mut self.servers[member.virtual_index][member.real_index]
    }

    /// The standing of a destination: the lowest standing of all `real=` lines that name it.
    #[must_use]
    pub fn standing(&self, spec: &Spec, member: ServerRef) -> Standing {
        let twins = spec.twins(member).iter().map(|twin| self.server(*twin).standing());
        twins.fold(self.server(member).standing(), Standing::least)
    }

    /// The weight of a server in rotation: the configured one, or what an operator set for this `real=` line. If
    /// several lines name the destination, an override of any of them counts.
    #[must_use]
    pub fn weight(&self, spec: &Spec, member: ServerRef) -> u32 {
        let of = |member: &ServerRef| self.server(*member).overridden()?.what.weight();
        let set = of(&member).or_else(|| spec.twins(member).iter().rev().find_map(of));
        let configured = spec.member(member).1.weight;
        set.map_or(configured, |weight| weight.of(configured))
    }

    /// Whether a server is in rotation.
    #[must_use]
    pub fn is_in(&self, spec: &Spec, member: ServerRef) -> bool {
        self.standing(spec, member) == Standing::InRotation
    }

    /// Whether any server of a virtual service is in rotation. If not, the fallback is active.
    #[must_use]
    pub fn any_in(&self, spec: &Spec, virtual_index: usize) -> bool {
        let reals = 0..self.servers[virtual_index].len();
        reals.into_iter().any(|real_index| self.is_in(spec, ServerRef { virtual_index, real_index }))
    }

    /// Whether every server of a virtual service has been checked once, or needs no check.
    #[must_use]
    pub fn all_seen_in(&self, spec: &Spec, virtual_index: usize) -> bool {
        let is_seen = |real_index: usize| {
            let member = ServerRef { virtual_index, real_index };
            spec.check_of(member).is_none() || self.server(member).is_seen() || spec.is_leaving(member)
        };
        (0..self.servers[virtual_index].len()).all(is_seen)
    }

    /// Whether every check has given its first verdict.
    #[must_use]
    pub fn all_seen(&self) -> bool {
        self.schedule.all_seen()
    }

    /// When to call [`Health::due`] next. `None` while every check is in flight.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.poll_timeout()
    }

    /// The id of a check, by its index in the spec, and when it runs next. `None` while it runs.
    #[must_use]
    pub fn next_run(&self, index: usize) -> (CheckId, Option<Instant>) {
        self.schedule.next_run(index)
    }

    /// Passes the due checks to `start`, one after the other, until it returns false. A started check is in flight
    /// until its verdict; the others wait, and waiting is not a verdict. Returns the due checks that are skipped
    /// because all their servers are in maintenance.
    pub fn due(&mut self, spec: &Spec, now: Instant, start: impl FnMut(Due) -> bool) -> Vec<CheckId> {
        let servers = &self.servers;
        let passed = self.schedule.due(|check| priority(servers, &spec.checks()[check].members), now, start);
        passed.iter().for_each(|id| self.unchecked.forget(*id));
        passed
    }

    /// Makes every check due now, for a single check of all servers.
    pub fn hurry_all(&mut self, now: Instant) {
        self.schedule.hurry_all(now);
    }

    /// The number of checks that began more than one interval late, since the start of the daemon.
    #[must_use]
    pub fn late_checks(&self) -> u64 {
        self.schedule.late_checks()
    }

    /// Whether checks have fallen behind or caught up since the last call.
    pub fn punctuality(&mut self, now: Instant) -> Option<Punctuality> {
        self.schedule.punctuality(now)
    }

    /// The servers that share a check.
    #[must_use]
    pub fn members<'a>(&self, spec: &'a Spec, id: CheckId) -> &'a [ServerRef] {
        self.schedule.position(id).map_or(&[], |index| &spec.checks()[index].members)
    }

    /// Whether the spec has a check.
    #[must_use]
    pub fn knows(&self, id: CheckId) -> bool {
        self.schedule.knows(id)
    }

    /// Applies the verdict of a check to every server that shares it. Ignores verdicts of removed checks.
    pub fn verdict(&mut self, spec: &Spec, id: CheckId, verdict: Verdict, now: Instant) -> Vec<Transition> {
        let verdict = self.schedule.judge(id, verdict);
        let Some(index) = self.schedule.finished(id, &verdict, now) else { return Vec::new() };
        let verdict = Arc::new(verdict);
        let mut transitions = Vec::new();
        let mut overdue = false;
        for member in &spec.checks()[index].members {
            let rules = Rules {
                failurecount: spec.member(*member).0.failurecount.max(1),
                unchecked_after: unchecked::limit(&spec.checks()[index].key),
                unchecked_is_down: self.unchecked_is_down,
            };
            let server = &mut self.servers[member.virtual_index][member.real_index];
            if let Some(event) = server.take(&verdict, &rules, now) {
                transitions.push(Transition { member: *member, event });
            }
            overdue |= server.is_overdue && !server.is_in_maintenance();
        }
        self.unchecked.note(id, &verdict, overdue, now);
        transitions
    }

    /// Sets whether a server counts as down when its last definite verdict is too old. Otherwise it keeps its state.
    pub fn set_unchecked_is_down(&mut self, unchecked_is_down: bool) {
        self.unchecked_is_down = unchecked_is_down;
    }

    /// The begins and ends of periods in which checks are not possible. Each is returned once.
    pub fn blindness(&mut self, spec: &Spec, now: Instant) -> Vec<Blindness> {
        self.unchecked.news(spec.checks().len(), self.schedule.all_seen(), now)
    }
}

/// Whether a check is urgent: one of its servers is out of rotation and has no verdict yet.
fn is_urgent(servers: &[Vec<ServerHealth>], members: &[ServerRef]) -> bool {
    members.iter().map(|m| &servers[m.virtual_index][m.real_index]).any(ServerHealth::is_new)
}

fn priority(servers: &[Vec<ServerHealth>], members: &[ServerRef]) -> Priority {
    let waiting = || members.iter().map(|m| &servers[m.virtual_index][m.real_index]);
    let is_in_rotation = |server: &ServerHealth| {
        !server.needs_no_check() && (server.checked.is_up() || server.standing() == Standing::InRotation)
    };
    if waiting().any(is_in_rotation) {
        Priority::InRotation
    } else if waiting().any(ServerHealth::is_new) {
        Priority::Unseen
    } else if waiting().any(|server| !server.needs_no_check()) {
        Priority::Out
    } else {
        Priority::Idle
    }
}

fn rows(spec: &Spec, make: impl Fn(ServerRef) -> ServerHealth) -> Vec<Vec<ServerHealth>> {
    let row = |(virtual_index, v): (usize, &Virtual)| {
        (0..v.reals.len()).map(|real_index| make(ServerRef { virtual_index, real_index })).collect()
    };
    spec.virtuals().iter().enumerate().map(row).collect()
}
