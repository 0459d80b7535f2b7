//! Measures when the loop of the checks ran: the deadline of a check counts only that time.
//!
//! A task of the same loop reads the clock while checks are running. If it runs late, the loop was away: the
//! process was stopped, the machine was suspended, or other tasks kept the loop busy. The clock keeps running
//! during suspend.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::format::spoken;
use crate::value::{Outcome, UnknownCause, Verdict};

/// How often the task reads the clock.
const TICK: Duration = Duration::from_millis(100);
/// Shorter absences are ignored.
const SHORTEST: Duration = Duration::from_millis(500);
/// How many times the deadline of one run may move.
const MOVES: usize = 2;
/// How many absences are kept. A check counts the first two of its run.
const KEPT: usize = 64;
/// The log has at most one line about absences per this time.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// The shortest absence of the director that moves a deadline of this length.
pub(super) fn shortest_absence(deadline: Duration) -> Duration {
    SHORTEST.max(deadline / 10)
}

/// A period in which the loop did not run.
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

/// Records when the loop ran. All times are since boot.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    ticking: bool,
    /// When the task last read the clock.
    seen: Duration,
    gaps: VecDeque<Gap>,
    /// When the next line may be logged.
    quiet_until: Duration,
}

impl State {
    /// The current absence: since the last tick was due, until now.
    fn open_gap(&self, now: Duration) -> Option<Gap> {
        let gap = Gap { from: self.seen + TICK, until: now };
        (gap.since(gap.from) >= SHORTEST).then_some(gap)
    }

    /// Records a reading of the clock. Returns the absence that it ends.
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

    /// By how much the deadline moves for a run that began at `start`.
    fn missed(&self, start: Duration, deadline: Duration, now: Duration) -> Duration {
        let least = shortest_absence(deadline);
        let gaps = self.gaps.iter().copied().chain(self.open_gap(now));
        gaps.map(|gap| gap.since(start)).filter(|missed| *missed >= least).take(MOVES).sum()
    }
}

impl Attendance {
    /// Registers the start of a run of a check.
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

    /// Reads the clock at intervals while a check is running.
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
                    "The daemon did not run for {} (stopped, suspended, or too little CPU time): the deadlines of running \
                     checks move by this time. Further absences within a minute are not logged",
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
    /// When the run began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The result of a check, or none at its deadline, which moves by the time in which the loop did not run. At
    /// the deadline sockets that are ready are polled once more.
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

    /// Corrects a verdict from before the deadline: a failure is `Unknown` if the loop was away during the check.
    pub(super) fn judge(&self, deadline: Duration, verdict: Verdict) -> Verdict {
        let missed = self.missed(deadline);
        if verdict.outcome != Outcome::Down
            || missed.is_zero()
            || self.began.elapsed() >= deadline.saturating_add(missed)
        {
            return verdict;
        }
        let reason =
            format!("{}; the daemon did not run for {} during the check", verdict.reason, spoken(missed));
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

/// The time since boot, including suspend. Zero if there is no such clock.
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
        // The loop ran, or was away for less than a tenth of the deadline.
        assert_eq!(missed(&[0.1, 0.2, 0.3], 0.0, 0.35), 0.0);
        assert_eq!(missed(&[0.1, 0.65], 0.0, 0.7), 0.0);
        // Away for 8 s, whether the task or the check notices first.
        assert_eq!(missed(&[0.1, 8.2], 0.0, 8.2), 8.0);
        assert_eq!(missed(&[0.1], 0.0, 8.2), 8.0);
        // Only absences during the check count, at most two.
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
