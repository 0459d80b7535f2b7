//! CPU time that the checks in flight still need: more checks than this thread can carry out before their deadlines are not started.
//!
//! A TLS handshake costs a hundred times what a connect does. Where thousands begin at once, the last ones end after their deadlines,
//! and servers are marked down that answered in time. So a check is put off while those that have begun are expected to need
//! [`SHARE`] of its deadline. A server that does not answer needs no CPU time: when the loop has nothing to do, it is not counted.
//! Where other processes use the machine, CPU time takes longer than it lasts: that factor is measured, too.

#![expect(clippy::disallowed_methods, reason = "how long the loop is awake needs the clock")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::sys::cpu::thread_time;

/// The part of a check's deadline that the checks before it may need: one in this many.
const SHARE: u32 = 8;

/// A check that has run for this long when the loop has nothing to do waits for a server that is slow.
const PROMPT: Duration = Duration::from_millis(250);

/// How soon a check that was put off is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(20);

/// Over how much time awake the factor is measured.
const SAMPLE: Duration = Duration::from_millis(100);

/// A larger factor is not believed.
const MAX_SLOWDOWN: f64 = 50.0;

thread_local! {
    static IDLE: Cell<bool> = const { Cell::new(false) };
    /// Since when the loop is awake, and how long it was before.
    static AWAKE: Cell<(Option<Instant>, Duration)> = const { Cell::new((None, Duration::ZERO)) };
}

/// How long this thread's loop was not waiting for anything.
fn awake() -> Duration {
    let (since, before) = AWAKE.get();
    since.map_or(before, |since| before + since.elapsed())
}

/// The runtime in which checks are run, which notes when it has nothing to do.
///
/// # Errors
/// When the system gives no event queue.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Steps of checks between two looks at sockets: a TLS handshake takes half a millisecond.
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

/// The checks that have begun and are expected to need CPU time, each with how much.
#[derive(Debug)]
pub(super) struct Backlog {
    expected: BTreeMap<Ticket, Duration>,
    sum: Duration,
    next: u64,
    /// How many times longer than its CPU time a piece of work takes.
    slowdown: f64,
    /// The time awake and the CPU time of the last measurement.
    measured: (Duration, Duration),
}

impl Default for Backlog {
    fn default() -> Backlog {
        let (sum, measured) = (Duration::ZERO, (Duration::ZERO, Duration::ZERO));
        Backlog { expected: BTreeMap::new(), sum, next: 0, slowdown: 1.0, measured }
    }
}

impl Backlog {
    /// Looks whether the loop had nothing to do since the last look: then only checks that have just begun still need CPU time.
    pub(super) fn look(&mut self, now: Instant) {
        self.measure(awake(), thread_time());
        if IDLE.take() {
            self.rest(now);
        }
    }

    /// Takes in how long the loop was awake, and the CPU time that it got.
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

    /// Takes in a check that needs `cost` of CPU time by its `deadline`; none where it has to wait.
    pub(super) fn begin(&mut self, cost: Duration, deadline: Duration, now: Instant) -> Option<Ticket> {
        let needed = (self.sum + cost).mul_f64(self.slowdown);
        if !self.expected.is_empty() && needed > deadline / SHARE {
            return None;
        }
        let ticket = (now, self.next);
        self.next += 1;
        self.sum += cost;
        self.expected.insert(ticket, cost);
        Some(ticket)
    }

    /// A check has ended.
    pub(super) fn end(&mut self, ticket: Ticket) {
        if let Some(cost) = self.expected.remove(&ticket) {
            self.sum -= cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::world::World;

    const COST: Duration = Duration::from_millis(1);
    const DEADLINE: Duration = Duration::from_millis(800);

    /// Begins as many checks as may begin, at most 1,000.
    fn begin(backlog: &mut Backlog, now: Instant) -> Vec<Ticket> {
        (0..1000).map_while(|_| backlog.begin(COST, DEADLINE, now)).collect()
    }

    #[test]
    fn a2_no_more_checks_begin_than_can_end_in_time() {
        let (mut backlog, now) = (Backlog::default(), World::new().now);
        let begun = begin(&mut backlog, now);
        assert_eq!(begun.len(), 100);
        begun.into_iter().take(30).for_each(|ticket| backlog.end(ticket));
        assert_eq!(begin(&mut backlog, now).len(), 30);
        // However dear a check is, it can run alone.
        let mut alone = Backlog::default();
        assert!(alone.begin(DEADLINE, DEADLINE, now).is_some());
        assert!(alone.begin(DEADLINE, DEADLINE, now).is_none());
    }

    #[test]
    fn a2_silent_servers_do_not_keep_others_waiting() {
        let (mut backlog, now) = (Backlog::default(), World::new().now);
        let silent = begin(&mut backlog, now);
        backlog.rest(now + PROMPT / 2);
        assert!(begin(&mut backlog, now + PROMPT / 2).is_empty());
        backlog.rest(now + PROMPT);
        assert_eq!(begin(&mut backlog, now + PROMPT).len(), 100);
        // Their end changes nothing any more.
        silent.into_iter().for_each(|ticket| backlog.end(ticket));
        assert!(begin(&mut backlog, now + PROMPT).is_empty());
    }

    #[test]
    fn a2_fewer_checks_begin_where_cpu_time_is_scarce() {
        let (mut backlog, now) = (Backlog::default(), World::new().now);
        let (mut awake, mut cpu) = (Duration::ZERO, Duration::ZERO);
        let mut goes_on = |backlog: &mut Backlog, got: u64| {
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
