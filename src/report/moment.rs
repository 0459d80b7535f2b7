//! One moment on both clocks.

use std::time::{Duration, Instant, SystemTime};

/// A moment on the clock that the daemon counts with, and on that of the wall: times that people and files know are converted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the clock that only runs forward.
    pub instant: Instant,
    /// By the wall clock.
    pub wall: SystemTime,
}

impl Moment {
    /// What the wall clock said, or will say, at another moment.
    #[must_use]
    pub fn wall_at(self, at: Instant) -> SystemTime {
        let later = at.saturating_duration_since(self.instant);
        let earlier = self.instant.saturating_duration_since(at);
        self.wall.checked_add(later).and_then(|wall| wall.checked_sub(earlier)).unwrap_or(self.wall)
    }

    /// The moment at which the wall clock said this, or will. This moment itself where that is out of reach.
    #[must_use]
    pub fn instant_at(self, wall: SystemTime) -> Instant {
        let later = wall.duration_since(self.wall).unwrap_or(Duration::ZERO);
        let earlier = self.wall.duration_since(wall).unwrap_or(Duration::ZERO);
        self.instant.checked_add(later).and_then(|at| at.checked_sub(earlier)).unwrap_or(self.instant)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test begins now")]

    use super::*;

    #[test]
    fn times_are_converted_both_ways() {
        let now = Moment { instant: Instant::now(), wall: SystemTime::now() };
        let hour = Duration::from_secs(3600);
        for wall in [now.wall, now.wall + hour, now.wall - hour] {
            assert_eq!(now.wall_at(now.instant_at(wall)), wall);
        }
        assert_eq!(now.instant_at(now.wall + hour), now.instant + hour);
        assert_eq!(now.instant_at(now.wall - hour), now.instant - hour);
    }
}
