//! What the daemon counts. All other metrics are computed from its state when they are asked for.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ipvs_rs::Operation;

use crate::event::{Event, EventKind, KernelRequest};
use crate::health::Standing;
use crate::spec::Spec;
use crate::value::{Change, Outcome, Phase, ServerAction, Verdict, VirtualId};

/// Upper bounds of the buckets of durations, in seconds.
pub(super) const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The operations on the kernel's table, as metrics name them.
pub(super) const OPERATIONS: [&str; 6] =
    ["add_service", "change_service", "remove_service", "add_server", "change_server", "remove_server"];

/// For this time the largest lag counts.
const LAG_WINDOW: Duration = Duration::from_secs(30);

/// All counters of a daemon since its start.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// By the kind of the probe and the outcome.
    pub(super) checks: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) durations: BTreeMap<&'static str, Durations>,
    /// Failed checks, by the phase in which they failed.
    pub(super) failures: BTreeMap<Phase, u64>,
    /// By the operation and its result.
    pub(super) kernel: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) repairs: u64,
    pub(super) to_kernel: Durations,
    /// When the oldest transition was decided that the table does not show yet.
    decided_at: Option<Instant>,
    /// Shared with scrapes that are not finished: a client that does not read its metrics costs no copy.
    pub(super) servers: Arc<BTreeMap<(VirtualId, SocketAddr), ServerMeters>>,
    pub(super) reloads: BTreeMap<&'static str, u64>,
    /// When the last reload ended, and whether it was applied.
    pub(super) last_reload: Option<(SystemTime, bool)>,
    lag: Lag,
}

/// The counters of one server that has had a transition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServerMeters {
    pub(super) ups: u64,
    pub(super) downs: u64,
    downtime: Duration,
    down_since: Option<Instant>,
}

impl ServerMeters {
    fn end_downtime(&mut self, now: Instant) {
        self.downtime = self.downtime(now);
        self.down_since = None;
    }

    /// The time for which it has been down, until now.
    pub(super) fn downtime(&self, now: Instant) -> Duration {
        self.downtime + self.down_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// Durations, counted in [`BUCKETS`].
#[derive(Clone, Debug, Default)]
pub(super) struct Durations {
    /// One for each bucket, and one for longer durations.
    counts: [u64; BUCKETS.len() + 1],
    pub(super) sum: f64,
}

impl Durations {
    fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.counts[bucket] += 1;
        self.sum += seconds;
    }

    /// The number of durations.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each upper bound, with the number of durations in its bucket.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        BUCKETS.into_iter().chain([f64::INFINITY]).zip(self.counts).collect()
    }
}

/// The largest lag of the last 30 to 60 s.
#[derive(Clone, Copy, Debug, Default)]
struct Lag {
    window: Option<Instant>,
    current: Duration,
    before: Duration,
}

impl Lag {
    fn see(&mut self, lag: Duration, now: Instant) {
        match self.window {
            Some(begin) if now < begin + LAG_WINDOW => {}
            Some(begin) if now < begin + 2 * LAG_WINDOW => {
                *self = Lag { window: Some(now), current: Duration::ZERO, before: self.current };
            }
            _ => *self = Lag { window: Some(now), ..Lag::default() },
        }
        self.current = self.current.max(lag);
    }
}

impl Meters {
    /// A copy, with or without the counters of each server.
    #[must_use]
    pub fn copy(&self, per_server: bool) -> Meters {
        if per_server {
            return self.clone();
        }
        let Meters { checks, durations, failures, kernel, to_kernel, reloads, .. } = self;
        Meters {
            checks: checks.clone(),
            durations: durations.clone(),
            failures: failures.clone(),
            kernel: kernel.clone(),
            repairs: self.repairs,
            to_kernel: to_kernel.clone(),
            decided_at: self.decided_at,
            servers: Arc::default(),
            reloads: reloads.clone(),
            last_reload: self.last_reload,
            lag: self.lag,
        }
    }

