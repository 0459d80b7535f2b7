//! The state of one real server: its check's results, its overrides, and the standing that follows from both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::HealthEvent;
use super::decision::{Override, Overrides, What};
use crate::value::{Outcome, Verdict};

/// The state of one real server of one virtual service.
#[derive(Clone, Debug)]
pub struct ServerHealth {
    pub(super) checked: Checked,
    pub(super) verdict: Option<Arc<Verdict>>,
    /// Time of the last up or down verdict. Without a verdict: when the daemon got to know the server.
    pub(super) judged_at: Instant,
    pub(super) is_overdue: bool,
    pub(super) overrides: Overrides,
    /// Set if the server is no longer in the configuration: when it is removed at the latest.
    pub(super) leaves_at: Option<Instant>,
    since: Instant,
}

/// The result of a server's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// No up or down verdict yet.
    Unseen {
        /// The kernel had the server in rotation. It stays there until the first verdict.
        adopted: bool,
    },
    /// The server is up.
    Up {
        /// Consecutive soft failures, fewer than `failurecount`.
        failures: u32,
    },
    /// The server is down.
    Down {
        /// Consecutive failures.
        failures: u32,
    },
}

/// Whether a server receives connections. The wanted table depends on nothing else about the state of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It receives new connections.
    InRotation,
    /// It receives no new connections and keeps existing ones, whatever `quiescent` says.
    Draining,
    /// It is down, or an override treats it as down.
    Out,
}

/// How verdicts count for a server.
pub(super) struct Rules {
    pub(super) failurecount: u32,
    /// After this time without an up or down verdict the state is unknown.
    pub(super) unchecked_after: Duration,
    pub(super) unchecked_is_down: bool,
}

impl Standing {
    /// The lower of two: out, draining, in rotation.
    #[must_use]
    pub fn least(self, other: Standing) -> Standing {
        match (self, other) {
            (Standing::Out, _) | (_, Standing::Out) => Standing::Out,
            (Standing::Draining, _) | (_, Standing::Draining) => Standing::Draining,
            _ => Standing::InRotation,
        }
    }
}

impl Checked {
    /// Whether the server is up according to its checks, or was adopted in rotation.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Checked::Unseen { adopted: true } | Checked::Up { .. })
    }

    /// Consecutive failed checks.
    #[must_use]
    pub fn failures(self) -> u32 {
        match self {
            Checked::Unseen { .. } => 0,
            Checked::Up { failures } | Checked::Down { failures } => failures,
        }
    }

    pub(super) fn taken_down(self) -> Checked {
        match self {
            Checked::Unseen { .. } => Checked::Unseen { adopted: false },
            Checked::Up { failures } | Checked::Down { failures } => Checked::Down { failures },
        }
    }
}

impl ServerHealth {
    pub(super) fn fresh(adopted: bool, now: Instant) -> ServerHealth {
        ServerHealth {
            checked: Checked::Unseen { adopted },
            verdict: None,
            judged_at: now,
            is_overdue: false,
            overrides: Overrides::default(),
            leaves_at: None,
            since: now,
        }
    }

    /// The result of its checks.
    #[must_use]
    pub fn checked(&self) -> Checked {
        self.checked
    }

    /// The last verdict. `None` before the first check.
    #[must_use]
    pub fn verdict(&self) -> Option<&Arc<Verdict>> {
        self.verdict.as_ref()
    }

