//! Decides when each check runs: on a fixed grid per check, at most one run in flight, bursts spread out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lateness::{Lateness, Punctuality, Waiting};
use super::spread::{Costs, fraction, place};
use crate::spec::{CheckKey, Probe, Spec};
use crate::value::{Outcome, UnknownCause, Verdict};

/// If the earliest due check is this late, the loop was blocked, and the due checks are spread as at a start.
const GAP: Duration = Duration::from_millis(500);

/// After this number of consecutive failures while the director is late, the last one counts as down.
const LATE_RUNS: u32 = 5;
const LATE: Outcome = Outcome::Unknown(UnknownCause::DirectorLate);

/// If slots are scarce, at least this number of checks of servers in rotation begin before one of a server that is
/// down.
const TURNS: u32 = 4;

/// The id of a check. It stays the same across reloads while the key of the check is in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckId(u64);

/// The priority of a check when slots are scarce, by the state of its servers. Highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A server is in rotation.
    InRotation,
    /// A server has not been checked yet.
    Unseen,
    /// All servers are down.
    Out,
    /// All servers are in maintenance, so the check is skipped.
    Idle,
}

/// A check to start now.
#[derive(Clone, Debug)]
pub struct Due {
    /// The id, for the verdict.
    pub id: CheckId,
    /// The probe to run.
    pub probe: Arc<Probe>,
    /// The priority.
    pub priority: Priority,
    /// The expected CPU time.
    pub cost: Duration,
    /// Whether it has waited for its turn, and begins however much CPU time the running checks need.
    pub is_its_turn: bool,
}

/// The relation of a check of a new spec to the old spec.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The check with the same key in the old spec.
    pub(super) same: Option<usize>,
    /// The check of the same servers in the old spec. `None` for new servers.
    pub(super) predecessor: Option<usize>,
    /// Whether one of its servers is out of rotation and has no verdict.
    pub(super) urgent: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// In the order of the spec's checks.
    checks: Vec<Entry>,
    index: BTreeMap<CheckId, usize>,
    /// Checks that are not due yet.
    queue: BTreeSet<(Instant, CheckId)>,
    /// Due checks that wait for a slot.
    ready: BTreeMap<Priority, BTreeSet<(Instant, CheckId)>>,
    /// Checks of servers in rotation that began since the last check of another server.
    turns: u32,
    next_id: u64,
    unseen: usize,
    costs: Costs,
    lateness: Lateness,
}

#[derive(Clone, Debug)]
struct Entry {
    id: CheckId,
    key: Arc<CheckKey>,
    /// The grid point of the last or next run.
    slot: Instant,
    /// When the next run begins at the earliest: the grid point, or later if runs are spread.
    at: Instant,
    in_flight: bool,
    seen: bool,
    /// Whether the first run was early, so that the place in the interval is chosen after it.
    unplaced: bool,
    /// Whether the current or next run is an immediate repeat of a late one.
    repeated: bool,
    /// Combined checks: connects left before the next negotiation.
    connects_left: u32,
    /// The latest consecutive runs that failed while the director was late.
    late_runs: u32,
}

impl Schedule {
    pub(super) fn new(spec: &Spec, origin: impl Fn(usize) -> Origin, now: Instant) -> Schedule {
        let empty = Schedule {
            checks: Vec::new(),
            index: BTreeMap::new(),
            queue: BTreeSet::new(),
            ready: BTreeMap::new(),
            turns: 0,
            next_id: 0,
            unseen: 0,
            costs: Costs::default(),
            lateness: Lateness::default(),
        };
        empty.carry_over(spec, origin, now)
    }

    /// Applies a new spec. Checks with an unchanged key keep their id, a run in flight and their times. Checks with
    /// a changed key keep their times. All others are spread from now on, the urgent ones first.
    pub(super) fn carry_over(&self, spec: &Spec, origin: impl Fn(usize) -> Origin, now: Instant) -> Schedule {
        let mut next_id = self.next_id;
        let mut taken = BTreeSet::new();
        let (mut urgent, mut first) = (Vec::new(), Vec::new());
        let mut checks = Vec::with_capacity(spec.checks().len());
        for (position, check) in spec.checks().iter().enumerate() {
            let origin = origin(position);
            let known = origin.same.map(|old| &self.checks[old]);
            let entry = known.cloned().unwrap_or_else(|| {
                next_id += 1;
                Entry::fresh(CheckId(next_id - 1), &check.key, now)
            });
            checks.push(entry);
            match (known, origin) {
                (_, Origin { urgent: true, .. }) => urgent.push(position),
                (Some(_), _) => {}
                // Only one check takes the times of the old one. If one check became many, the others are spread.
                (None, Origin { predecessor: Some(old), .. }) if taken.insert(old) => {
                    checks[position].follow(&self.checks[old], now);
                }
                (None, _) => first.push(position),
            }
        }
        urgent.extend(first);
        self.spread(&mut checks, &urgent, now);
        let mut next = Schedule {
            index: checks.iter().enumerate().map(|(position, entry)| (entry.id, position)).collect(),
            queue: checks.iter().filter(|e| !e.in_flight).map(|e| (e.at, e.id)).collect(),
            ready: BTreeMap::new(),
            turns: self.turns,
            next_id,
            unseen: checks.iter().filter(|entry| !entry.seen).count(),
            checks,
            costs: self.costs,
            lateness: self.lateness.clone(),
        };
        next.keep_ready(self);
        next
    }

