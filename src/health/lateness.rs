//! Detects checks that begin late. Reports once when checks fall behind, and once when they have caught up.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The begin and the end of a period in which checks begin more than one interval late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Punctuality {
    /// Checks have fallen behind.
    Behind {
        /// The server of the first late check.
        server: SocketAddr,
        /// How late that check is.
        late: Duration,
        /// The interval of that check.
        interval: Duration,
        /// The number of checks that are due and have not begun.
        waiting: usize,
    },
    /// No check has been that late for an interval.
    CaughtUp {
        /// The number of checks that began late during the period.
        checks: u64,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lateness {
    /// The number of checks that began more than one interval late, since the start of the daemon.
    pub(super) checks: u64,
    /// The value of `checks` at the begin of the period, and when the period ends without another late check.
    behind: Option<(u64, Instant)>,
    news: Option<Punctuality>,
}

/// A check that is due.
pub(super) struct Waiting {
    pub(super) server: SocketAddr,
    pub(super) slot: Instant,
    pub(super) interval: Duration,
}

impl Lateness {
    /// Records that a check begins.
    pub(super) fn begin(&mut self, check: &Waiting, waiting: usize, now: Instant) {
        if self.look(check, waiting, now) {
            self.checks += 1;
        }
    }

    /// Evaluates a check that begins or still waits. Returns whether it is more than one interval late.
    pub(super) fn look(&mut self, check: &Waiting, waiting: usize, now: Instant) -> bool {
        let late = now.saturating_duration_since(check.slot);
        if late <= check.interval {
            return false;
        }
        let since = self.behind.map_or(self.checks, |(since, _)| since);
        if self.behind.replace((since, now + check.interval)).is_none() {
            let Waiting { server, interval, .. } = *check;
            self.news = Some(Punctuality::Behind { server, late, interval, waiting });
        }
        true
    }

    /// What to report, once.
    pub(super) fn news(&mut self, now: Instant) -> Option<Punctuality> {
        if let Some(news) = self.news.take() {
            return Some(news);
        }
        let (since, _) = self.behind.take_if(|(_, until)| *until < now)?;
        Some(Punctuality::CaughtUp { checks: self.checks - since })
    }
}
