//! Whether checks begin on time. A director that falls behind reports it once, and once more when it has caught up.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The begin and the end of a time in which checks begin more than one interval late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Punctuality {
    /// Checks have fallen behind.
    Behind {
        /// The server whose check was the first.
        server: SocketAddr,
        /// How late it is.
        late: Duration,
        /// Its interval.
        interval: Duration,
        /// Checks that are due and have not begun.
        waiting: usize,
    },
    /// No check has been that late for an interval.
    CaughtUp {
        /// How many checks began late meanwhile.
        checks: u64,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lateness {
    /// Checks that began more than one interval late, since the start of the daemon.
    pub(super) checks: u64,
    /// `checks` when they fell behind, and until when they count as behind.
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
    /// A check begins.
    pub(super) fn begin(&mut self, check: &Waiting, waiting: usize, now: Instant) {
        if self.look(check, waiting, now) {
            self.checks += 1;
        }
    }

    /// Looks at a check that begins or goes on waiting; gives whether it is more than an interval late.
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

    /// What is to be told, once.
    pub(super) fn news(&mut self, now: Instant) -> Option<Punctuality> {
        if let Some(news) = self.news.take() {
            return Some(news);
        }
        let (since, _) = self.behind.take_if(|(_, until)| *until < now)?;
        Some(Punctuality::CaughtUp { checks: self.checks - since })
    }
}
