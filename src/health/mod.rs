//! The state machine: verdicts and *now* → which server is up, what changed, which check is due next.

mod lateness;
mod leaving;
mod schedule;
mod spread;
#[cfg(test)]
mod tests;
mod unchecked;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plan::{Member, Plan, Virtual};
use crate::value::{Outcome, Verdict, VirtualId};
pub use lateness::Punctuality;
pub use schedule::{CheckId, Due, Standing};
use schedule::{Origin, Schedule};
use unchecked::Unchecked;
pub use unchecked::{Blindness, Impossible};

/// A real server of a virtual, by what survives a reload.
pub type ServerId = (VirtualId, SocketAddr);

/// What is known of every server, and when each is looked at again.
#[derive(Debug)]
pub struct Health {
    servers: Vec<Vec<Server>>,
    schedule: Schedule,
    unchecked: Unchecked,
    unchecked_is_down: bool,
}

/// What is known of one real server of one virtual.
#[derive(Clone, Debug)]
pub struct Server {
    /// Whether it counts as up: it takes traffic, and no fallback is needed.
    pub up: bool,
    /// Failed checks in a row.
    pub failures: u32,
    /// Since when it is up or down.
    pub since: Instant,
    /// The last verdict; none before the first check.
    pub verdict: Option<Arc<Verdict>>,
    /// Whether its check has found it up or down.
    pub judged: bool,
    /// When that was last, or since when the server is known.
    pub judged_at: Instant,
    /// That was too long ago: nothing is known of it.
    pub unchecked: bool,
    /// Somebody took it out (`maintenancedir`): it is down, whatever its checks would find.
    pub maintenance: bool,
    /// It is no longer in the configuration, and goes at this time at the latest. Once down it has gone.
    pub leaves_at: Option<Instant>,
}

/// Something that happened to a server. Log, mail, metrics and pages are renderings of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which server.
    pub member: Member,
    /// What happened.
    pub event: Event,
    /// The verdict that caused it.
    pub verdict: Arc<Verdict>,
}

/// The kinds of [`Transition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It takes traffic from now on.
    Up,
    /// It takes no new traffic from now on.
    Down,
    /// A failure, but fewer in a row than `failurecount`.
    SoftFailure {
        /// Failures in a row so far.
        failures: u32,
    },
    /// A success after soft failures.
    SoftFailureOver,
    /// The check itself failed where it did not before; nothing is known of the server.
    Unknown,
}

impl Health {
    /// The state at the start of the daemon: a server is up when the kernel has it in service (it stays until a verdict).
    #[must_use]
    pub fn new(plan: &Plan, in_service: &BTreeSet<ServerId>, now: Instant) -> Health {
        let fresh = |member: Member| {
            let (v, real) = plan.member(member);
            Server::fresh(in_service.contains(&(v.id, real.address)), now)
        };
        let servers = rows(plan, fresh);
        let origin = |check: usize| Origin {
            predecessor: None,
            urgent: is_urgent(&servers, &plan.checks()[check].members),
        };
        let schedule = Schedule::new(plan, origin, now);
        Health { servers, schedule, unchecked: Unchecked::default(), unchecked_is_down: false }
    }

    /// The state after a reload: what was known of a server that is still there stays known.
    #[must_use]
    pub fn replan(&self, old: &Plan, new: &Plan, in_service: &BTreeSet<ServerId>, now: Instant) -> Health {
        let mut before: BTreeMap<ServerId, Vec<Member>> = BTreeMap::new();
        for member in old.members() {
            let (v, real) = old.member(member);
            before.entry((v.id, real.address)).or_default().push(member);
        }
        let carried = |member: Member| {
            let (v, real) = new.member(member);
            let id = (v.id, real.address);
            let same_check =
                |m: &&Member| old.check_of(**m).map(|c| &c.key) == new.check_of(member).map(|c| &c.key);
            let candidates = before.get(&id).map_or(&[][..], Vec::as_slice);
            let unchanged = candidates.iter().find(same_check);
            let Some(old) = unchanged.or(candidates.first()).map(|member| self.server(*member)) else {
                return Server::fresh(in_service.contains(&id), now);
            };
            if new.is_leaving(member) {
                let limit = now + new.leaving_time(member.virtual_index);
                return Server { leaves_at: Some(old.leaves_at.unwrap_or(limit)), ..old.clone() };
            }
            // A server in maintenance keeps its verdict, whatever check it has. With another check, what the old one found
            // holds until the new one has spoken, but its failures do not count. One that had gone begins again.
            let had_gone = old.leaves_at.is_some() && !old.up;
            let forget = !old.maintenance && (unchanged.is_none() || had_gone);
            let (failures, verdict) = if forget { (0, None) } else { (old.failures, old.verdict.clone()) };
            let judged = old.judged && !forget;
            Server { leaves_at: None, failures, verdict, judged, ..old.clone() }
        };
        let servers = rows(new, carried);
        let predecessor = |member: &Member| {
            let (v, real) = new.member(*member);
            before.get(&(v.id, real.address))?.iter().find_map(|member| old.check_index(*member))
        };
        let origin = |check: usize| {
            let members = &new.checks()[check].members;
            Origin { predecessor: members.iter().find_map(predecessor), urgent: is_urgent(&servers, members) }
        };
        let schedule = self.schedule.replan(new, origin, now);
        let mut unchecked = self.unchecked.clone();
        unchecked.retain(|id| schedule.knows(id));
        Health { servers, schedule, unchecked, unchecked_is_down: self.unchecked_is_down }
    }

