//! Measures CPU time on the loop's thread: of each check, and of each turn of the loop. Reports long turns.

#![expect(clippy::disallowed_methods, reason = "limits how often long turns are reported")]

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::sys::cpu::thread_time;

/// A turn of the loop that uses more CPU time than this is reported.
const LONG: Duration = Duration::from_millis(50);

/// Minimum time between two reports of long turns.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Runs a future, and calls `spent` with the CPU time of each poll.
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
    /// Records one turn.
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
        let turns = if long == 1 { "turn" } else { "turns" };
        Some(format!(
            "{long} {turns} of the daemon's loop used more than {} ms of CPU time, the longest {} ms; answers of servers wait during \
             that time. If this continues, divide the configuration between two daemons",
            LONG.as_millis(),
            longest.as_millis()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::checks::PER_TURN;
    use crate::daemon::harness::{Harness, spec};
    use crate::daemon::kernel;
    use crate::spec::Spec;
    use crate::value::Verdict;

    #[test]
    fn a11_long_turns_are_reported_once_a_minute() {
        let mut turns = Turns::default();
        let begin = Instant::now();
        let ms = Duration::from_millis;
        assert!(turns.report(ms(73), begin).unwrap().starts_with("1 turn of the daemon's loop"));
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

    fn spec_of_5000(timeout: u32) -> Spec {
        let mut text = format!("quiescent=yes\nchecktimeout={timeout}\n");
        for service in 0..50 {
            text.push_str(&format!("virtual=10.0.0.1:{}\n\tchecktype=connect\n", 1000 + service));
            for host in 1..=100 {
                text.push_str(&format!("\treal=10.1.{service}.{host}:80 masq\n"));
            }
        }
        spec(&text)
    }

    /// Of 5,000 servers, as many fail at once as one turn processes.
    #[test]
    fn a11_a_turn_with_5000_servers_is_short() {
        let mut harness = Harness::new();
        harness.start(spec_of_5000(5));
        let now = harness.now;
        let due = |harness: &mut Harness, count: usize, verdict: &Verdict| {
            let mut verdicts = Vec::new();
            harness.director().hurry_all(now);
            harness.director().due(now, |check| {
                let starts = verdicts.len() < count;
                verdicts.extend(starts.then(|| (check.id, verdict.clone())));
                starts
            });
            verdicts
        };
        let all = due(&mut harness, 5000, &Verdict::up("fine"));
        harness.director().verdicts(all, now);
        harness.settle();
        let verdicts = due(&mut harness, PER_TURN, &Verdict::down("gone"));
        let before = thread_time();
        harness.director().verdicts(verdicts, now);
        let events = harness.settle();
        let cpu = thread_time() - before;
        assert_eq!(events.len(), 2 * PER_TURN, "{} events", events.len());
        assert_short(cpu);
    }

    fn assert_short(cpu: Duration) {
        // Without optimization it takes about ten times as long.
        let limit = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 10 });
        println!("{cpu:?} of CPU time");
        assert!(cpu < limit, "{cpu:?} of CPU time");
    }

    /// A reload that changes every check of 5,000 servers is divided into short turns.
    #[test]
    fn a11_a_reload_with_5000_servers_is_short() {
        let mut harness = Harness::new();
        harness.start(spec_of_5000(5));
        harness.round();
        let next = spec_of_5000(6);
        let now = harness.now;
        let mut longest = Duration::ZERO;
        let mut begin = thread_time();
        harness.director().reload(next);
        loop {
            let step = harness.director().next_step();
            longest = longest.max(thread_time() - begin);
            let Some(done) = kernel::perform(&mut harness.kernel, step) else { break };
            begin = thread_time();
            harness.director().done(done, now);
            drop(harness.director().take_events());
            drop(harness.director().take_touched());
        }
        assert!(harness.director().take_replaced().is_some());
        assert_short(longest);
    }

    /// A plan works on a copy, which is made on the loop's thread.
    #[test]
    fn a11_a_copy_of_5000_servers_is_short() {
        let mut harness = Harness::new();
        harness.start(spec_of_5000(5));
        harness.round();
        let before = thread_time();
        let copy = (harness.director().clone(), harness.director().spec().clone());
        assert_short(thread_time() - before);
        assert_eq!(copy.0.spec().checks().len(), 5000);
    }
}
