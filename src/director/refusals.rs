//! Refused operations: which attempt is next, what was reported, and when to retry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipvs_rs::{DestinationKey, Error, Operation, ServiceKey};

/// Time until the first retry. Each further retry takes twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Maximum time between retries if the table is never verified.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// An operation and the kernel's answer.
pub(super) type Refusal = (Operation, Error);

/// The refused operations of all services.
#[derive(Clone)]
pub(super) struct Refusals {
    /// Services with refused operations. Their next attempt is at least the second one.
    pending: BTreeMap<ServiceKey, Vec<Refusal>>,
    /// The reported refusals, so that each is reported once.
    reported: BTreeMap<ServiceKey, Vec<Refusal>>,
    services: BTreeSet<ServiceKey>,
    at: Option<Instant>,
    after: Duration,
    longest: Duration,
}

impl Refusals {
    /// Starts without refusals. `longest`: the maximum time between retries.
    pub(super) fn new(longest: Option<Duration>) -> Refusals {
        Refusals {
            pending: BTreeMap::new(),
            reported: BTreeMap::new(),
            services: BTreeSet::new(),
            at: None,
            after: FIRST_RETRY,
            longest: longest.unwrap_or(LONGEST_RETRY).max(FIRST_RETRY),
        }
    }

    /// When to call [`Refusals::take_due`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }

    /// The services to retry, if they are due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<BTreeSet<ServiceKey>> {
        self.at.take_if(|at| *at <= now)?;
        Some(std::mem::take(&mut self.services))
    }

    /// Records refused operations on a service. Returns whether this was the first attempt.
    pub(super) fn add(&mut self, service: ServiceKey, refusals: Vec<Refusal>) -> bool {
        self.pending.insert(service, refusals).is_none()
    }

    /// Whether operations on a service were refused and none has succeeded since.
    pub(super) fn has(&self, service: ServiceKey) -> bool {
        self.pending.contains_key(&service)
    }

    /// Whether the kernel refused an operation on the same object.
    pub(super) fn concerns(&self, operation: &Operation) -> bool {
        let refused = self.pending.get(&operation.service()).into_iter().flatten();
        refused.into_iter().any(|(refused, _)| destination(refused) == destination(operation))
    }

    /// The refusals of a service that were not reported yet.
    pub(super) fn report(&mut self, service: ServiceKey) -> Vec<Refusal> {
        let pending = self.pending.get(&service).map_or(&[][..], Vec::as_slice);
        let reported = self.reported.entry(service).or_default();
        let new: Vec<Refusal> =
            pending.iter().filter(|refusal| !reported.contains(refusal)).cloned().collect();
        reported.extend(new.iter().cloned());
        new
    }

    /// Forgets the refusals of a service that is reconciled.
    pub(super) fn forget(&mut self, service: ServiceKey) {
        self.pending.remove(&service);
        self.reported.remove(&service);
        self.services.remove(&service);
        if self.pending.is_empty() && self.services.is_empty() {
            self.after = FIRST_RETRY;
        }
    }

    /// Forgets all refusals for a new configuration: every operation is a first attempt again.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
        self.reported.clear();
    }

    /// Specs a retry of these services.
    pub(super) fn retry(&mut self, services: impl IntoIterator<Item = ServiceKey>, now: Instant) {
        self.services.extend(services);
        if self.at.is_none() {
            self.at = Some(now + self.after);
            self.after = (self.after * 2).min(self.longest);
        }
    }

    /// Cancels all retries.
    pub(super) fn stop(&mut self) {
        self.pending.clear();
        self.services.clear();
        self.at = None;
    }
}

fn destination(operation: &Operation) -> Option<DestinationKey> {
    match operation {
        Operation::AddDestination { key, .. }
        | Operation::EditDestination { key, .. }
        | Operation::RemoveDestination { key, .. } => Some(*key),
        _ => None,
    }
}
