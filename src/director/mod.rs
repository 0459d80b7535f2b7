//! Decides: verdicts, configurations and *now* come in; events and requests to the kernel come out. No I/O, no clock.
//!
//! ```text
//! verdicts · maintenance · reload · stop · tick ─▶ Director ─▶ take_events
//!                                   kernel ─ done ─▶    └────▶ next_step ─▶ kernel
//! ```
//!
//! The table is reconciled, never edited: the difference of the wanted and the present table gives the operations.

mod pending;
mod preview;
mod reconciler;
mod refusals;
mod steer;
mod step;
#[cfg(test)]
mod tests;
mod timeouts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipvs_rs::{ServiceKey, Table};

use crate::desired;
use crate::event::{Event, Kind};
use crate::health::{self, CheckId, Due, Health, Transition};
use crate::plan::{Member, Plan};
use crate::value::{Change, Outcome, Verdict};
use pending::Pending;
use reconciler::{Progress, Reconciler};
pub use steer::{MOST_OVERRIDES, Objection};
pub use step::{Done, Step};

/// The state of a running daemon.
#[derive(Clone)]
pub struct Director {
    plan: Plan,
    /// The plan without the servers that are leaving, while there are some.
    settled: Option<Plan>,
    health: Health,
    reconciler: Reconciler,
    reload: Option<Reload>,
    stopping: Option<Stopping>,
    events: Vec<Event>,
    /// Virtual services with a change of a server, for operator commands.
    touched: BTreeSet<usize>,
    /// Virtual services of which something is another now, for readers.
    changed: BTreeSet<usize>,
    /// What happened to servers while their service is not settled yet.
    pending: Pending,
    /// What checks warn of and was reported. The words of a warning change when it is time to report it again.
    warned: BTreeMap<CheckId, String>,
    overrides_changed: bool,
}

/// A configuration that waits for the table to be read.
#[derive(Clone)]
struct Reload {
    plan: Plan,
    is_reading: bool,
}

/// A stop that has begun.
#[derive(Clone)]
struct Stopping {
    /// The servers that go with their services, as far as the daemon knows.
    known: Table,
    /// Whether the table was read since, so that it is known what other programs removed.
    is_read: bool,
}

impl Director {
    /// Takes the table over: adopts what the kernel has in rotation, and wants the rest. `present` has the services of the plan and
    /// `previously_owned`, the services that an earlier run of this daemon left.
    #[must_use]
    pub fn new(
        plan: Plan,
        present: Table,
        previously_owned: &BTreeSet<ServiceKey>,
        verify_interval: Option<Duration>,
        now: Instant,
    ) -> Director {
        let mut owned = planned(&plan);
        owned.extend(previously_owned.iter().filter(|key| present.services.contains_key(key)));
        Director {
            settled: None,
            health: Health::new(&plan, &desired::in_service(&plan, &present), now),
            reconciler: Reconciler::new(present, owned, verify_interval, now),
            reload: None,
            stopping: None,
            events: Vec::new(),
            touched: (0..plan.virtuals().len()).collect(),
            changed: (0..plan.virtuals().len()).collect(),
            pending: Pending::default(),
            warned: BTreeMap::new(),
            overrides_changed: false,
            plan,
        }
    }

    /// The services to read before a start.
    #[must_use]
    pub fn to_read(plan: &Plan, previously_owned: &BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        planned(plan).union(previously_owned).copied().collect()
    }

    /// Whether a server counts as down when no check could be carried out for long. It stays in rotation otherwise.
    pub fn set_unchecked_is_down(&mut self, unchecked_is_down: bool) {
        self.health.set_unchecked_is_down(unchecked_is_down);
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is known of the servers.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Our part of the kernel's table as far as it is known.
    #[must_use]
    pub fn table(&self) -> &Table {
        self.reconciler.present()
    }

    /// The services that are ours: those of the plan, and those of earlier plans until they are gone.
    #[must_use]
    pub fn owned(&self) -> &BTreeSet<ServiceKey> {
        self.reconciler.owned()
    }

    /// Whether the set of owned services changed since the last call.
    pub fn take_owned_changed(&mut self) -> bool {
        self.reconciler.take_owned_changed()
    }

    /// The owned services that stay in the table when the daemon stops.
    #[must_use]
    pub fn kept_at_stop(&self) -> BTreeSet<ServiceKey> {
        planned(&self.plan).difference(&cleaned(&self.plan)).copied().collect()
    }

    /// What happened since the last call. Events name servers by their place in the plan that was in force then: take them before the
    /// next call that changes the plan, [`Director::due`] or [`Director::done`].
    #[must_use]
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The virtual services with a change of a server since the last call whose table is as it should be, by their place in the plan.
    /// The others are given later.
    #[must_use]
    pub fn take_touched(&mut self) -> BTreeSet<usize> {
        let virtuals = self.plan.virtuals();
        let is_busy = |index: &usize| self.reconciler.is_busy(desired::service_key(virtuals[*index].id));
        let (busy, settled) = std::mem::take(&mut self.touched).into_iter().partition(is_busy);
        self.touched = busy;
        settled
    }

    /// The virtual services of which something is another since the last call, by their place in the plan: a check, a state, or the
    /// table.
    #[must_use]
    pub fn take_changed(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.changed)
    }

