//! Counts what the loop does, and answers requests for metrics.

use std::time::{Duration, Instant};

use super::run::Daemon;
use crate::health::CheckId;
use crate::report::{DaemonFacts, Scrape};
use crate::value::Verdict;

impl Daemon {
    /// Counts verdicts, and gives them to the director.
    pub(super) fn take_verdicts(&mut self, verdicts: Vec<(CheckId, Verdict)>, now: Instant) {
        for (id, verdict) in &verdicts {
            self.history.checked(*id, verdict);
            if let Some(probe) = self.director.probe(*id) {
                self.metering.meters.checked(probe.kind(), verdict);
            }
        }
        self.director.verdicts(verdicts, now);
    }

    /// Notes by how much the next check is late.
    pub(super) fn note_lag(&mut self, now: Instant) {
        let due = self.director.health().poll_timeout();
        let lag = due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        self.metering.meters.late(lag, now);
    }

    /// Everything that metrics are computed from.
    pub(super) fn scrape(&mut self, now: Instant) -> Scrape {
        let (running_checks, max_checks) = self.checks.load();
        let (mail_queued, mail_dropped) = self.outlets.mail_counts();
        let view = self.view(now);
        let metering = &self.metering;
        Scrape {
            view,
            meters: metering.meters.copy(metering.settings.per_server),
            facts: DaemonFacts {
                started: metering.started,
                config_digest: metering.config_digest.clone(),
                running_checks,
                max_checks,
                mail_queued,
                mail_dropped,
                commands: self.outlets.ended_commands(),
            },
            per_server: metering.settings.per_server,
        }
    }
}
