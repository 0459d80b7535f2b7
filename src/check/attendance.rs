//! Whether the loop of the checks ran: the deadline of a check counts only time in which it did.
//!
//! A task of the same loop looks at the clock while checks are in flight. Where it comes late, the loop was away: the process was
//! stopped, the machine slept, or other tasks kept the loop busy. The clock goes on while the machine sleeps.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::say::spoken;
use crate::value::{Outcome, UnknownCause, Verdict};

/// How often the task looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// A shorter absence changes nothing.
const SHORTEST: Duration = Duration::from_millis(500);
/// How often the deadline of one run moves.
const MOVES: usize = 2;
/// How many absences are kept. A check looks at the first two of its life.
const KEPT: usize = 64;
/// The log has at most one line about absences in this time.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// The shortest absence of the director that moves a deadline of this length.
pub(super) fn shortest_absence(deadline: Duration) -> Duration {
    SHORTEST.max(deadline / 10)
}

/// A time in which the loop did not run.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: Duration,
    until: Duration,
}

impl Gap {
    fn since(&self, start: Duration) -> Duration {
        self.until.saturating_sub(self.from.max(start))
    }
}

/// When the loop ran. All times are those of the clock since the machine was started.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    ticking: bool,
    /// When the task looked at the clock last.
    seen: Duration,
    gaps: VecDeque<Gap>,
    /// When the log may have its next line.
    quiet_until: Duration,
}

impl State {
    /// The absence that has no end yet, as far as anybody has noticed.
    fn open_gap(&self, now: Duration) -> Option<Gap> {
        let gap = Gap { from: self.seen + TICK, until: now };
        (gap.since(gap.from) >= SHORTEST).then_some(gap)
    }

    /// Looks at the clock; gives the absence that ends with it.
    fn tick(&mut self, now: Duration) -> Option<Gap> {
        let gap = self.open_gap(now);
        self.seen = now;
        if let Some(gap) = gap {
            if self.gaps.len() == KEPT {
                self.gaps.pop_front();
            }
            self.gaps.push_back(gap);
        }
        gap
    }

    /// How much later the deadline of a run is that began at `start`.
    fn missed(&self, start: Duration, deadline: Duration, now: Duration) -> Duration {
        let least = shortest_absence(deadline);
        let gaps = self.gaps.iter().copied().chain(self.open_gap(now));
        gaps.map(|gap| gap.since(start)).filter(|missed| *missed >= least).take(MOVES).sum()
    }
}

impl Attendance {
    /// Notes that a run of a check begins.
    pub(super) fn enter(self: &Arc<Attendance>) -> Shift {
        let start = boot_time();
        let mut state = self.state();
        state.in_flight += 1;
        if !std::mem::replace(&mut state.ticking, true) {
            state.seen = start;
            tokio::spawn(Arc::clone(self).watch());
        }
        drop(state);
        Shift { attendance: Arc::clone(self), start, began: Instant::now() }
    }

    /// Looks at the clock as long as a check is in flight.
    async fn watch(self: Arc<Attendance>) {
        loop {
            sleep(TICK).await;
            let now = boot_time();
            let mut state = self.state();
            if let Some(gap) = state.tick(now)
                && state.quiet_until <= now
            {
                state.quiet_until = now + LOG_PAUSE;
                warn!(
                    "The daemon did not run for {} (stopped, suspended, or too little CPU time): the deadlines of checks in \
                     flight move by this time; further times within a minute are not logged",
                    spoken(gap.since(gap.from))
                );
            }
            if state.in_flight == 0 {
                state.ticking = false;
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One run of a check, from its start until it is dropped.
pub(super) struct Shift {
    attendance: Arc<Attendance>,
    start: Duration,
    began: Instant,
}

impl Shift {
    /// Since when the run lasts.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The result of a check that comes before its deadline, which moves by the time in which the loop did not run; none after it.
    /// When the deadline has come, sockets that are ready are polled once more.
    pub(super) async fn within<T>(
        &self,
        deadline: Duration,
        mut check: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let mut limit = deadline;
        loop {
            if let Ok(result) = timeout(limit.saturating_sub(self.began.elapsed()), check.as_mut()).await {
                return Some(result);
            }
            tokio::task::yield_now().await;
            let polled = std::future::poll_fn(|context| Poll::Ready(check.as_mut().poll(context))).await;
            if let Poll::Ready(result) = polled {
                return Some(result);
            }
            let moved = deadline.saturating_add(self.missed(deadline));
            if moved <= limit {
                return None;
            }
            limit = moved;
        }
    }

    /// What a verdict is worth that came before the deadline: a failure says nothing of the server if the loop was away meanwhile.
    pub(super) fn judge(&self, deadline: Duration, verdict: Verdict) -> Verdict {
        let missed = self.missed(deadline);
        if verdict.outcome != Outcome::Down
            || missed.is_zero()
            || self.began.elapsed() >= deadline.saturating_add(missed)
        {
            return verdict;
        }
        let reason = format!("{}; the daemon did not run for {} meanwhile", verdict.reason, spoken(missed));
        let late = Verdict { outcome: Outcome::Unknown(UnknownCause::DirectorLate), ..verdict };
        Verdict { reason, ..late }
    }

    fn missed(&self, deadline: Duration) -> Duration {
        self.attendance.state().missed(self.start, deadline, boot_time())
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        self.attendance.state().in_flight -= 1;
    }
}

/// The time since the machine was started, with the time in which it slept. Zero where there is no such clock.
fn boot_time() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn state(ticks: &[f64]) -> State {
        let mut state = State::default();
        for tick in ticks {
            state.tick(seconds(*tick));
        }
        state
    }

    #[test]
    fn a1_a_deadline_moves_by_each_of_two_absences() {
        let missed = |ticks: &[f64], start, now| {
            let missed = state(ticks).missed(seconds(start), DEADLINE, seconds(now));
            (missed.as_secs_f64() * 10.0).round() / 10.0
        };
        // The loop was there, or away for less than a tenth of the deadline.
        assert_eq!(missed(&[0.1, 0.2, 0.3], 0.0, 0.35), 0.0);
        assert_eq!(missed(&[0.1, 0.65], 0.0, 0.7), 0.0);
        // Away for 8 s, whoever looks first.
        assert_eq!(missed(&[0.1, 8.2], 0.0, 8.2), 8.0);
        assert_eq!(missed(&[0.1], 0.0, 8.2), 8.0);
        // Only what fell into the life of the check, and no more than two.
        assert_eq!(missed(&[0.1, 8.2], 6.0, 8.3), 2.2);
        assert_eq!(missed(&[0.1, 8.2], 8.2, 8.3), 0.0);
        assert_eq!(missed(&[0.1, 1.2, 2.3, 5.4], 0.0, 5.5), 2.0);
    }

    #[test]
    fn a1_absences_are_kept_within_bounds() {
        let mut state = State::default();
        for tick in 1..1000 {
            state.tick(Duration::from_secs(tick));
        }
        assert_eq!(state.gaps.len(), KEPT);
    }
}