    /// Whether its last up or down verdict is too old to rely on.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.is_overdue
    }

    /// When its standing last changed.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn set_since(&mut self, since: Instant) {
        self.since = since;
    }

    /// The override in force, if any.
    #[must_use]
    pub fn overridden(&self) -> Option<&Arc<Override>> {
        self.overrides.current()
    }

    /// Whether a file in `maintenancedir` puts it in maintenance. It is not checked during that time.
    #[must_use]
    pub fn is_in_maintenance(&self) -> bool {
        self.overrides.maintenance.is_some()
    }

    /// The standing that follows from checks and overrides.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.has_gone() {
            return Standing::Out;
        }
        match self.decided().map(|decision| decision.what) {
            Some(What::Drain) => Standing::Draining,
            Some(What::Down) => Standing::Out,
            Some(What::Up) => Standing::InRotation,
            _ if self.checked.is_up() => Standing::InRotation,
            _ => Standing::Out,
        }
    }

    /// The override that decides its standing. An override of its weight alone does not.
    #[must_use]
    pub fn decided(&self) -> Option<&Arc<Override>> {
        self.overridden().filter(|decision| decision.what.replaces_check())
    }

    /// Whether it was leaving and has been removed.
    #[must_use]
    pub fn has_gone(&self) -> bool {
        self.leaves_at.is_some() && !self.checked.is_up()
    }

    /// Whether it has a verdict, or an override that decides its standing.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.verdict.is_some() || self.decided().is_some()
    }

    /// The verdict of a server that its checks marked down, if no override decides its standing.
    pub(super) fn unreported(&self) -> Option<Arc<Verdict>> {
        let is_down = matches!(self.checked, Checked::Down { .. }) && self.decided().is_none();
        self.verdict.clone().filter(|_| is_down)
    }

    /// Whether it is out of rotation and has no verdict yet.
    pub(super) fn is_new(&self) -> bool {
        !self.checked.is_up() && !self.needs_no_check() && self.verdict.is_none()
    }

    /// Whether its check can be skipped.
    pub(super) fn needs_no_check(&self) -> bool {
        self.is_in_maintenance() || self.has_gone()
    }

    /// The server after a reload that removed it. An override of an operator ends.
    pub(super) fn leaving(self, limit: Instant) -> ServerHealth {
        let is_in = self.standing() == Standing::InRotation;
        let overrides = Overrides { operator: None, ..self.overrides };
        // A server that an override kept in rotation stays there like the others, until its next verdict.
        let checked = match self.checked {
            checked if checked.is_up() || !is_in => checked,
            _ => Checked::Unseen { adopted: true },
        };
        ServerHealth { leaves_at: Some(self.leaves_at.unwrap_or(limit)), overrides, checked, ..self }
    }

    /// The server after a reload that kept it. `forget` drops the results of its checks, but not whether it is in
    /// rotation.
    pub(super) fn staying(self, forget: bool) -> ServerHealth {
        let adopted = self.checked.is_up();
        let (checked, verdict) = match forget {
            true => (Checked::Unseen { adopted }, None),
            false => (self.checked, self.verdict),
        };
        ServerHealth { leaves_at: None, checked, verdict, ..self }
    }

    /// Applies a change and records the time if the standing changed.
    pub(super) fn change<T>(&mut self, now: Instant, how: impl FnOnce(&mut ServerHealth) -> T) -> T {
        let before = self.standing();
        let result = how(self);
        if self.standing() != before {
            self.since = now;
        }
        result
    }

    /// Applies a verdict and returns the resulting event. Returns none while an override decides the standing.
    pub(super) fn take(
        &mut self,
        verdict: &Arc<Verdict>,
        rules: &Rules,
        now: Instant,
    ) -> Option<HealthEvent> {
        if self.needs_no_check() {
            return None;
        }
        let event = self.change(now, |server| server.take_verdict(verdict, rules, now));
        event.filter(|_| self.decided().is_none())
    }

    fn take_verdict(&mut self, verdict: &Arc<Verdict>, rules: &Rules, now: Instant) -> Option<HealthEvent> {
        let before = self.verdict.replace(Arc::clone(verdict));
        let was_up = self.checked.is_up();
        match verdict.outcome {
            Outcome::Unknown(_) => {
                self.is_overdue = now.saturating_duration_since(self.judged_at) >= rules.unchecked_after;
                if self.is_overdue && rules.unchecked_is_down && was_up {
                    self.checked = self.checked.taken_down();
                    return Some(HealthEvent::Down(Arc::clone(verdict)));
                }
                let is_news = before.is_none_or(|before| !before.is_unknown());
                is_news.then(|| HealthEvent::Unknown(Arc::clone(verdict)))
            }
            Outcome::Up => {
                (self.judged_at, self.is_overdue) = (now, false);
                let had_failed = self.checked.failures() > 0;
                self.checked = Checked::Up { failures: 0 };
                if !was_up {
                    return Some(HealthEvent::Up(Arc::clone(verdict)));
                }
                had_failed.then_some(HealthEvent::SoftFailureOver)
            }
            Outcome::Down => {
                (self.judged_at, self.is_overdue) = (now, false);
                // The first verdict is reported even if nothing changes: it explains why the server is out of rotation.
                let is_first = matches!(self.checked, Checked::Unseen { .. });
                let failures = self.checked.failures().saturating_add(1);
                if was_up && failures < rules.failurecount {
                    self.checked = Checked::Up { failures };
                    return Some(HealthEvent::SoftFailure { failures, verdict: Arc::clone(verdict) });
                }
                self.checked = Checked::Down { failures };
                (was_up || is_first).then(|| HealthEvent::Down(Arc::clone(verdict)))
            }
        }
    }
}
