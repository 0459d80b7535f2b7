//! The current time on both clocks, to convert between them.

use std::time::{Duration, Instant, SystemTime};

/// One moment on the monotonic clock and on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// On the monotonic clock.
    pub instant: Instant,
    /// On the wall clock.
    pub wall: SystemTime,
}

impl Moment {
    /// Converts a monotonic time to wall time.
    #[must_use]
    pub fn wall_at(self, at: Instant) -> SystemTime {
        let later = at.saturating_duration_since(self.instant);
        let earlier = self.instant.saturating_duration_since(at);
        self.wall.checked_add(later).and_then(|wall| wall.checked_sub(earlier)).unwrap_or(self.wall)
    }

    /// Converts a wall time to monotonic time. Returns this moment if the result is out of range.
    #[must_use]
    pub fn instant_at(self, wall: SystemTime) -> Instant {
        let later = wall.duration_since(self.wall).unwrap_or(Duration::ZERO);
        let earlier = self.wall.duration_since(wall).unwrap_or(Duration::ZERO);
        self.instant.checked_add(later).and_then(|at| at.checked_sub(earlier)).unwrap_or(self.instant)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

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
