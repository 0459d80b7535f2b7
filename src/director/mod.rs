//! The core that decides. Inputs are verdicts, configurations and *now*; outputs are events and requests to the
//! kernel. No I/O, no clock.
//!
//! ```text
//! verdicts · maintenance · reload · stop · tick ─▶ Director ─▶ take_events
//!                                   kernel ─ done ─▶    └────▶ next_step ─▶ kernel
//! ```
//!
//! The table is reconciled, never edited: the difference between the wanted and the present table gives the operations.

mod pending;
mod preview;
mod reconciler;
mod refusals;
mod reload;
mod rotation;
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
use crate::event::{Event, EventKind};
use crate::health::{self, CheckId, Due, Health, Transition};
use crate::spec::{Probe, ServerRef, Spec};
use crate::value::{Change, Outcome, Verdict};
use pending::Pending;
use reconciler::Reconciler;
use reload::Reload;
pub use reload::Replaced;
use rotation::Rotation;
pub use steer::{MOST_OVERRIDES, Objection};
use step::StepOutcome;
pub use step::{Done, Step};

/// The state of a running daemon.
#[derive(Clone)]
pub struct Director {
    spec: Spec,
    /// The spec without the servers that are leaving, while there are some.
    settled: Option<Spec>,
    health: Health,
    reconciler: Reconciler,
    reload: Option<Reload>,
    stopping: Option<Stopping>,
    events: Vec<Event>,
    /// Virtual services with a change of a server, for operator commands.
    touched: BTreeSet<usize>,
    /// Virtual services with any change, for readers.
    changed: BTreeSet<usize>,
    /// Virtual services in which a server may have gone in or out of rotation.
    rotated: BTreeSet<usize>,
    /// Transitions of servers that the table does not show yet.
    pending: Pending,
    /// The reported warnings of checks. A warning is reported again when its text changes.
    warned: BTreeMap<CheckId, String>,
    overrides_changed: bool,
    rotation: Rotation,
    replaced: Option<Replaced>,
}

/// A stop that has begun.
#[derive(Clone)]
struct Stopping {
    /// The servers that are removed with their services, as far as the daemon knows.
    known: Table,
    /// Whether the table was read since then, so that removals by other programs are known.
    is_read: bool,
}

impl Director {
    /// Takes the table over and adopts the servers that the kernel has in rotation. `present` has the services of
    /// the spec and
    /// `previously_owned`, the services that an earlier run of this daemon left.
    #[must_use]
    pub fn new(
        spec: Spec,
        present: Table,
        previously_owned: &BTreeSet<ServiceKey>,
        verify_interval: Option<Duration>,
        now: Instant,
    ) -> Director {
        let mut owned = configured(&spec);
        owned.extend(previously_owned.iter().filter(|key| present.services.contains_key(key)));
        Director {
            settled: None,
            health: Health::new(&spec, &desired::in_service(&spec, &present), now),
            reconciler: Reconciler::new(present, owned, verify_interval, now),
            reload: None,
            stopping: None,
            events: Vec::new(),
            touched: (0..spec.virtuals().len()).collect(),
            changed: (0..spec.virtuals().len()).collect(),
            rotated: (0..spec.virtuals().len()).collect(),
            pending: Pending::default(),
            warned: BTreeMap::new(),
            overrides_changed: false,
            rotation: Rotation::default(),
            replaced: None,
            spec,
        }
    }

    /// The services to read before a start.
    #[must_use]
    pub fn to_read(spec: &Spec, previously_owned: &BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        configured(spec).union(previously_owned).copied().collect()
    }

    /// Sets whether a server counts as down after its checks were not possible for a long time. Otherwise it keeps
    /// its state.
    pub fn set_unchecked_is_down(&mut self, unchecked_is_down: bool) {
        self.health.set_unchecked_is_down(unchecked_is_down);
    }

    /// The spec in force.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The state of the servers.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Our part of the kernel's table, as last read and changed.
    #[must_use]
    pub fn table(&self) -> &Table {
        self.reconciler.present()
    }

    /// The owned services: those of the spec, and those of earlier specs until they are removed.
    #[must_use]
    pub fn owned(&self) -> &BTreeSet<ServiceKey> {
        self.reconciler.owned()
    }