    /// Spreads checks from now on, in the given order. Delays none of them.
    fn spread(&self, checks: &mut [Entry], positions: &[usize], now: Instant) {
        let window = self.costs.window(positions.iter().map(|p| checks[*p].key.probe.effort()));
        for (index, position) in positions.iter().enumerate() {
            let entry = &mut checks[*position];
            let within = window.min(entry.key.interval);
            let at = now + place(within, index, positions.len());
            if at < entry.at {
                (entry.slot, entry.at) = (at, at);
                // If the first runs fill most of the interval, they are already spread as widely as possible.
                entry.unplaced = within < entry.key.interval / 2;
            }
        }
    }

    /// Keeps the checks that wait for a slot.
    fn keep_ready(&mut self, old: &Schedule) {
        for (priority, waiting) in &old.ready {
            let kept: BTreeSet<_> =
                waiting.iter().filter(|check| self.queue.remove(check)).copied().collect();
            self.ready.insert(*priority, kept);
        }
    }

    pub(super) fn all_seen(&self) -> bool {
        self.unseen == 0
    }

    pub(super) fn knows(&self, id: CheckId) -> bool {
        self.index.contains_key(&id)
    }

    /// The index of a check in the spec. `None` if the spec does not have it.
    pub(super) fn position(&self, id: CheckId) -> Option<usize> {
        self.index.get(&id).copied()
    }

    /// The number of checks that began more than one interval late so far.
    pub(super) fn next_run(&self, index: usize) -> (CheckId, Option<Instant>) {
        let entry = &self.checks[index];
        (entry.id, (!entry.in_flight).then_some(entry.at))
    }

    pub(super) fn late_checks(&self) -> u64 {
        self.lateness.checks
    }

    pub(super) fn punctuality(&mut self, now: Instant) -> Option<Punctuality> {
        self.lateness.news(now)
    }

    /// Makes the checks at these indices due as soon as possible, spread. Skips those that are in flight or already
    /// due.
    pub(super) fn hurry(&mut self, mut positions: Vec<usize>, now: Instant) {
        positions.retain(|position| {
            let entry = &self.checks[*position];
            self.queue.remove(&(entry.at, entry.id))
        });
        let mut checks = std::mem::take(&mut self.checks);
        self.spread(&mut checks, &positions, now);
        self.checks = checks;
        self.queue.extend(positions.iter().map(|position| {
            let entry = &self.checks[*position];
            (entry.at, entry.id)
        }));
    }

