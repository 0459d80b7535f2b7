//! Tracks checks that the director cannot carry out: how many, why, and when such a period begins and ends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::CheckId;
use crate::spec::CheckKey;
use crate::value::{Outcome, UnknownCause, Unreachable, Verdict};

/// Minimum of [`limit`].
const SHORTEST: Duration = Duration::from_secs(60);
/// Number of intervals in [`limit`].
const INTERVALS: u32 = 3;

/// The time without a definite verdict after which the state of the servers of a check is unknown.
pub(super) fn limit(key: &CheckKey) -> Duration {
    let intervals = key.interval.saturating_mul(INTERVALS);
    intervals.saturating_add(key.probe.deadline).max(SHORTEST)
}

/// Why checks are not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impossible {
    /// The checks have no result.
    Unknown(UnknownCause),
    /// There is no route or link to the servers. They count as down.
    NoRoute,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Impossible::Unknown(cause) => cause.fmt(f),
            Impossible::NoRoute => f.write_str("no route or no link to the servers"),
        }
    }
}

/// The begin and the end of a period in which checks are not possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blindness {
    /// The last definite verdict is too old, or more than half of all checks failed on the director itself.
    Begins {
        /// The reason.
        why: Impossible,
        /// The number of checks whose last run failed for this reason.
        checks: usize,
        /// The number of all checks.
        all: usize,
    },
    /// No check failed for this reason in its last run.
    Ends {
        /// The reason.
        why: Impossible,
        /// The maximum number of checks that failed for this reason at once.
        checks: usize,
        /// The number of all checks.
        all: usize,
        /// The time from the first of these failures to now.
        lasted: Duration,
    },
}

impl fmt::Display for Blindness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blindness::Begins { why, checks, all } => {
                write!(f, "{checks} of {all} checks not possible: {why}")
            }
            Blindness::Ends { why, checks, all, lasted } => {
                let seconds = lasted.as_millis().div_ceil(1000);
                write!(
                    f,
                    "Checks are possible again: {checks} of {all} were not possible for {seconds} s: {why}"
                )
            }
        }
    }
}

/// The checks whose last run was not possible.
#[derive(Clone, Debug, Default)]
pub(super) struct ImpossibleChecks {
    /// The reason, and whether the state of the servers is unknown by now.
    checks: BTreeMap<CheckId, (Impossible, bool)>,
    counts: BTreeMap<Impossible, Count>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    checks: usize,
    most: usize,
    overdue: usize,
    reported: bool,
}

impl Count {
    fn new(since: Instant) -> Count {
        Count { since, checks: 0, most: 0, overdue: 0, reported: false }
    }
}

impl ImpossibleChecks {
    /// Records the verdict of a check. `overdue`: the state of its servers is unknown by now.
    pub(super) fn note(&mut self, id: CheckId, verdict: &Verdict, overdue: bool, now: Instant) {
        let why = match verdict.outcome {
            Outcome::Unknown(cause) => Some(Impossible::Unknown(cause)),
            _ => (verdict.unreachable == Some(Unreachable::NoRoute)).then_some(Impossible::NoRoute),
        };
        let before = match why {
            Some(why) => self.checks.insert(id, (why, overdue)),
            None => self.checks.remove(&id),
        };
        if let Some(why) = why {
            let count = self.counts.entry(why).or_insert_with(|| Count::new(now));
            count.checks += 1;
            count.overdue += usize::from(overdue);
        }
        self.subtract(before);
        if let Some(count) = why.and_then(|why| self.counts.get_mut(&why)) {
            count.most = count.most.max(count.checks);
        }
    }

    /// Forgets the last verdict of a check that was skipped.
    pub(super) fn forget(&mut self, id: CheckId) {
        let before = self.checks.remove(&id);
        self.subtract(before);
    }

    /// Forgets removed checks.
    pub(super) fn retain(&mut self, knows: impl Fn(CheckId) -> bool) {
        let gone: Vec<CheckId> = self.checks.keys().copied().filter(|id| !knows(*id)).collect();
        gone.into_iter().for_each(|id| self.forget(id));
    }