    /// What is known of one server.
    #[must_use]
    pub fn server(&self, member: Member) -> &Server {
        &self.servers[member.virtual_index][member.real_index]
    }

    /// Whether a server belongs into the table with its weight: it is up, and so are all lines that name the same destination.
    #[must_use]
    pub fn is_in(&self, plan: &Plan, member: Member) -> bool {
        self.server(member).up && plan.twins(member).iter().all(|twin| self.server(*twin).up)
    }

    /// Whether any server of a virtual is in: if not, its fallback is.
    #[must_use]
    pub fn any_in(&self, plan: &Plan, virtual_index: usize) -> bool {
        let reals = 0..self.servers[virtual_index].len();
        reals.into_iter().any(|real_index| self.is_in(plan, Member { virtual_index, real_index }))
    }

    /// Whether every check has given its first verdict.
    #[must_use]
    pub fn all_seen(&self) -> bool {
        self.schedule.all_seen()
    }

    /// When [`Health::due`] has something to say next; none while every check is in flight.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.poll_timeout()
    }

    /// Gives the checks that are due to `start`, one after the other, until it says that there is no place for one. Each that
    /// was taken is in flight from here on until its verdict is given; the others wait, and have no verdict by it.
    pub fn due(&mut self, plan: &Plan, now: Instant, start: impl FnMut(Due) -> bool) {
        let servers = &self.servers;
        self.schedule.due(|check| standing(servers, &plan.checks()[check].members), now, start);
    }

    /// Has every check run now whenever it is due: for a single look at all servers.
    pub fn hurry_all(&mut self, now: Instant) {
        self.schedule.hurry_all(now);
    }

    /// Checks that began more than one interval late, since the start of the daemon.
    #[must_use]
    pub fn late_checks(&self) -> u64 {
        self.schedule.late_checks()
    }

    /// Whether checks have fallen behind or caught up since this was asked last.
    pub fn punctuality(&mut self, now: Instant) -> Option<Punctuality> {
        self.schedule.punctuality(now)
    }

    /// The servers that wait for a check.
    #[must_use]
    pub fn members<'a>(&self, plan: &'a Plan, id: CheckId) -> &'a [Member] {
        self.schedule.position(id).map_or(&[], |index| &plan.checks()[index].members)
    }

    /// Takes servers out for maintenance, each with the reason that `wanted` gives, and has those that come back checked now. Gives the
    /// servers that come back, too.
    pub fn maintain(
        &mut self,
        plan: &Plan,
        wanted: impl Fn(SocketAddr) -> Option<String>,
        now: Instant,
    ) -> (Vec<Transition>, Vec<Member>) {
        let (mut transitions, mut back, mut returned) = (Vec::new(), Vec::new(), Vec::new());
        for member in plan.members() {
            let reason = wanted(plan.member(member).1.address);
            let server = &mut self.servers[member.virtual_index][member.real_index];
            match reason {
                Some(reason) if !server.maintenance => {
                    let verdict = Arc::new(Verdict::down(reason).with_monitor("Server in maintenance"));
                    server.take_out(&verdict, now);
                    transitions.push(Transition { member, event: Event::Down, verdict });
                }
                None if server.maintenance => {
                    server.maintenance = false;
                    (server.verdict, server.judged, server.judged_at) = (None, false, now);
                    returned.push(member);
                    if let Some(check) = plan.check_index(member).filter(|_| server.leaves_at.is_none()) {
                        back.push(check);
                    }
                }
                _ => {}
            }
        }
        self.schedule.hurry(back, now);
        (transitions, returned)
    }

    /// Whether a check is one of the plan's.
    #[must_use]
    pub fn knows(&self, id: CheckId) -> bool {
        self.schedule.knows(id)
    }

    /// Takes in the verdict of one check for every server that waits for it. A verdict of a check that is gone is no news.
    pub fn verdict(&mut self, plan: &Plan, id: CheckId, verdict: Verdict, now: Instant) -> Vec<Transition> {
        let verdict = self.schedule.judge(id, verdict);
        let Some(index) = self.schedule.finished(id, &verdict, now) else { return Vec::new() };
        let verdict = Arc::new(verdict);
        let mut transitions = Vec::new();
        let mut overdue = false;
        for member in &plan.checks()[index].members {
            let rules = Rules {
                failurecount: plan.member(*member).0.failurecount.max(1),
                unchecked_after: unchecked::limit(&plan.checks()[index].key),
                unchecked_is_down: self.unchecked_is_down,
            };
            let server = &mut self.servers[member.virtual_index][member.real_index];
            if let Some(event) = server.take(&verdict, &rules, now) {
                transitions.push(Transition { member: *member, event, verdict: Arc::clone(&verdict) });
            }
            overdue |= server.unchecked && !server.maintenance;
        }
        self.unchecked.note(id, &verdict, overdue, now);
        transitions
    }

    /// Whether a server counts as down when nothing is known of it any more; otherwise it stays what it was.
    pub fn set_unchecked_is_down(&mut self, unchecked_is_down: bool) {
        self.unchecked_is_down = unchecked_is_down;
    }

    /// Where times begin and end in which checks are not possible, to be told once.
    pub fn blindness(&mut self, plan: &Plan, now: Instant) -> Vec<Blindness> {
        self.unchecked.news(plan.checks().len(), self.schedule.all_seen(), now)
    }
}