    /// Counts a check.
    pub fn checked(&mut self, kind: &'static str, verdict: &Verdict) {
        let outcome = match verdict.outcome {
            Outcome::Up => "up",
            Outcome::Down => "down",
            Outcome::Unknown(_) => "unknown",
        };
        *self.checks.entry((kind, outcome)).or_default() += 1;
        self.durations.entry(kind).or_default().add(verdict.took);
        if verdict.outcome == Outcome::Down {
            *self.failures.entry(verdict.phases.last()).or_default() += 1;
        }
    }

    /// Counts events.
    pub fn published(&mut self, events: &[Event], now: Instant) {
        for event in events {
            match &event.kind {
                EventKind::Up { .. } => self.transition(event, true, now),
                EventKind::Down { .. } => self.transition(event, false, now),
                EventKind::OverrideEnded { state: Some(Standing::InRotation), .. } => {
                    self.recovered(event, now);
                }
                EventKind::Table { change, .. } => self.kernel(operation_of(change), "ok"),
                EventKind::Refused { request: KernelRequest::Operation(operation), .. } => {
                    self.kernel(operation_word(operation), "refused");
                }
                EventKind::Drift { repairs } => self.repairs += repairs.len() as u64,
                _ => {}
            }
        }
    }

    fn kernel(&mut self, operation: &'static str, result: &'static str) {
        *self.kernel.entry((operation, result)).or_default() += 1;
    }

    fn transition(&mut self, event: &Event, is_up: bool, now: Instant) {
        let (Some(service), Some(server)) = (event.service, event.server) else { return };
        self.decided_at.get_or_insert(now);
        let meters = Arc::make_mut(&mut self.servers).entry((service, server)).or_default();
        match is_up {
            true => {
                meters.ups += 1;
                meters.end_downtime(now);
            }
            // Reported again after an override.
            false if meters.down_since.is_some() => {}
            false => {
                meters.downs += 1;
                meters.down_since = Some(now);
            }
        }
    }

    /// A server that recovered during an override has no event of its own.
    fn recovered(&mut self, event: &Event, now: Instant) {
        let (Some(service), Some(server)) = (event.service, event.server) else { return };
        if let Some(meters) = Arc::make_mut(&mut self.servers).get_mut(&(service, server)) {
            meters.end_downtime(now);
        }
    }

    /// The table shows all transitions.
    pub fn reconciled(&mut self, now: Instant) {
        if let Some(decided) = self.decided_at.take() {
            self.to_kernel.add(now.saturating_duration_since(decided));
        }
    }

    /// The decisions so far change nothing in the table.
    pub fn nothing_to_apply(&mut self) {
        self.decided_at = None;
    }

    /// A reload ended at this time.
    pub fn reloaded(&mut self, is_applied: bool, at: SystemTime) {
        *self.reloads.entry(if is_applied { "applied" } else { "refused" }).or_default() += 1;
        self.last_reload = Some((at, is_applied));
    }

    /// Forgets the servers that a new spec does not have.
    pub fn set_spec(&mut self, spec: &Spec) {
        let servers = spec.virtuals().iter().flat_map(|v| v.reals.iter().map(|real| (v.id, real.address)));
        let servers: HashSet<(VirtualId, SocketAddr)> = servers.collect();
        Arc::make_mut(&mut self.servers).retain(|id, _| servers.contains(id));
    }

    /// The loop was late by this time when it started a check.
    pub fn late(&mut self, lag: Duration, now: Instant) {
        self.lag.see(lag, now);
    }

    /// The largest delay of the start of a check in the last 30 to 60 s.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.lag.current.max(self.lag.before)
    }
}

fn operation_of(change: &Change) -> &'static str {
    match change {
        Change::VirtualAdded(_) => "add_service",
        Change::VirtualChanged(_) => "change_service",
        Change::VirtualPurged(..) => "remove_service",
        Change::Server(change) => match change.action {
            ServerAction::Added(_) => "add_server",
            ServerAction::Deleted | ServerAction::Purged(_) => "remove_server",
            _ => "change_server",
        },
    }
}

fn operation_word(operation: &Operation) -> &'static str {
    match operation {
        Operation::AddService { .. } => "add_service",
        Operation::EditService { .. } => "change_service",
        Operation::RemoveService { .. } => "remove_service",
        Operation::AddDestination { .. } => "add_server",
        Operation::EditDestination { .. } => "change_server",
        Operation::RemoveDestination { .. } => "remove_server",
    }
}
