//! Limits how many checks run at once, by number and by the descriptors that they need.

use crate::check;
use crate::health::{Due, Priority};

/// The limits for all checks together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of running checks. At least 1.
    pub checks: usize,
    /// Maximum number of descriptors that they hold.
    pub descriptors: usize,
}

/// Checks of servers out of rotation get at most this share of the slots, so that servers that do not answer until
/// the deadline do not delay the checks of servers in rotation.
const SHARE_OF_OTHERS: (usize, usize) = (3, 4);

/// The slot of a running check: what the check uses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CheckSlot {
    checks: usize,
    descriptors: usize,
    in_rotation: bool,
}

/// All slots in use.
#[derive(Debug)]
pub(super) struct CheckSlots {
    limits: Limits,
    all: CheckSlot,
    others: CheckSlot,
}

impl Limits {
    fn hold(self, used: CheckSlot, more: CheckSlot) -> bool {
        // A single check always runs, whatever the limits are.
        used.checks == 0
            || (used.checks + more.checks <= self.checks
                && used.descriptors + more.descriptors <= self.descriptors)
    }

    fn of_others(self) -> Limits {
        let (part, whole) = SHARE_OF_OTHERS;
        let share = |limit: usize| (limit.saturating_mul(part) / whole).max(1);
        Limits { checks: share(self.checks), descriptors: share(self.descriptors) }
    }
}

impl CheckSlots {
    /// The maximum number of checks that run at the same time.
    pub(super) fn limit(&self) -> usize {
        self.limits.checks
    }

    pub(super) fn new(limits: Limits) -> CheckSlots {
        let limits = Limits { checks: limits.checks.max(1), ..limits };
        CheckSlots { limits, all: CheckSlot::default(), others: CheckSlot::default() }
    }

    /// Takes a slot for a check. `None` if no slot is free.
    pub(super) fn take(&mut self, due: &Due) -> Option<CheckSlot> {
        let place = CheckSlot {
            checks: 1,
            descriptors: check::descriptors(&due.probe),
            in_rotation: due.priority == Priority::InRotation,
        };
        let has_room = self.limits.hold(self.all, place)
            && (place.in_rotation || self.limits.of_others().hold(self.others, place));
        if !has_room {
            return None;
        }
        self.all.add(place);
        if !place.in_rotation {
            self.others.add(place);
        }
        Some(place)
    }

    /// Frees a slot.
    pub(super) fn free(&mut self, place: CheckSlot) {
        self.all.remove(place);
        if !place.in_rotation {
            self.others.remove(place);
        }
    }
}

impl CheckSlot {
    fn add(&mut self, other: CheckSlot) {
        self.checks += other.checks;
        self.descriptors += other.descriptors;
    }

    fn remove(&mut self, other: CheckSlot) {
        self.checks -= other.checks;
        self.descriptors -= other.descriptors;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::harness::spec;
    use crate::health::Health;
    use std::collections::BTreeSet;

    /// A check for a server of the given priority.
    fn due(check: &str, priority: Priority) -> Due {
        let spec = spec(&format!("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\t{check}\n"));
        let now = crate::daemon::harness::Harness::new().now;
        let mut found = None;
        Health::new(&spec, &BTreeSet::new(), now).due(&spec, now, |due| {
            found = Some(Due { priority, ..due });
            true
        });
        found.unwrap()
    }

    fn taken(places: &mut CheckSlots, due: &Due) -> usize {
        std::iter::from_fn(|| places.take(due)).take(1000).count()
    }

    #[test]
    fn a11_silent_down_servers_leave_places_for_the_others() {
        let mut places = CheckSlots::new(Limits { checks: 100, descriptors: 1000 });
        assert_eq!(taken(&mut places, &due("checktype=connect", Priority::Out)), 75);
        assert_eq!(taken(&mut places, &due("checktype=connect", Priority::Unseen)), 0);
        assert_eq!(taken(&mut places, &due("checktype=connect", Priority::InRotation)), 25);
    }

    #[test]
    fn a11_a_command_takes_more_descriptors() {
        let command = "checktype=external\n\tcheckcommand=/bin/true";
        let free = Limits { checks: 4096, descriptors: 272 };
        assert_eq!(taken(&mut CheckSlots::new(free), &due(command, Priority::InRotation)), 45);
        assert_eq!(taken(&mut CheckSlots::new(free), &due("checktype=connect", Priority::InRotation)), 272);
        // Pings need no descriptors of their own.
        assert_eq!(taken(&mut CheckSlots::new(free), &due("checktype=ping", Priority::InRotation)), 1000);
    }

    #[test]
    fn a11_one_check_always_runs_and_places_come_back() {
        let mut places = CheckSlots::new(Limits { checks: 0, descriptors: 0 });
        let command = due("checktype=external\n\tcheckcommand=/bin/true", Priority::Out);
        for _ in 0..3 {
            let place = places.take(&command).unwrap();
            assert!(places.take(&command).is_none());
            places.free(place);
        }
    }
}