    fn subtract(&mut self, before: Option<(Impossible, bool)>) {
        if let Some((why, overdue)) = before
            && let Some(count) = self.counts.get_mut(&why)
        {
            count.checks -= 1;
            count.overdue -= usize::from(overdue);
        }
    }

    /// The periods that begin and end now. `all`: the number of all checks. `all_seen`: whether each check has run.
    /// Until then no period ends, because a reload may have replaced the failed checks by new ones.
    pub(super) fn news(&mut self, all: usize, all_seen: bool, now: Instant) -> Vec<Blindness> {
        let mut news = Vec::new();
        self.counts.retain(|why, count| {
            if !count.reported && (count.overdue > 0 || (is_local(*why) && count.checks * 2 > all)) {
                count.reported = true;
                news.push(Blindness::Begins { why: *why, checks: count.checks, all });
            }
            let ends = count.checks == 0 && all_seen;
            if ends && count.reported {
                let (checks, lasted) = (count.most, now.saturating_duration_since(count.since));
                news.push(Blindness::Ends { why: *why, checks, all: all.max(checks), lasted });
            }
            !ends
        });
        news
    }
}

/// Whether a cause is reported as soon as it affects most checks. A late director is often over soon, and has its
/// own report.
fn is_local(why: Impossible) -> bool {
    matches!(
        why,
        Impossible::NoRoute | Impossible::Unknown(UnknownCause::OwnLimit(_) | UnknownCause::Forbidden(_))
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, Answers};
    use crate::health::{Health, HealthEvent, Transition};
    use crate::spec::Spec;

    const CAUSES: [UnknownCause; 7] = [
        UnknownCause::Resolver,
        UnknownCause::OwnLimit("no free local port"),
        UnknownCause::Forbidden("permission denied on the director"),
        UnknownCause::QueueFull,
        UnknownCause::NotStarted,
        UnknownCause::DryRun,
        UnknownCause::Panic,
    ];

    struct Harness {
        spec: Spec,
        health: Health,
        now: Instant,
    }

    impl Harness {
        /// Four servers, checked every 10 s and found up.
        #[expect(clippy::disallowed_methods, reason = "a test needs a start time")]
        fn new(unchecked_is_down: bool) -> Harness {
            let spec = Harness::spec("");
            let now = Instant::now();
            let mut health = Health::new(&spec, &BTreeSet::new(), now);
            health.set_unchecked_is_down(unchecked_is_down);
            let mut harness = Harness { spec, health, now };
            harness.round(|_| Outcome::Up);
            harness
        }

        fn spec(more: &str) -> Spec {
            let reals: String = (2..6).map(|n| format!("\treal=10.0.0.{n}:80 masq\n")).collect();
            let text = format!("checkinterval=10\nchecktimeout=5\nvirtual=10.0.0.1:80\n\t{more}\n{reals}");
            let config = config::load(text.as_bytes(), &Answers::new("director")).config.unwrap();
            Spec::new(Arc::new(config))
        }

        fn reload(&mut self, more: &str) {
            let spec = Harness::spec(more);
            self.health = self.health.carry_over(&self.spec, &spec, &BTreeSet::new(), self.now);
            self.spec = spec;
        }

        /// Runs every check ten seconds later. `outcome` gives the result by the last byte of the server's address.
        fn round(&mut self, outcome: impl Fn(u8) -> Outcome) -> Vec<(String, HealthEvent)> {
            self.now += Duration::from_secs(10);
            let mut due = Vec::new();
            self.health.hurry_all(self.now);
            self.health.due(&self.spec, self.now, |check| {
                due.push(check);
                true
            });
            let mut events = Vec::new();
            for check in due {
                let last = check.probe.target.to_string().chars().nth(7).and_then(|digit| digit.to_digit(10));
                let verdict = Verdict::new(outcome(u8::try_from(last.unwrap()).unwrap()), "test");
                let all = self.health.verdict(&self.spec, check.id, verdict, self.now);
                let name = |t: &Transition| self.spec.member(t.member).1.address.to_string();
                events.extend(all.iter().map(|t| (name(t), t.event.clone())));
            }
            events.sort_by(|a, b| a.0.cmp(&b.0));
            events
        }

        fn up(&self) -> Vec<bool> {
            self.spec.members().map(|member| self.health.server(member).checked().is_up()).collect()
        }

        fn news(&mut self) -> Vec<String> {
            self.health.blindness(&self.spec, self.now).iter().map(ToString::to_string).collect()
        }
    }

    /// The checks of three servers are not possible, and the fourth is down.
    fn blind(cause: UnknownCause) -> impl Fn(u8) -> Outcome {
        move |server| if server == 5 { Outcome::Down } else { Outcome::Unknown(cause) }
    }

    #[test]
    fn a5_each_cause_has_an_end_and_spares_the_healthy() {
        for cause in CAUSES {
            let mut harness = Harness::new(false);
            let events = harness.round(blind(cause));
            let last = events.last().unwrap();
            assert!(last.0 == "10.0.0.5:80" && matches!(last.1, HealthEvent::Down(_)), "{cause}: {last:?}");
            let mut news = harness.news();
            for _ in 0..5 {
                assert!(harness.spec.members().all(|member| !harness.health.server(member).is_overdue()));
                assert_eq!(harness.round(blind(cause)), [], "{cause}");
                news.extend(harness.news());
            }
            // Reported once: at once if the cause is this machine's network, otherwise when the last verdict is 60
            // s old.
            assert_eq!(news, [format!("3 of 4 checks not possible: {cause}")]);
            assert_eq!(harness.up(), [true, true, true, false], "{cause}");
            let unchecked: Vec<bool> =
                harness.spec.members().map(|member| harness.health.server(member).is_overdue()).collect();
            assert_eq!(unchecked, [true, true, true, false], "{cause}");
            harness.round(|_| Outcome::Up);
            let end = format!("Checks are possible again: 3 of 4 were not possible for 60 s: {cause}");
            assert_eq!(harness.news(), [end]);
            assert_eq!(harness.up(), [true; 4]);
        }
    }

    /// The checks with the old keys are gone, and those with the new keys have not run yet.
    #[test]
    fn a5_a_reload_ends_no_trouble() {
        let cause = UnknownCause::OwnLimit("no free local port");
        let mut harness = Harness::new(false);
        harness.round(blind(cause));
        assert_eq!(harness.news().len(), 1);
        harness.reload("service=http\n\trequest=\"other\"");
        assert_eq!(harness.news(), [""; 0]);
        harness.round(blind(cause));
        assert_eq!(harness.news(), [""; 0]);
        harness.round(|_| Outcome::Up);
        assert!(harness.news()[0].starts_with("Checks are possible again"));
    }

    #[test]
    fn a5_unchecked_servers_go_down_where_that_is_wanted() {
        let mut harness = Harness::new(true);
        for _ in 0..5 {
            harness.round(blind(UnknownCause::NotStarted));
            assert_eq!(harness.up(), [true, true, true, false]);
        }
        let events = harness.round(blind(UnknownCause::NotStarted));
        assert_eq!(
            events.iter().filter(|(_, event)| matches!(event, HealthEvent::Down(_))).count(),
            3,
            "{events:?}"
        );
        assert_eq!(harness.up(), [false; 4]);
    }

    #[test]
    fn a5_unknown_brings_nothing_in_and_counts_no_failure() {
        let mut harness = Harness::new(false);
        harness.round(|_| Outcome::Down);
        harness.round(|_| Outcome::Unknown(UnknownCause::NotStarted));
        assert_eq!(harness.up(), [false; 4]);
        assert!(harness.spec.members().all(|member| harness.health.server(member).checked().failures() == 1));
    }
}
