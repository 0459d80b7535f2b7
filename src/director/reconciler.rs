//! Reconciles the kernel's table: decides which services to read and which operations to request, and processes the
//! kernel's answers. The cost of a change depends on the services that it touches.
//!
//! One policy applies to all refused operations, at the start, in a reload, in service and at the stop: the service
//! is read again and the operation is requested once more. A second refusal is reported and retried later, or
//! abandoned when the daemon stops.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipvs_rs::{
    DestinationConfig, DestinationKey, Error, Operation, Service, ServiceKey, Table, diff_service,
};

use super::refusals::{Refusal, Refusals};
use super::step::{Done, Step, StepOutcome};
use super::timeouts::TimeoutsState;
use crate::desired;
use crate::event::{Event, EventKind, Fate, KernelRequest};
use crate::health::Health;
use crate::spec::Spec;
use crate::value::{Change, Occasion};

/// Number of operations of a step. The operations of a service are never divided between steps.
const STEP: usize = 1000;

/// Our part of the kernel's table, and the pending work.
#[derive(Clone)]
pub(super) struct Reconciler {
    /// The owned services as last read from the kernel, with the operations since then.
    present: Table,
    /// The services of the spec, and those of earlier specs until they are removed.
    owned: BTreeSet<ServiceKey>,
    owned_changed: bool,
    /// Destinations that another program removed. With `readdquiescent=no` they are not added again for a weight of 0.
    removed_externally: BTreeMap<ServiceKey, BTreeSet<DestinationKey>>,
    /// Services that become owned once they are read.
    adopted: BTreeSet<ServiceKey>,
    /// Services whose wanted state may differ from the present one.
    dirty: BTreeSet<ServiceKey>,
    /// Services to read before anything is written.
    unread: BTreeSet<ServiceKey>,
    /// Whether a reload waits for a read, even if there is no service to read.
    is_read_due: bool,
    under_way: Option<Step>,
    /// The services of the operations in progress.
    applying: BTreeSet<ServiceKey>,
    refusals: Refusals,
    is_unreadable: bool,
    timeouts: TimeoutsState,
    /// Whether the table has been reconciled since the start, or since a configuration was applied.
    is_set_up: bool,
    verify_interval: Option<Duration>,
    verify_at: Option<Instant>,
    /// The services to remove. `None` until the daemon stops.
    stopping: Option<BTreeSet<ServiceKey>>,
}

impl Reconciler {
    /// Starts with `present`, our part of the table as read.
    pub(super) fn new(
        present: Table,
        owned: BTreeSet<ServiceKey>,
        verify_interval: Option<Duration>,
        now: Instant,
    ) -> Reconciler {
        Reconciler {
            dirty: owned.clone(),
            present,
            owned,
            owned_changed: true,
            removed_externally: BTreeMap::new(),
            adopted: BTreeSet::new(),
            unread: BTreeSet::new(),
            is_read_due: false,
            under_way: None,
            applying: BTreeSet::new(),
            refusals: Refusals::new(verify_interval),
            is_unreadable: false,
            timeouts: TimeoutsState::due(),
            is_set_up: false,
            verify_interval,
            verify_at: verify_interval.map(|interval| now + interval),
            stopping: None,
        }
    }

    pub(super) fn present(&self) -> &Table {
        &self.present
    }

    pub(super) fn owned(&self) -> &BTreeSet<ServiceKey> {
        &self.owned
    }

    /// Whether the set of owned services changed since the last call.
    pub(super) fn take_owned_changed(&mut self) -> bool {
        std::mem::take(&mut self.owned_changed)
    }

