//! Limits the checks in flight by the CPU time that they still need, so that this thread can finish each before its
//! deadline.
//!
//! A TLS handshake costs a hundred times as much as a connect. If thousands begin at once, the last ones end after
//! their deadlines, and servers that answered in time are marked down. So a check is delayed while the running
//! checks are expected to need [`SHARE`] of its deadline. A server that does not answer needs no CPU time: its
//! check is not counted once the loop is idle. If other processes use the machine, work takes longer than its CPU
//! time: that factor is measured, too.

#![expect(clippy::disallowed_methods, reason = "measures how long the loop is awake")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::sys::cpu::thread_time;

/// The checks before a check may need one part in this many of its deadline.
const SHARE: u32 = 8;

/// A check that has run for this long when the loop is idle waits for a slow server.
const PROMPT: Duration = Duration::from_millis(250);

/// Time until a delayed check is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(20);

/// Time awake per measurement of the factor.
const SAMPLE: Duration = Duration::from_millis(100);

/// Maximum of a measured factor. Larger values are treated as errors of measurement.
const MAX_SLOWDOWN: f64 = 50.0;

thread_local! {
    static IDLE: Cell<bool> = const { Cell::new(false) };
    /// When the loop last woke up, and how long it was awake before that.
    static AWAKE: Cell<(Option<Instant>, Duration)> = const { Cell::new((None, Duration::ZERO)) };
}

/// The total time that this thread's loop has been awake.
fn awake() -> Duration {
    let (since, before) = AWAKE.get();
    since.map_or(before, |since| before + since.elapsed())
}

/// Creates the runtime for checks. It records when it is idle.
///
/// # Errors
/// The system refuses an event queue.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Task polls between two polls of the sockets: a TLS handshake takes half a millisecond.
        .event_interval(16)
        .on_thread_park(|| {
            IDLE.set(true);
            AWAKE.set((None, awake()));
        })
        .on_thread_unpark(|| AWAKE.set((Some(Instant::now()), awake())))
        .build()
}

/// When a check began, and its number.
pub(super) type Ticket = (Instant, u64);

/// The running checks that still need CPU time, and how much each is expected to need.
#[derive(Debug)]
pub(super) struct CheckBacklog {
    expected: BTreeMap<Ticket, Duration>,
    sum: Duration,
    next: u64,
    /// Elapsed time divided by CPU time.
    slowdown: f64,
    /// Time awake and CPU time at the last measurement.
    measured: (Duration, Duration),
}

impl Default for CheckBacklog {
    fn default() -> CheckBacklog {
        let (sum, measured) = (Duration::ZERO, (Duration::ZERO, Duration::ZERO));
        CheckBacklog { expected: BTreeMap::new(), sum, next: 0, slowdown: 1.0, measured }
    }
}

impl CheckBacklog {
    /// Updates the estimates. If the loop was idle since the last call, only checks that have just begun still need
    /// CPU time.
    pub(super) fn look(&mut self, now: Instant) {
        self.measure(awake(), thread_time());
        if IDLE.take() {
            self.rest(now);
        }
    }

    /// Updates the factor from the total time awake and the total CPU time.
    fn measure(&mut self, awake: Duration, cpu: Duration) {
        let (awake_before, cpu_before) = self.measured;
        let (awake_for, got) = (awake.saturating_sub(awake_before), cpu.saturating_sub(cpu_before));
        if awake_for >= SAMPLE {
            let factor = awake_for.as_secs_f64() / got.as_secs_f64().max(0.001);
            self.slowdown = f64::midpoint(self.slowdown, factor.clamp(1.0, MAX_SLOWDOWN));
            self.measured = (awake, cpu);
        }
    }

    fn rest(&mut self, now: Instant) {
        while let Some(first) = self.expected.first_entry().filter(|first| first.key().0 + PROMPT <= now) {
            self.sum -= first.remove();
        }
    }

    /// Registers a check that needs `cost` of CPU time before its `deadline`. Returns `None` if the check has to wait.
    pub(super) fn begin(&mut self, cost: Duration, deadline: Duration, now: Instant) -> Option<Ticket> {
        let needed = (self.sum + cost).mul_f64(self.slowdown);
        if !self.expected.is_empty() && needed > deadline / SHARE {
            return None;
        }
        Some(self.begin_now(cost, now))
    }

    /// Registers a check that does not wait.
    pub(super) fn begin_now(&mut self, cost: Duration, now: Instant) -> Ticket {
        let ticket = (now, self.next);
        self.next += 1;
        self.sum += cost;
        self.expected.insert(ticket, cost);
        ticket
    }

    /// Removes a check that has ended.
    pub(super) fn end(&mut self, ticket: Ticket) {
        if let Some(cost) = self.expected.remove(&ticket) {
            self.sum -= cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::harness::Harness;

    const COST: Duration = Duration::from_millis(1);
    const DEADLINE: Duration = Duration::from_millis(800);

    /// Begins as many checks as may begin, at most 1,000.
    fn begin(backlog: &mut CheckBacklog, now: Instant) -> Vec<Ticket> {
        (0..1000).map_while(|_| backlog.begin(COST, DEADLINE, now)).collect()
    }

    #[test]
    fn a2_no_more_checks_begin_than_can_end_in_time() {
        let (mut backlog, now) = (CheckBacklog::default(), Harness::new().now);
        let begun = begin(&mut backlog, now);
        assert_eq!(begun.len(), 100);
        begun.into_iter().take(30).for_each(|ticket| backlog.end(ticket));
        assert_eq!(begin(&mut backlog, now).len(), 30);
        // However expensive a check is, it can run alone.
        let mut alone = CheckBacklog::default();
        assert!(alone.begin(DEADLINE, DEADLINE, now).is_some());
        assert!(alone.begin(DEADLINE, DEADLINE, now).is_none());
    }

    #[test]
    fn a2_silent_servers_do_not_keep_others_waiting() {
        let (mut backlog, now) = (CheckBacklog::default(), Harness::new().now);
        let silent = begin(&mut backlog, now);
        backlog.rest(now + PROMPT / 2);
        assert!(begin(&mut backlog, now + PROMPT / 2).is_empty());
        backlog.rest(now + PROMPT);
        assert_eq!(begin(&mut backlog, now + PROMPT).len(), 100);
        // Their end no longer changes anything.
        silent.into_iter().for_each(|ticket| backlog.end(ticket));
        assert!(begin(&mut backlog, now + PROMPT).is_empty());
    }

    #[test]
    fn a2_fewer_checks_begin_where_cpu_time_is_scarce() {
        let (mut backlog, now) = (CheckBacklog::default(), Harness::new().now);
        let (mut awake, mut cpu) = (Duration::ZERO, Duration::ZERO);
        let mut goes_on = |backlog: &mut CheckBacklog, got: u64| {
            for _ in 0..20 {
                awake += Duration::from_millis(100);
                cpu += Duration::from_millis(got);
                backlog.measure(awake, cpu);
            }
        };
        goes_on(&mut backlog, 25);
        let begun = begin(&mut backlog, now);
        assert_eq!(begun.len(), 25);
        begun.into_iter().for_each(|ticket| backlog.end(ticket));
        goes_on(&mut backlog, 100);
        assert!(begin(&mut backlog, now).len() >= 99);
    }

    #[test]
    fn the_runtime_notes_that_it_had_nothing_to_do() {
        let runtime = runtime().unwrap();
        IDLE.set(false);
        runtime.block_on(async { tokio::task::yield_now().await });
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        assert!(IDLE.take());
    }
}
