//! When each check runs: a fixed grid per check, one run in flight at most, first runs spread out.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plan::{CheckKey, Plan, Probe};
use crate::value::Outcome;

/// First runs are spread over this much for each check, so that a few servers are seen at once and many do not burst.
const SPREAD_PER_CHECK: Duration = Duration::from_millis(1);
/// First runs are never spread over more than this: at start every second without a verdict is one without servers.
const SPREAD_LIMIT: Duration = Duration::from_secs(1);

/// One check for as long as its key stays in the configuration, across reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckId(u64);

/// A check that is to be started now.
#[derive(Clone, Debug)]
pub struct Due {
    /// To be given back with the verdict.
    pub id: CheckId,
    /// What to do.
    pub probe: Arc<Probe>,
}

#[derive(Debug)]
pub(super) struct Schedule {
    /// In the order of the plan's checks.
    checks: Vec<Entry>,
    index: BTreeMap<CheckId, usize>,
    queue: BTreeSet<(Instant, CheckId)>,
    next_id: u64,
    unseen: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    id: CheckId,
    key: Arc<CheckKey>,
    /// The point of the grid that the last or next run belongs to.
    slot: Instant,
    in_flight: bool,
    seen: bool,
    /// Combined checks: connects left before the next negotiation.
    connects_left: u32,
}

impl Schedule {
    pub(super) fn new(plan: &Plan, now: Instant) -> Schedule {
        let empty = Schedule {
            checks: Vec::new(),
            index: BTreeMap::new(),
            queue: BTreeSet::new(),
            next_id: 0,
            unseen: 0,
        };
        empty.replan(plan, |_| false, now)
    }

    /// Checks whose key is unchanged keep their id and a run that is in flight, and their place in time unless they are
    /// urgent now.
    pub(super) fn replan(&self, plan: &Plan, urgent: impl Fn(usize) -> bool, now: Instant) -> Schedule {
        let before: BTreeMap<&CheckKey, &Entry> = self.checks.iter().map(|e| (&*e.key, e)).collect();
        let mut next = Schedule {
            checks: Vec::with_capacity(plan.checks().len()),
            index: BTreeMap::new(),
            queue: BTreeSet::new(),
            next_id: self.next_id,
            unseen: 0,
        };
        let spread = SPREAD_PER_CHECK * u32::try_from(plan.checks().len()).unwrap_or(u32::MAX);
        for (position, check) in plan.checks().iter().enumerate() {
            let entry = match before.get(&*check.key) {
                Some(entry) if urgent(position) => Entry { slot: now, ..(*entry).clone() },
                Some(entry) => (*entry).clone(),
                None => next.fresh(&check.key, now, spread),
            };
            next.index.insert(entry.id, position);
            if !entry.in_flight {
                next.queue.insert((entry.slot, entry.id));
            }
            next.unseen += usize::from(!entry.seen);
            next.checks.push(entry);
        }
        next
    }

    fn fresh(&mut self, key: &Arc<CheckKey>, now: Instant, spread: Duration) -> Entry {
        let id = CheckId(self.next_id);
        self.next_id += 1;
        let window = spread.min(SPREAD_LIMIT).min(key.interval);
        Entry {
            id,
            key: Arc::clone(key),
            slot: now + window.mul_f64(fraction(id)),
            in_flight: false,
            seen: false,
            connects_left: 0,
        }
    }

    pub(super) fn all_seen(&self) -> bool {
        self.unseen == 0
    }

    pub(super) fn knows(&self, id: CheckId) -> bool {
        self.index.contains_key(&id)
    }

    /// The place of a check in the plan; none if it is not in it.
    pub(super) fn position(&self, id: CheckId) -> Option<usize> {
        self.index.get(&id).copied()
    }

    /// Has the check at this place of the plan run now, unless it is on its way.
    pub(super) fn hurry(&mut self, position: usize, now: Instant) {
        let entry = &mut self.checks[position];
        if self.queue.remove(&(entry.slot, entry.id)) {
            entry.slot = now;
            self.queue.insert((now, entry.id));
        }
    }

    pub(super) fn all_at_once(&mut self) -> Vec<Due> {
        match self.queue.last().copied() {
            Some((latest, _)) => self.due(latest),
            None => Vec::new(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(super) fn due(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.queue.first().copied() {
            if at > now {
                break;
            }
            self.queue.pop_first();
            let entry = &mut self.checks[self.index[&id]];
            entry.in_flight = true;
            // After a time in which nothing ran, nothing is made up for.
            if now >= entry.slot + entry.key.interval {
                entry.slot = now;
            }
            let probe = match &entry.key.combined {
                Some(combined) if entry.connects_left > 0 => &combined.probe,
                _ => &entry.key.probe,
            };
            due.push(Due { id, probe: Arc::clone(probe) });
        }
        due
    }

    /// Puts a check that has its verdict back into the queue. Gives its place in the plan, none if it is unknown.
    pub(super) fn finished(&mut self, id: CheckId, outcome: Outcome, now: Instant) -> Option<usize> {
        let position = *self.index.get(&id)?;
        let entry = &mut self.checks[position];
        if !entry.in_flight {
            return None;
        }
        entry.in_flight = false;
        let first = !std::mem::replace(&mut entry.seen, true);
        self.unseen -= usize::from(first);
        entry.connects_left = match &entry.key.combined {
            Some(combined) if outcome == Outcome::Up && entry.connects_left == 0 => combined.count,
            Some(_) if outcome == Outcome::Up => entry.connects_left - 1,
            _ => 0,
        };
        entry.slot = if first { entry.second_slot(now) } else { entry.next_slot(now) };
        self.queue.insert((entry.slot, id));
        Some(position)
    }
}

impl Entry {
    /// The next point of the grid; a check that overran its interval starts again at once.
    fn next_slot(&self, now: Instant) -> Instant {
        (self.slot + self.key.interval).max(now)
    }

    /// First runs come soon after the start; from the second on the checks are spread over their whole interval.
    fn second_slot(&self, now: Instant) -> Instant {
        let phase = self.slot + self.key.interval.mul_f64(fraction(self.id));
        if phase < now + self.key.interval / 8 { self.next_slot(now) } else { phase }
    }
}

/// A number from 0 to 1 that looks random and is always the same for a check.
fn fraction(id: CheckId) -> f64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let bits = u32::try_from(hasher.finish() >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}