    /// Whether the set of owned services changed since the last call.
    pub fn take_owned_changed(&mut self) -> bool {
        self.reconciler.take_owned_changed()
    }

    /// The services that are removed when the daemon stops.
    #[must_use]
    pub fn cleaned_at_stop(&self) -> BTreeSet<ServiceKey> {
        cleaned(&self.spec)
    }

    /// The owned services that stay in the table when the daemon stops.
    #[must_use]
    pub fn kept_at_stop(&self) -> BTreeSet<ServiceKey> {
        configured(&self.spec).difference(&cleaned(&self.spec)).copied().collect()
    }

    /// The events since the last call. They name servers by index in the spec: take them before the next call that
    /// changes the spec, [`Director::due`] or [`Director::done`].
    #[must_use]
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The virtual services, by index in the spec, with a change of a server since the last call. Services whose
    /// table is not reconciled yet are returned by a later call.
    #[must_use]
    pub fn take_touched(&mut self) -> BTreeSet<usize> {
        let virtuals = self.spec.virtuals();
        let is_busy = |index: &usize| self.reconciler.is_busy(desired::service_key(virtuals[*index].id));
        let (busy, settled) = std::mem::take(&mut self.touched).into_iter().partition(is_busy);
        self.touched = busy;
        settled
    }