    /// Makes every check due now that is not in flight.
    pub(super) fn hurry_all(&mut self, now: Instant) {
        for entry in &mut self.checks {
            if self.queue.remove(&(entry.at, entry.id)) {
                (entry.slot, entry.at) = (now, now);
                self.queue.insert((now, entry.id));
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Starts due checks in the order of [`Priority`] (for the exception see [`Schedule::next_due`]) until `start`
    /// returns false. Returns the skipped checks, which are due again one interval later.
    pub(super) fn due(
        &mut self,
        priority_of: impl Fn(usize) -> Priority,
        now: Instant,
        mut start: impl FnMut(Due) -> bool,
    ) -> Vec<CheckId> {
        self.collect(&priority_of, now);
        let mut only_rotation = false;
        let mut passed = Vec::new();
        while let Some((priority, id)) = self.next_due(only_rotation, now) {
            if priority == Priority::Idle && priority_of(self.index[&id]) != Priority::Idle {
                // The maintenance of its servers ended while it waited.
                self.move_ready(id, priority, priority_of(self.index[&id]));
                continue;
            }
            let entry = &mut self.checks[self.index[&id]];
            let probe = Arc::clone(entry.probe());
            let cost = self.costs.of(probe.effort());
            let is_its_turn =
                self.turns >= TURNS && !matches!(priority, Priority::InRotation | Priority::Idle);
            if priority == Priority::Idle {
                passed.push(id);
            } else if !start(Due { id, probe, priority, cost, is_its_turn }) {
                // Some slots are reserved for servers in rotation.
                if priority == Priority::InRotation || only_rotation {
                    break;
                }
                only_rotation = true;
                continue;
            }
            let (waiting, at) = (entry.waiting(), entry.at);
            entry.begin(now);
            self.turns = match priority {
                Priority::InRotation => self.turns.saturating_add(1),
                Priority::Out | Priority::Unseen => 0,
                Priority::Idle => self.turns,
            };
            if let Some(ready) = self.ready.get_mut(&priority) {
                ready.remove(&(at, id));
            }
            self.lateness.begin(&waiting, self.waiting(), now);
            if priority == Priority::Idle {
                self.pass(id, now);
            }
        }
        let waiting: Vec<Waiting> =
            self.longest_waiting().map(|(_, id)| self.checks[self.index[&id]].waiting()).collect();
        for check in waiting {
            self.lateness.look(&check, self.waiting(), now);
        }
        passed
    }

    fn move_ready(&mut self, id: CheckId, from: Priority, to: Priority) {
        let check = (self.checks[self.index[&id]].at, id);
        self.ready.entry(from).or_default().remove(&check);
        self.ready.entry(to).or_default().insert(check);
    }

    /// Ends a check that was skipped.
    fn pass(&mut self, id: CheckId, now: Instant) {
        let entry = &mut self.checks[self.index[&id]];
        self.unseen -= usize::from(!std::mem::replace(&mut entry.seen, true));
        (entry.late_runs, entry.repeated, entry.connects_left) = (0, false, 0);
        self.requeue(id, now);
    }

    /// Schedules the next run of a check one interval after the last one.
    fn requeue(&mut self, id: CheckId, now: Instant) {
        let entry = &mut self.checks[self.index[&id]];
        entry.in_flight = false;
        entry.slot = entry.next_slot(now);
        entry.at = entry.slot;
        self.queue.insert((entry.at, id));
    }

    /// The check to start next. If slots stay scarce, servers in rotation would take all of them. So a check that is
    /// more than one interval late precedes checks of servers in rotation that have waited less: each first check,
    /// and one check of a server that is down after [`TURNS`] checks of servers in rotation. First checks end; checks
    /// of servers that are down do not, and without a check such a server would not return.
    fn next_due(&self, only_rotation: bool, now: Instant) -> Option<(Priority, CheckId)> {
        let first = self.longest_waiting().next()?;
        if first.0 != Priority::InRotation {
            return (!only_rotation).then_some(first);
        }
        let entry = |id: CheckId| &self.checks[self.index[&id]];
        let overtakes = |(priority, id): &(Priority, CheckId)| {
            let (rotating, other) = (entry(first.1), entry(*id));
            let is_its_turn = match priority {
                Priority::Unseen => true,
                Priority::Out => self.turns >= TURNS,
                Priority::InRotation | Priority::Idle => false,
            };
            is_its_turn
                && other.at < rotating.at
                && now.saturating_duration_since(other.at) > other.key.interval
        };
        let late = self.longest_waiting().filter(|_| !only_rotation).find(overtakes);
        Some(late.unwrap_or(first))
    }

    /// The check of each priority that has waited longest for a slot.
    fn longest_waiting(&self) -> impl Iterator<Item = (Priority, CheckId)> + '_ {
        self.ready.iter().filter_map(|(priority, ready)| ready.first().map(|(_, id)| (*priority, *id)))
    }

    /// The number of checks that wait for a slot.
    fn waiting(&self) -> usize {
        self.ready.values().map(BTreeSet::len).sum()
    }

    /// Moves due checks from the queue to `ready`. After a time in which nothing ran, spreads them first.
    fn collect(&mut self, priority: impl Fn(usize) -> Priority, now: Instant) {
        if self.queue.first().is_some_and(|(at, _)| *at + GAP < now) {
            self.spread_overdue(now);
        }
        while let Some((at, id)) = self.queue.first().copied().filter(|(at, _)| *at <= now) {
            self.queue.pop_first();
            self.ready.entry(priority(self.index[&id])).or_default().insert((at, id));
        }
    }

    fn spread_overdue(&mut self, now: Instant) {
        let later = self.queue.split_off(&(now, CheckId(0)));
        let overdue: Vec<usize> = self.queue.iter().map(|(_, id)| self.index[id]).collect();
        self.queue = later;
        let window = self.costs.window(overdue.iter().map(|p| self.checks[*p].key.probe.effort()));
        for (index, position) in overdue.iter().enumerate() {
            let entry = &mut self.checks[*position];
            entry.at = now + place(window.min(entry.key.interval), index, overdue.len());
            self.queue.insert((entry.at, entry.id));
        }
    }

    /// The effective verdict. A run that failed while the director was late is repeated, but the last of
    /// [`LATE_RUNS`] consecutive ones counts as down, so that an overloaded director also marks failed servers
    /// down.
    pub(super) fn judge(&self, id: CheckId, verdict: Verdict) -> Verdict {
        let late_runs = self.position(id).map_or(0, |position| self.checks[position].late_runs);
        match verdict.outcome {
            LATE if late_runs + 1 >= LATE_RUNS => Verdict { outcome: Outcome::Down, ..verdict },
            _ => verdict,
        }
    }

    /// Puts a check back into the queue after its verdict. Returns its index in the spec; `None` if it is unknown
    /// or not in flight.
    pub(super) fn finished(&mut self, id: CheckId, verdict: &Verdict, now: Instant) -> Option<usize> {
        let position = *self.index.get(&id)?;
        let entry = &mut self.checks[position];
        if !entry.in_flight {
            return None;
        }
        self.costs.record(entry.key.probe.effort(), Duration::from_micros(verdict.cpu_micros.into()));
        // A late run has no result and is repeated.
        if verdict.outcome != LATE {
            self.unseen -= usize::from(!std::mem::replace(&mut entry.seen, true));
        }
        // Only one repeat is immediate: endless immediate repeats would use the whole machine.
        let late = verdict.outcome == LATE;
        entry.late_runs = if late { entry.late_runs + 1 } else { 0 };
        entry.repeated = late && !entry.repeated;
        if entry.repeated {
            entry.in_flight = false;
            entry.slot = entry.last_slot(now);
            entry.at = now;
            self.queue.insert((entry.at, id));
        } else {
            entry.count(verdict.outcome);
            self.requeue(id, now);
        }
        Some(position)
    }
}

impl Entry {
    fn fresh(id: CheckId, key: &Arc<CheckKey>, now: Instant) -> Entry {
        Entry {
            id,
            key: Arc::clone(key),
            slot: now + key.interval,
            at: now + key.interval,
            in_flight: false,
            seen: false,
            unplaced: false,
            repeated: false,
            connects_left: 0,
            late_runs: 0,
        }
    }

    /// Takes the times of the old check.
    fn follow(&mut self, old: &Entry, now: Instant) {
        let next = if old.in_flight { old.slot + old.key.interval } else { old.at };
        let ahead = next.saturating_duration_since(now);
        self.at = match ahead > self.key.interval {
            true => now + remainder(ahead, self.key.interval),
            false => next,
        };
        self.slot = self.at;
        self.unplaced = old.unplaced;
    }

    fn waiting(&self) -> Waiting {
        Waiting { server: self.key.probe.target, slot: self.slot, interval: self.key.interval }
    }

    /// The probe of the next run.
    fn probe(&self) -> &Arc<Probe> {
        match &self.key.combined {
            Some(combined) if self.connects_left > 0 => &combined.probe,
            _ => &self.key.probe,
        }
    }

    fn begin(&mut self, now: Instant) {
        self.in_flight = true;
        self.slot = self.last_slot(now);
    }

    /// The last grid point before now. Missed runs are not made up for.
    fn last_slot(&self, now: Instant) -> Instant {
        let late = now.saturating_duration_since(self.slot);
        if late < self.key.interval {
            return self.slot;
        }
        now.checked_sub(remainder(late, self.key.interval)).unwrap_or(now)
    }

    /// Combined checks: decides whether a connect or a negotiation is next.
    fn count(&mut self, outcome: Outcome) {
        self.connects_left = match &self.key.combined {
            Some(combined) if outcome == Outcome::Up && self.connects_left == 0 => combined.count,
            Some(_) if outcome == Outcome::Up => self.connects_left - 1,
            _ => 0,
        };
    }

    /// The next grid point. A check that took longer than its interval starts again at once. First runs come soon
    /// after the start; from the second run on, checks are spread over their whole interval.
    fn next_slot(&mut self, now: Instant) -> Instant {
        let next = (self.slot + self.key.interval).max(now);
        if !std::mem::take(&mut self.unplaced) {
            return next;
        }
        let phase = self.slot + self.key.interval.mul_f64(fraction(self.id.0));
        if phase < now + self.key.interval / 8 { next } else { phase }
    }
}

fn remainder(time: Duration, interval: Duration) -> Duration {
    let nanos = time.as_nanos().checked_rem(interval.as_nanos()).unwrap_or(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