/// How verdicts count for a server.
struct Rules {
    failurecount: u32,
    /// After so long without a definite verdict nothing is known.
    unchecked_after: Duration,
    unchecked_is_down: bool,
}

impl Server {
    fn fresh(up: bool, now: Instant) -> Server {
        Server {
            up,
            failures: 0,
            since: now,
            verdict: None,
            judged: false,
            judged_at: now,
            unchecked: false,
            maintenance: false,
            leaves_at: None,
        }
    }

    /// Whether it is out of rotation, and no check has spoken yet.
    fn is_new(&self) -> bool {
        !self.up && !self.maintenance && !self.has_gone() && self.verdict.is_none()
    }

    /// Whether it was leaving, and has gone.
    #[must_use]
    pub fn has_gone(&self) -> bool {
        self.leaves_at.is_some() && !self.up
    }

    fn take_out(&mut self, verdict: &Arc<Verdict>, now: Instant) {
        self.maintenance = true;
        self.failures = 0;
        self.verdict = Some(Arc::clone(verdict));
        if std::mem::replace(&mut self.up, false) {
            self.since = now;
        }
    }

    fn take(&mut self, verdict: &Arc<Verdict>, rules: &Rules, now: Instant) -> Option<Event> {
        if self.maintenance || self.has_gone() {
            return None;
        }
        let before = self.verdict.replace(Arc::clone(verdict));
        if verdict.is_unknown() {
            self.unchecked = now.saturating_duration_since(self.judged_at) >= rules.unchecked_after;
            if self.unchecked && rules.unchecked_is_down && self.up {
                (self.up, self.since) = (false, now);
                return Some(Event::Down);
            }
            return before.is_none_or(|v| !v.is_unknown()).then_some(Event::Unknown);
        }
        let is_first = !std::mem::replace(&mut self.judged, true);
        (self.judged_at, self.unchecked) = (now, false);
        match verdict.outcome {
            Outcome::Unknown(_) => None,
            Outcome::Up => {
                let soft = std::mem::take(&mut self.failures) > 0;
                if !self.up {
                    self.up = true;
                    self.since = now;
                    return Some(Event::Up);
                }
                soft.then_some(Event::SoftFailureOver)
            }
            Outcome::Down => {
                self.failures = self.failures.saturating_add(1);
                if !self.up {
                    // The first definite verdict is news, also when nothing changes by it: it says why the server is not in.
                    return is_first.then_some(Event::Down);
                }
                if self.failures < rules.failurecount {
                    return Some(Event::SoftFailure { failures: self.failures });
                }
                self.up = false;
                self.since = now;
                Some(Event::Down)
            }
        }
    }
}

/// A server that is not in rotation and of which nothing is known must not wait for its check to come round.
fn is_urgent(servers: &[Vec<Server>], members: &[Member]) -> bool {
    members.iter().map(|m| &servers[m.virtual_index][m.real_index]).any(Server::is_new)
}

fn standing(servers: &[Vec<Server>], members: &[Member]) -> Standing {
    let waiting = || members.iter().map(|m| &servers[m.virtual_index][m.real_index]);
    if waiting().any(|server| server.up) {
        Standing::InRotation
    } else if waiting().any(Server::is_new) {
        Standing::Unseen
    } else if waiting().any(|server| !server.maintenance && !server.has_gone()) {
        Standing::Out
    } else {
        Standing::Idle
    }
}

fn rows(plan: &Plan, make: impl Fn(Member) -> Server) -> Vec<Vec<Server>> {
    let row = |(virtual_index, v): (usize, &Virtual)| {
        (0..v.reals.len()).map(|real_index| make(Member { virtual_index, real_index })).collect()
    };
    plan.virtuals().iter().enumerate().map(row).collect()
}
