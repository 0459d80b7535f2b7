//! CPU time on the thread of the loop: what each check costs, and turns of the loop that are too long.

#![expect(clippy::disallowed_methods, reason = "how often a long turn is reported needs the clock")]

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::sys::cpu::thread_time;

/// A turn of the loop that uses more CPU time than this is reported.
const LONG: Duration = Duration::from_millis(50);

/// From one report of long turns to the next.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Runs a future, and tells `spent` the CPU time of each of its polls.
pub(super) async fn measured<T>(future: impl Future<Output = T>, mut spent: impl FnMut(Duration)) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        let before = thread_time();
        let result: Poll<T> = future.as_mut().poll(context);
        spent(thread_time().saturating_sub(before));
        result
    })
    .await
}

/// Reports long turns: the first at once, further ones once a minute.
#[derive(Debug, Default)]
pub(super) struct Turns {
    reported: Option<Instant>,
    long: u64,
    longest: Duration,
}

impl Turns {
    /// Takes in one turn.
    pub(super) fn spent(&mut self, cpu: Duration) {
        if cpu > LONG
            && let Some(line) = self.report(cpu, Instant::now())
        {
            warn!("{line}");
        }
    }

    fn report(&mut self, cpu: Duration, now: Instant) -> Option<String> {
        self.long += 1;
        self.longest = self.longest.max(cpu);
        if self.reported.is_some_and(|at| now < at + REPORT_INTERVAL) {
            return None;
        }
        self.reported = Some(now);
        let (long, longest) = (std::mem::take(&mut self.long), std::mem::take(&mut self.longest));
        Some(format!(
            "{long} turns of the daemon's loop used more than {} ms of CPU time, the longest {} ms; no check is read in such a \
             time. Divide the configuration between two daemons if this goes on",
            LONG.as_millis(),
            longest.as_millis()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a11_long_turns_are_reported_once_a_minute() {
        let mut turns = Turns::default();
        let begin = Instant::now();
        let ms = Duration::from_millis;
        assert!(turns.report(ms(73), begin).unwrap().contains("1 turns of the daemon's loop"));
        assert_eq!(turns.report(ms(90), begin + ms(1000)), None);
        let later = turns.report(ms(60), begin + ms(61_000)).unwrap();
        assert!(later.starts_with("2 turns") && later.contains("the longest 90 ms"), "{later}");
    }

    #[tokio::test]
    async fn a11_each_poll_is_measured() {
        let mut polls = 0;
        let mut cpu = Duration::ZERO;
        let work = async {
            let begin = thread_time();
            while thread_time() - begin < Duration::from_millis(5) {}
            tokio::task::yield_now().await;
            7
        };
        let result = measured(work, |spent| {
            polls += 1;
            cpu += spent;
        });
        assert_eq!(result.await, 7);
        assert_eq!(polls, 2);
        assert!(cpu >= Duration::from_millis(5), "{cpu:?}");
    }
}