    /// When [`Director::due`] or [`Director::tick`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = [
            self.health.poll_timeout(),
            self.reconciler.poll_timeout(),
            self.health.leaves_at(&self.plan),
            self.health.overrides_end_at(),
        ];
        times.into_iter().flatten().min()
    }

    /// Whether the table is as it should be, as far as the kernel lets it, and no configuration waits to be applied.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.reload.is_none() && self.reconciler.is_at_rest()
    }

    /// Whether the table was as the configuration says since that was applied. Before that no check is started: its result would be
    /// reported before the server was added.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.reconciler.is_set_up()
    }

    /// Whether a configuration waits to be applied.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.reload.is_some()
    }

    /// Gives the checks to start now to `start`, until it has no place for one. Reports checks that fall behind.
    pub fn due(&mut self, now: Instant, start: impl FnMut(Due) -> bool) {
        self.forget_left(now);
        let passed = self.health.due(&self.plan, now, start);
        passed.into_iter().for_each(|id| self.monitor(id, None));
        self.events.extend(self.health.punctuality(now).map(Kind::Punctuality).map(Event::of_director));
    }

    /// Has every check run now.
    #[cfg(test)]
    pub fn hurry_all(&mut self, now: Instant) {
        self.health.hurry_all(now);
    }

    /// Whether a check is one of the plan's.
    #[must_use]
    pub fn knows(&self, id: CheckId) -> bool {
        self.health.knows(id)
    }

    /// Takes in the results of checks.
    pub fn verdicts(&mut self, verdicts: Vec<(CheckId, Verdict)>, now: Instant) {
        for (id, verdict) in verdicts {
            self.monitor(id, Some(&verdict));
            self.warn(id, &verdict);
            self.changed
                .extend(self.health.members(&self.plan, id).iter().map(|member| member.virtual_index));
            let transitions = self.health.verdict(&self.plan, id, verdict, now);
            self.take_transitions(transitions);
        }
        let blindness = self.health.blindness(&self.plan, now);
        self.events.extend(blindness.into_iter().map(Kind::Blindness).map(Event::of_director));
        self.release_leaving(now);
    }

    /// Gives services up that stay in the table as they are: they are another daemon's from now on.
    pub fn leave(&mut self, services: &BTreeSet<ServiceKey>) {
        self.reconciler.leave(services);
    }

    /// Services of an earlier run are ours from now on; those that the plan does not have are removed.
    pub fn adopt(&mut self, services: BTreeSet<ServiceKey>) {
        self.reconciler.adopt(services);
    }

    /// Applies another plan as a whole once the table has been read: servers that stay keep their state, services that go are
    /// removed. Where a service would be left without a server in rotation, those that go stay until another one is up.
    pub fn reload(&mut self, plan: Plan) {
        self.reconciler.must_read(planned(&plan));
        self.reload = Some(Reload { plan, is_reading: false });
    }

    /// Reads the table again if it is time to, and ends what has an end: the time of servers that are leaving, and of what operators
    /// decided.
    pub fn tick(&mut self, now: Instant) {
        self.reconciler.tick(now);
        self.expire_overrides(now);
        self.release_leaving(now);
    }

    /// Begins the stop: removes the services whose `cleanstop` says so. The events are those of [`Director::finish_stop`].
    pub fn stop(&mut self) {
        self.reload = None;
        self.stopping = Some(Stopping { known: self.table().clone(), is_read: false });
        self.reconciler.stop(cleaned(&self.plan));
    }

    /// What the stop did, once it is at rest. What could not be removed is ours afterwards, and nothing else is.
    pub fn finish_stop(&mut self) -> Vec<Event> {
        let stays = self.kept_at_stop();
        self.reconciler.forget_all_but_left(&stays);
        let known = self.stopping.take().map(|stopping| stopping.known).unwrap_or_default();
        // With a service its servers go; each is reported, as the original removes them one by one.
        let servers = |event: &Event| match event.kind {
            Kind::Table { change: Change::VirtualPurged(of, _), .. } => {
                desired::purged(&self.plan, &known, desired::service_key(of))
            }
            _ => Vec::new(),
        };
        let mut events: Vec<Event> = self.events.iter().flat_map(servers).map(Event::of_table).collect();
        events.append(&mut self.events);
        events
    }

    /// The next request to the kernel. [`Director::done`] takes its end; until then there is no other one.
    pub fn next_step(&mut self) -> Step {
        let mut settled = BTreeSet::new();
        let step = self.reconciler.next_step(&self.plan, &self.health, &mut settled);
        if let (Step::Read(_), Some(reload)) = (&step, &mut self.reload) {
            reload.is_reading = true;
        }
        self.report(Progress { settled, ..Progress::default() });
        step
    }

    /// Takes the end of the request in.
    pub fn done(&mut self, done: Done, now: Instant) {
        if let (Some(stopping), Done::Read(Ok(found))) = (&mut self.stopping, &done)
            && !std::mem::replace(&mut stopping.is_read, true)
        {
            retain_found(&mut stopping.known, found);
        }
        let is_read = matches!(done, Done::Read(_));
        let progress = self.reconciler.done(&self.plan, done, now);
        let index = |key: &ServiceKey| self.plan.virtual_index(desired::virtual_id(*key));
        self.changed.extend(progress.touched.iter().filter_map(index));
        self.report(progress);
        if let Some(reload) = self.reload.take_if(|reload| is_read && reload.is_reading) {
            self.replan(reload.plan, now);
        }
    }

    /// Takes the servers of another daemon, whose services the plan has from now on, for those of an earlier configuration.
    fn take_over(&mut self, plan: &Plan, now: Instant) {
        let services = desired::taken_over(&self.plan, plan, self.table());
        if services.is_empty() {
            return;
        }
        let before = self.plan.with_services(services);
        let in_service = desired::in_service(&before, self.table());
        self.health = self.health.replan(&self.plan, &before, &in_service, now);
        self.plan = before;
    }

    fn replan(&mut self, plan: Plan, now: Instant) {
        let overrides = self.overrides();
        self.take_over(&plan, now);
        let in_service = desired::in_service(&plan, self.table());
        let health = self.health.replan(&self.plan, &plan, &in_service, now);
        let kept = self.health.to_keep(&self.plan, &plan, &health);
        if kept.is_empty() {
            (self.plan, self.settled, self.health) = (plan, None, health);
        } else {
            let with_leaving = plan.with_leaving(&self.plan, &kept);
            self.health = self.health.replan(&self.plan, &with_leaving, &in_service, now);
            (self.plan, self.settled) = (with_leaving, Some(plan));
        }
        self.overrides_changed = true;
        self.warned.retain(|id, _| self.health.knows(*id));
        self.pending.retain(|key| self.plan.virtual_index(desired::virtual_id(key)).is_some());
        self.touched = (0..self.plan.virtuals().len()).collect();
        self.changed.clone_from(&self.touched);
        self.reconciler.replan(&planned(&self.plan));
        self.report_removed(overrides);
        self.events.push(Event::of_director(Kind::Reloaded));
        for member in self.plan.leaving().clone() {
            let at_most = self.plan.leaving_time(member.virtual_index);
            self.events.push(self.server_event(member, Kind::Leaving { at_most }));
        }
        self.release_leaving(now);
    }

    /// Forgets the servers that were leaving when all have gone. Not before what happened to them was reported: their places in the
    /// plan go with them.
    fn forget_left(&mut self, now: Instant) {
        if self.health.leaves_at(&self.plan).is_some() || !self.reconciler.is_at_rest() {
            return;
        }
        if let Some(plan) = self.settled.take() {
            self.changed = (0..plan.virtuals().len()).collect();
            self.health = self.health.replan(&self.plan, &plan, &BTreeSet::new(), now);
            self.plan = plan;
        }
    }

    /// Lets go of leaving servers that are replaced, or whose time is over.
    fn release_leaving(&mut self, now: Instant) {
        for member in self.health.let_go(&self.plan, now) {
            self.mark(member.virtual_index);
        }
    }

    fn take_transitions(&mut self, transitions: Vec<Transition>) {
        for transition in transitions {
            let Transition { member, event } = transition;
            let ((v, real), server) = (self.plan.member(member), self.health.server(member));
            let changes_table = !matches!(
                event,
                health::Event::SoftFailure { .. }
                    | health::Event::SoftFailureOver
                    | health::Event::Unknown(_)
            );
            self.pending.add(v.id, real.address, &event);
            let kind = match event {
                health::Event::Up(verdict) => Kind::Up { verdict },
                health::Event::Down(verdict) => Kind::Down { verdict },
                health::Event::SoftFailure { failures, verdict } => {
                    Kind::SoftFailure { failures, of: v.failurecount, verdict }
                }
                health::Event::SoftFailureOver => Kind::SoftFailureOver,
                health::Event::Unknown(verdict) => Kind::Unknown { verdict },
                health::Event::Overridden(decision) => {
                    let in_maintenance = server.is_in_maintenance();
                    Kind::Overridden { decision, in_maintenance }
                }
                health::Event::OverrideEnded { decision, ending } => {
                    let state = Some(server.standing()).filter(|_| !server.is_in_maintenance());
                    Kind::OverrideEnded { decision, ending, state }
                }
            };
            self.events.push(Event::of_server(v.id, real.address, kind));
            self.touched.insert(member.virtual_index);
            self.changed.insert(member.virtual_index);
            if changes_table {
                self.mark(member.virtual_index);
            }
        }
    }

    fn mark(&mut self, virtual_index: usize) {
        self.touched.insert(virtual_index);
        self.changed.insert(virtual_index);
        self.reconciler.mark(desired::service_key(self.plan.virtuals()[virtual_index].id));
    }

    /// Reports what a step did, and the servers that are down where no change of the table shows it.
    fn report(&mut self, progress: Progress) {
        let mut events = progress.events;
        events.iter_mut().for_each(|event| self.pending.explain(event));
        self.events.append(&mut events);
        for key in progress.settled {
            let of = desired::virtual_id(key);
            let event = |server| Event::of_server(of, server, Kind::DownWithoutChange);
            self.events.extend(self.pending.settle(key).into_iter().map(event));
        }
    }

    /// Reports what a check warns of, unless it was reported in the same words before. A check that ends without a warning ends the
    /// matter.
    fn warn(&mut self, id: CheckId, verdict: &Verdict) {
        let Some(member) = self.health.members(&self.plan, id).first().copied() else { return };
        match &verdict.warning {
            Some(warning) if self.warned.get(&id) != Some(warning) => {
                self.warned.insert(id, warning.clone());
                self.events
                    .push(self.server_event(member, Kind::Warning { verdict: Arc::new(verdict.clone()) }));
            }
            None if verdict.outcome == Outcome::Up => {
                self.warned.remove(&id);
            }
            _ => {}
        }
    }

    /// Reports the end of a check, or that it was not run, for services with a monitor file.
    fn monitor(&mut self, id: CheckId, verdict: Option<&Verdict>) {
        let members = self.health.members(&self.plan, id).iter().copied();
        let members: Vec<Member> =
            members.filter(|m| self.plan.member(*m).0.notes.monitorfile.is_some()).collect();
        if members.is_empty() {
            return;
        }
        let verdict = verdict.map(|verdict| Arc::new(verdict.clone()));
        for member in members {
            self.events.push(self.server_event(member, Kind::Checked { member, verdict: verdict.clone() }));
        }
    }

    fn server_event(&self, member: Member, kind: Kind) -> Event {
        let (v, real) = self.plan.member(member);
        Event::of_server(v.id, real.address, kind)
    }
}

/// What another program changed is not repaired any more at the stop, and what it removed is not ours to report.
fn retain_found(known: &mut Table, found: &Table) {
    for (key, service) in &mut known.services {
        let left = found.services.get(key);
        service.destinations.retain(|key, _| left.is_some_and(|left| left.destinations.contains_key(key)));
    }
}

/// The services that go when the daemon stops.
fn cleaned(plan: &Plan) -> BTreeSet<ServiceKey> {
    plan.virtuals().iter().filter(|v| v.cleanstop).map(|v| desired::service_key(v.id)).collect()
}

fn planned(plan: &Plan) -> BTreeSet<ServiceKey> {
    plan.virtuals().iter().map(|v| desired::service_key(v.id)).collect()
}