    /// When to call [`Reconciler::tick`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.verify_at, self.refusals.poll_timeout()].into_iter().flatten().min()
    }

    /// Whether the table is reconciled, as far as the kernel allows.
    pub(super) fn is_at_rest(&self) -> bool {
        self.under_way.is_none()
            && self.unread.is_empty()
            && !self.is_read_due
            && self.dirty.is_empty()
            && !self.timeouts.is_due()
    }

    /// Whether the table has been reconciled since the start, or since a configuration was applied.
    pub(super) fn is_set_up(&self) -> bool {
        self.is_set_up
    }

    /// Whether a change of this service is pending or in progress.
    pub(super) fn is_busy(&self, service: ServiceKey) -> bool {
        !self.is_set_up
            || self.applying.contains(&service)
            || self.dirty.contains(&service)
            || self.unread.contains(&service)
    }

    /// Marks a service whose wanted state may have changed. Ignores services that are not owned.
    pub(super) fn mark(&mut self, service: ServiceKey) {
        if self.owned.contains(&service) {
            self.dirty.insert(service);
        }
    }

    /// Requests a read of all owned services and of these, before anything else.
    pub(super) fn must_read(&mut self, services: BTreeSet<ServiceKey>) {
        self.is_read_due = true;
        self.unread.extend(&self.owned);
        self.unread.extend(services);
    }

    /// Processes timers: reads all owned services again, and retries refused operations.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.verify_at.is_some_and(|at| at <= now) {
            self.verify_at = self.verify_interval.map(|interval| now + interval);
            self.timeouts.look_again();
            self.unread.extend(&self.owned);
        }
        if let Some(services) = self.refusals.take_due(now) {
            self.timeouts.retry();
            let is_ours = |key: &ServiceKey| self.owned.contains(key) || self.adopted.contains(key);
            self.unread.extend(services.into_iter().filter(is_ours));
        }
    }

    /// Applies a configuration with these services.
    pub(super) fn set_spec(&mut self, configured: &BTreeSet<ServiceKey>) {
        self.owned.extend(configured);
        self.owned_changed = true;
        self.dirty = self.owned.clone();
        self.is_set_up = false;
        self.removed_externally.clear();
        self.refusals.clear();
        self.timeouts = TimeoutsState::due();
    }

    /// Takes ownership of services in the table, whatever their state.
    pub(super) fn adopt(&mut self, services: BTreeSet<ServiceKey>) {
        self.unread.extend(&services);
        self.adopted.extend(services);
    }

    /// Releases services, which stay in the table as they are.
    pub(super) fn leave(&mut self, services: &BTreeSet<ServiceKey>) {
        self.owned.retain(|key| !services.contains(key));
        self.owned_changed = true;
        self.present.services.retain(|key, _| !services.contains(key));
        self.dirty.retain(|key| !services.contains(key));
        self.unread.retain(|key| !services.contains(key));
        // Do not process a read of them that is in progress: another daemon owns them now.
        if let Some(Step::Read(keys)) = &mut self.under_way {
            keys.retain(|key| !services.contains(key));
        }
    }

    /// Begins the stop: from now on only removes these services.
    pub(super) fn stop(&mut self, cleaned: BTreeSet<ServiceKey>) {
        self.stopping = Some(cleaned);
        self.unread = self.owned.clone();
        self.dirty.clear();
        self.timeouts.known();
        self.verify_at = None;
        self.refusals.stop();
    }

    /// Ends the stop: keeps ownership only of services that should have been removed and are still in the table.
    pub(super) fn forget_all_but_left(&mut self, stays: &BTreeSet<ServiceKey>) {
        self.owned.retain(|key| self.present.services.contains_key(key) && !stays.contains(key));
        self.owned_changed = true;
    }

    /// The request in progress.
    pub(super) fn under_way(&self) -> Option<Step> {
        self.under_way.clone()
    }

    /// The next request. Adds services that need no change to `settled`.
    pub(super) fn next_step(
        &mut self,
        spec: &Spec,
        health: &Health,
        settled: &mut BTreeSet<ServiceKey>,
    ) -> Step {
        if self.under_way.is_some() {
            return Step::Rest;
        }
        if !self.unread.is_empty() || self.is_read_due {
            self.is_read_due = false;
            let keys = std::mem::take(&mut self.unread);
            self.under_way = Some(Step::Read(keys.clone()));
            return Step::Read(keys);
        }
        let operations = self.operations(spec, health, settled);
        if !operations.is_empty() {
            self.applying = operations.iter().map(Operation::service).collect();
            self.under_way = Some(Step::Apply(operations.clone()));
            return Step::Apply(operations);
        }
        if self.timeouts.is_due() {
            if let Some(wanted) = desired::timeouts(spec) {
                self.under_way = Some(Step::SetTimeouts(wanted));
                return Step::SetTimeouts(wanted);
            }
            self.timeouts.known();
        }
        self.is_set_up = true;
        Step::Rest
    }

    /// Processes the result of the step in progress.
    pub(super) fn done(&mut self, spec: &Spec, done: Done, now: Instant) -> StepOutcome {
        let mut progress = StepOutcome::default();
        match (self.under_way.take(), done) {
            (Some(Step::Read(keys)), Done::Read(Ok(found))) => {
                self.refresh(spec, &keys, found, &mut progress);
            }
            (Some(Step::Read(keys)), Done::Read(Err(error))) => {
                self.stay_unread(keys, error, now, &mut progress);
            }
            (Some(Step::Apply(operations)), Done::Applied(results)) => {
                self.applied(spec, operations, results, now, &mut progress);
            }
            (Some(Step::SetTimeouts(wanted)), Done::Timeouts(result)) => {
                let event = match result {
                    Ok(change) => self.timeouts.set(change),
                    Err(error) => {
                        self.refusals.retry([], now);
                        self.timeouts.refused(wanted, error)
                    }
                };
                progress.events.extend(event);
            }
            // Unreachable: the shell answers each step with its own kind of result.
            (under_way, _) => self.under_way = under_way,
        }
        progress
    }

    /// The missing operations of the marked services. Removals of services come last.
    fn operations(
        &mut self,
        spec: &Spec,
        health: &Health,
        settled: &mut BTreeSet<ServiceKey>,
    ) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut removals = Vec::new();
        let mut dirty = std::mem::take(&mut self.dirty).into_iter();
        for key in dirty.by_ref() {
            // Another daemon owns it.
            if !self.owned.contains(&key) {
                continue;
            }
            let wanted = match &self.stopping {
                Some(cleaned) if cleaned.contains(&key) => None,
                Some(_) => continue,
                None => self.wanted(spec, health, key),
            };
            let missing = diff_service(key, self.present.services.get(&key), wanted.as_ref());
            if missing.is_empty() {
                self.refusals.forget(key);
                self.forget_if_gone(spec, key);
                settled.insert(key);
            } else if wanted.is_none() {
                removals.extend(missing);
            } else {
                operations.extend(missing);
            }
            if operations.len() >= STEP {
                break;
            }
        }
        self.dirty.extend(dirty);
        if self.dirty.is_empty() && operations.is_empty() {
            let later = removals.split_off(removals.len().min(STEP));
            self.dirty.extend(later.iter().map(Operation::service));
            return removals;
        }
        self.dirty.extend(removals.iter().map(Operation::service));
        operations
    }

    /// The wanted state of a service, without quiesced servers that another program removed.
    fn wanted(&mut self, spec: &Spec, health: &Health, key: ServiceKey) -> Option<Service> {
        let index = spec.virtual_index(desired::virtual_id(key))?;
        let mut wanted = desired::wanted_service(spec, index, health);
        if let Some(removed) = self.removed_externally.get_mut(&key) {
            removed.retain(|destination| {
                let is_quiesced =
                    wanted.destinations.get(destination).is_some_and(|config| config.weight == 0);
                if is_quiesced {
                    wanted.destinations.remove(destination);
                }
                is_quiesced
            });
        }
        Some(wanted)
    }

    /// Records the services as read from the kernel, and reports changes by other programs.
    fn refresh(
        &mut self,
        spec: &Spec,
        keys: &BTreeSet<ServiceKey>,
        mut found: Table,
        progress: &mut StepOutcome,
    ) {
        self.is_unreadable = false;
        let mut repairs = Vec::new();
        for key in keys {
            let (before, after) = (self.present.services.remove(key), found.services.remove(key));
            if self.owned.contains(key) {
                if !spec.config().globals.readdquiescent
                    && let (Some(before), Some(after)) = (&before, &after)
                {
                    let gone = before.destinations.keys().filter(|key| !after.destinations.contains_key(key));
                    let mut gone = gone.copied().peekable();
                    if gone.peek().is_some() {
                        self.removed_externally.entry(*key).or_default().extend(gone);
                    }
                }
                let mut changed = diff_service(*key, after.as_ref(), before.as_ref());
                changed.retain(|operation| !self.stays_out(operation) && !self.refusals.concerns(operation));
                repairs.extend(changed);
            }
            if self.adopted.remove(key) {
                self.owned_changed |= self.owned.insert(*key);
            }
            if let Some(after) = after {
                self.present.services.insert(*key, after);
            }
            self.forget_if_gone(spec, *key);
            progress.touched.insert(*key);
        }
        self.dirty.extend(keys);
        if !repairs.is_empty() && self.stopping.is_none() {
            progress.events.push(Event::of_director(EventKind::Drift { repairs }));
        }
    }

    /// Processes a failed read: specs another read. Services with refused operations are not written until then.
    fn stay_unread(
        &mut self,
        keys: BTreeSet<ServiceKey>,
        error: Error,
        now: Instant,
        progress: &mut StepOutcome,
    ) {
        let refused: Vec<ServiceKey> = keys.iter().copied().filter(|key| self.refusals.has(*key)).collect();
        for key in refused {
            self.report_refusals(key, progress);
            self.dirty.remove(&key);
        }
        if self.stopping.is_some() {
            let left = self.dirty_at_stop();
            self.dirty.extend(left);
            return;
        }
        if !std::mem::replace(&mut self.is_unreadable, true) {
            progress.events.push(Event::of_director(EventKind::Unreadable { error }));
        }
        self.refusals.retry(keys, now);
    }

    /// The services to remove at the stop if the table cannot be read. A refusal is final then.
    fn dirty_at_stop(&self) -> Vec<ServiceKey> {
        let cleaned = self.stopping.iter().flatten();
        cleaned.filter(|key| !self.refusals.has(**key)).copied().collect()
    }

    fn applied(
        &mut self,
        spec: &Spec,
        operations: Vec<Operation>,
        results: Vec<Result<(), Error>>,
        now: Instant,
        progress: &mut StepOutcome,
    ) {
        let occasion = if self.stopping.is_some() { Occasion::Stop } else { Occasion::Start };
        let touched = std::mem::take(&mut self.applying);
        let mut refused: BTreeMap<ServiceKey, Vec<Refusal>> = BTreeMap::new();
        let mut not_added = BTreeSet::new();
        for (operation, result) in operations.into_iter().zip(results) {
            let service = operation.service();
            match result {
                Ok(()) => {
                    let change = desired::change(spec, &operation, occasion);
                    progress.events.push(Event::of_table(change));
                    self.note_ownership(spec, &change, service);
                    // The kernel accepted the operation, so if our copy refuses it, the copy is wrong.
                    if self.present.apply(&operation).is_err() {
                        self.unread.insert(service);
                    }
                }
                // If the service was not added, its servers are refused, too; this is not reported.
                Err(_) if not_added.contains(&service) => {}
                Err(error) => {
                    if matches!(operation, Operation::AddService { .. }) {
                        not_added.insert(service);
                    }
                    refused.entry(service).or_default().push((operation, error));
                }
            }
        }
        progress.touched.clone_from(&touched);
        for service in touched {
            match refused.remove(&service) {
                None => {
                    self.refusals.forget(service);
                    // A service that was marked again in the meantime is settled by a later step.
                    if !self.dirty.contains(&service) {
                        progress.settled.insert(service);
                    }
                }
                Some(refusals) => {
                    if self.refusals.add(service, refusals) {
                        self.unread.insert(service);
                        continue;
                    }
                    self.report_refusals(service, progress);
                    if self.stopping.is_none() {
                        self.refusals.retry([service], now);
                    }
                    progress.settled.insert(service);
                }
            }
        }
    }

    /// Reports the refusals of a service that were not reported yet.
    fn report_refusals(&mut self, service: ServiceKey, progress: &mut StepOutcome) {
        let fate = if self.stopping.is_some() { Fate::Abandoned } else { Fate::Retried };
        for (operation, error) in self.refusals.report(service) {
            let kind = EventKind::Refused { request: KernelRequest::Operation(operation), error, fate };
            progress.events.push(Event { service: Some(desired::virtual_id(service)), server: None, kind });
        }
    }

    fn note_ownership(&mut self, spec: &Spec, change: &Change, service: ServiceKey) {
        if matches!(change, Change::VirtualPurged(..))
            && spec.virtual_index(desired::virtual_id(service)).is_none()
        {
            self.owned_changed |= self.owned.remove(&service);
        }
    }

    /// Ends the ownership of a service of an earlier configuration once it is removed.
    fn forget_if_gone(&mut self, spec: &Spec, service: ServiceKey) {
        let is_planned = spec.virtual_index(desired::virtual_id(service)).is_some();
        if !is_planned && !self.present.services.contains_key(&service) {
            self.owned_changed |= self.owned.remove(&service);
        }
    }

    /// Whether an operation would add a quiesced server that another program removed.
    fn stays_out(&self, operation: &Operation) -> bool {
        match operation {
            Operation::AddDestination { service, key, config: DestinationConfig { weight: 0, .. } } => {
                self.removed_externally.get(service).is_some_and(|removed| removed.contains(key))
            }
            _ => false,
        }
    }
}