    /// The virtual services, by index in the spec, with any change since the last call: of a check, a state, or the
    /// table.
    #[must_use]
    pub fn take_changed(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.changed)
    }

    /// The virtual services, by index in the spec, in which a server may have gone in or out of rotation since the last
    /// call, in our state or in the table.
    #[must_use]
    pub fn take_rotated(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.rotated)
    }

    /// When to call [`Director::due`] or [`Director::tick`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = [
            self.health.poll_timeout(),
            self.reconciler.poll_timeout(),
            self.health.leaves_at(&self.spec),
            self.health.overrides_end_at(),
        ];
        times.into_iter().flatten().min()
    }

    /// Whether the table is reconciled, as far as the kernel allows, and no configuration waits to be applied.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.reload.is_none() && self.reconciler.is_at_rest()
    }

    /// Whether the table has been reconciled since the configuration was applied. No check starts before that: its
    /// result would be reported before the server was added.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.reconciler.is_set_up()
    }

    /// Whether a configuration waits to be applied.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.reload.is_some()
    }

    /// Passes the due checks to `start` until it returns false. Reports checks that begin late.
    pub fn due(&mut self, now: Instant, start: impl FnMut(Due) -> bool) {
        self.forget_left(now);
        let passed = self.health.due(&self.spec, now, start);
        passed.into_iter().for_each(|id| self.monitor(id, None));
        self.events.extend(self.health.punctuality(now).map(EventKind::Punctuality).map(Event::of_director));
    }

    /// Makes every check due now.
    #[cfg(test)]
    pub fn hurry_all(&mut self, now: Instant) {
        self.health.hurry_all(now);
    }

    /// Whether the spec has a check.
    #[must_use]
    pub fn knows(&self, id: CheckId) -> bool {
        self.health.knows(id)
    }

    /// The probe of a check. `None` if the spec does not have the check.
    #[must_use]
    pub fn probe(&self, id: CheckId) -> Option<&Probe> {
        let member = self.health.members(&self.spec, id).first()?;
        self.spec.check_of(*member).map(|check| &*check.key.probe)
    }

    /// Processes the results of checks.
    pub fn verdicts(&mut self, verdicts: Vec<(CheckId, Verdict)>, now: Instant) {
        for (id, verdict) in verdicts {
            self.monitor(id, Some(&verdict));
            self.warn(id, &verdict);
            self.changed
                .extend(self.health.members(&self.spec, id).iter().map(|member| member.virtual_index));
            let transitions = self.health.verdict(&self.spec, id, verdict, now);
            self.take_transitions(transitions);
        }
        let blindness = self.health.blindness(&self.spec, now);
        self.events.extend(blindness.into_iter().map(EventKind::Blindness).map(Event::of_director));
        self.release_leaving(now);
    }

    /// Releases services, which stay in the table as they are: another daemon owns them from now on.
    pub fn leave(&mut self, services: &BTreeSet<ServiceKey>) {
        self.reconciler.leave(services);
    }

    /// Takes ownership of services of an earlier run. Those that the spec does not have are removed.
    pub fn adopt(&mut self, services: BTreeSet<ServiceKey>) {
        self.reconciler.adopt(services);
    }

    /// Applies a new spec as a whole once the table has been read. Servers that stay keep their state; services
    /// that are not in the new spec are removed. If a service would have no server in rotation, its old servers
    /// stay until a new one is up.
    pub fn reload(&mut self, spec: Spec) {
        self.reconciler.must_read(configured(&spec));
        self.reload = Some(Reload { spec, is_reading: false });
    }

    /// Processes timers: verifies the table, ends expired overrides, and removes leaving servers whose time has passed.
    pub fn tick(&mut self, now: Instant) {
        self.reconciler.tick(now);
        self.expire_overrides(now);
        self.release_leaving(now);
    }

    /// Begins the stop: removes all services except those with `cleanstop=no`. [`Director::finish_stop`] returns
    /// the events.
    pub fn stop(&mut self) {
        self.reload = None;
        self.stopping = Some(Stopping { known: self.table().clone(), is_read: false });
        self.reconciler.stop(cleaned(&self.spec));
    }

    /// Ends the stop, once the director is at rest, and returns the events. Only services that could not be removed
    /// are owned afterwards.
    pub fn finish_stop(&mut self) -> Vec<Event> {
        let stays = self.kept_at_stop();
        self.reconciler.forget_all_but_left(&stays);
        let known = self.stopping.take().map(|stopping| stopping.known).unwrap_or_default();
        // Removing a service removes its servers. Each is reported, because the original removes them one by one.
        let servers = |event: &Event| match event.kind {
            EventKind::Table { change: Change::VirtualPurged(of, _), .. } => {
                desired::purged(&self.spec, &known, desired::service_key(of))
            }
            _ => Vec::new(),
        };
        let mut events: Vec<Event> = self.events.iter().flat_map(servers).map(Event::of_table).collect();
        events.append(&mut self.events);
        events
    }

    /// The next request to the kernel. There is no further request until [`Director::done`] gets the result.
    pub fn next_step(&mut self) -> Step {
        let mut settled = BTreeSet::new();
        let step = self.reconciler.next_step(&self.spec, &self.health, &mut settled);
        if let (Step::Read(_), Some(reload)) = (&step, &mut self.reload) {
            reload.is_reading = true;
        }
        self.report(StepOutcome { settled, ..StepOutcome::default() });
        step
    }

    /// Processes the result of the request in progress.
    pub fn done(&mut self, done: Done, now: Instant) {
        if let (Some(stopping), Done::Read(Ok(found))) = (&mut self.stopping, &done)
            && !std::mem::replace(&mut stopping.is_read, true)
        {
            retain_found(&mut stopping.known, found);
        }
        let is_read = matches!(done, Done::Read(_));
        let progress = self.reconciler.done(&self.spec, done, now);
        let index = |key: &ServiceKey| self.spec.virtual_index(desired::virtual_id(*key));
        let touched: BTreeSet<usize> = progress.touched.iter().filter_map(index).collect();
        self.changed.extend(&touched);
        self.rotated.extend(touched);
        self.report(progress);
        if let Some(reload) = self.reload.take_if(|reload| is_read && reload.is_reading) {
            self.switch_to(reload.spec, now);
        }
    }

    fn take_transitions(&mut self, transitions: Vec<Transition>) {
        for transition in transitions {
            let Transition { member, event } = transition;
            let ((v, real), server) = (self.spec.member(member), self.health.server(member));
            let changes_table = !matches!(
                event,
                health::HealthEvent::SoftFailure { .. }
                    | health::HealthEvent::SoftFailureOver
                    | health::HealthEvent::Unknown(_)
            );
            self.pending.add(v.id, real.address, &event);
            let kind = match event {
                health::HealthEvent::Up(verdict) => EventKind::Up { verdict },
                health::HealthEvent::Down(verdict) => EventKind::Down { verdict },
                health::HealthEvent::SoftFailure { failures, verdict } => {
                    EventKind::SoftFailure { failures, of: v.failurecount, verdict }
                }
                health::HealthEvent::SoftFailureOver => EventKind::SoftFailureOver,
                health::HealthEvent::Unknown(verdict) => EventKind::Unknown { verdict },
                health::HealthEvent::Overridden(decision) => {
                    let in_maintenance = server.is_in_maintenance();
                    EventKind::Overridden { decision, in_maintenance }
                }
                health::HealthEvent::OverrideEnded { decision, ending } => {
                    let state = Some(server.standing()).filter(|_| !server.is_in_maintenance());
                    EventKind::OverrideEnded { decision, ending, state }
                }
            };
            self.events.push(Event::of_server(v.id, real.address, kind));
            self.rotation.touch(member.virtual_index);
            self.touched.insert(member.virtual_index);
            self.changed.insert(member.virtual_index);
            self.rotated.insert(member.virtual_index);
            if changes_table {
                self.mark(member.virtual_index);
            }
        }
    }

    fn mark(&mut self, virtual_index: usize) {
        self.touched.insert(virtual_index);
        self.changed.insert(virtual_index);
        self.rotated.insert(virtual_index);
        self.reconciler.mark(desired::service_key(self.spec.virtuals()[virtual_index].id));
    }

    /// Publishes the events of a step, and reports servers that are down without a change of the table.
    fn report(&mut self, progress: StepOutcome) {
        let mut events = progress.events;
        events.iter_mut().for_each(|event| self.pending.explain(event));
        self.events.append(&mut events);
        for key in progress.settled {
            let of = desired::virtual_id(key);
            let event = |server| Event::of_server(of, server, EventKind::DownWithoutChange);
            self.events.extend(self.pending.settle(key).into_iter().map(event));
        }
    }

    /// Reports the warning of a check, unless the same text was reported before. A success without a warning resets
    /// that.
    fn warn(&mut self, id: CheckId, verdict: &Verdict) {
        let Some(member) = self.health.members(&self.spec, id).first().copied() else { return };
        match &verdict.warning {
            Some(warning) if self.warned.get(&id) != Some(warning) => {
                self.warned.insert(id, warning.clone());
                self.events.push(
                    self.server_event(member, EventKind::Warning { verdict: Arc::new(verdict.clone()) }),
                );
            }
            None if verdict.outcome == Outcome::Up => {
                self.warned.remove(&id);
            }
            _ => {}
        }
    }

    /// Reports the result of a check, or that it was skipped, for services with a monitor file.
    fn monitor(&mut self, id: CheckId, verdict: Option<&Verdict>) {
        let members = self.health.members(&self.spec, id).iter().copied();
        let members: Vec<ServerRef> =
            members.filter(|m| self.spec.member(*m).0.notes.monitorfile.is_some()).collect();
        if members.is_empty() {
            return;
        }
        let verdict = verdict.map(|verdict| Arc::new(verdict.clone()));
        for member in members {
            self.events
                .push(self.server_event(member, EventKind::Checked { member, verdict: verdict.clone() }));
        }
    }

    fn server_event(&self, member: ServerRef, kind: EventKind) -> Event {
        let (v, real) = self.spec.member(member);
        Event::of_server(v.id, real.address, kind)
    }
}

/// Drops the destinations that other programs removed before the stop: their removal is not reported.
fn retain_found(known: &mut Table, found: &Table) {
    for (key, service) in &mut known.services {
        let left = found.services.get(key);
        service.destinations.retain(|key, _| left.is_some_and(|left| left.destinations.contains_key(key)));
    }
}

/// The services that are removed when the daemon stops.
fn cleaned(spec: &Spec) -> BTreeSet<ServiceKey> {
    spec.virtuals().iter().filter(|v| v.cleanstop).map(|v| desired::service_key(v.id)).collect()
}

fn configured(spec: &Spec) -> BTreeSet<ServiceKey> {
    spec.virtuals().iter().map(|v| desired::service_key(v.id)).collect()
}
