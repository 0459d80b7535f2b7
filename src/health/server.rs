//! One real server: what its check has found, who decides about it instead, and what both come to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Event;
use super::decision::{Override, Overrides, What};
use crate::value::{Outcome, Verdict};

/// What is known of one real server of one virtual service.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) checked: Checked,
    pub(super) verdict: Option<Arc<Verdict>>,
    /// When the last definite verdict came, or since when the server is known.
    pub(super) judged_at: Instant,
    pub(super) is_overdue: bool,
    pub(super) overrides: Overrides,
    /// It is no longer in the configuration, and goes at this time at the latest.
    pub(super) leaves_at: Option<Instant>,
    since: Instant,
}

/// What the check of a server has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// There is no definite verdict yet.
    Unseen {
        /// The kernel had the server in rotation, where it stays until a verdict.
        adopted: bool,
    },
    /// The server works.
    Up {
        /// Failures in a row since: fewer than `failurecount`.
        failures: u32,
    },
    /// The server does not work.
    Down {
        /// Failures in a row.
        failures: u32,
    },
}

/// What a server does: the one thing that the table is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It gets new connections.
    InRotation,
    /// It gets no new connections and keeps those that it has, whatever `quiescent` says.
    Draining,
    /// It is dead, or treated as if it were.
    Out,
}

/// How verdicts count for a server.
pub(super) struct Rules {
    pub(super) failurecount: u32,
    /// After so long without a definite verdict nothing is known.
    pub(super) unchecked_after: Duration,
    pub(super) unchecked_is_down: bool,
}

impl Standing {
    /// The one with fewer new connections.
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
    /// Whether the server takes part, as far as its check decides.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Checked::Unseen { adopted: true } | Checked::Up { .. })
    }

    /// Failed checks in a row.
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

impl Server {
    pub(super) fn fresh(adopted: bool, now: Instant) -> Server {
        Server {
            checked: Checked::Unseen { adopted },
            verdict: None,
            judged_at: now,
            is_overdue: false,
            overrides: Overrides::default(),
            leaves_at: None,
            since: now,
        }
    }

    /// What its check has found.
    #[must_use]
    pub fn checked(&self) -> Checked {
        self.checked
    }

    /// The last verdict; none before the first check.
    #[must_use]
    pub fn verdict(&self) -> Option<&Arc<Verdict>> {
        self.verdict.as_ref()
    }

    /// Whether its last definite verdict is so old that nothing is known of it.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.is_overdue
    }

    /// Since when it stands as it does.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn set_since(&mut self, since: Instant) {
        self.since = since;
    }

    /// What somebody decided about it. What its check finds counts again once that ends.
    #[must_use]
    pub fn overridden(&self) -> Option<&Arc<Override>> {
        self.overrides.current()
    }

    /// Whether a file in `maintenancedir` takes it out. It is not checked then.
    #[must_use]
    pub fn is_in_maintenance(&self) -> bool {
        self.overrides.maintenance.is_some()
    }

    /// What check and override come to.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.has_gone() {
            return Standing::Out;
        }
        match self.overridden().map(|decision| decision.what) {
            Some(What::Drain) => Standing::Draining,
            Some(What::Down) => Standing::Out,
            Some(What::Up) => Standing::InRotation,
            None if self.checked.is_up() => Standing::InRotation,
            None => Standing::Out,
        }
    }

    /// Whether it was leaving, and has gone.
    #[must_use]
    pub fn has_gone(&self) -> bool {
        self.leaves_at.is_some() && !self.checked.is_up()
    }

    /// Whether something has been found or decided about it.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.verdict.is_some() || self.overridden().is_some()
    }

    /// Whether it is out of rotation, and no check has spoken yet.
    pub(super) fn is_new(&self) -> bool {
        !self.checked.is_up() && !self.needs_no_check() && self.verdict.is_none()
    }

    /// Whether nothing follows from its check.
    pub(super) fn needs_no_check(&self) -> bool {
        self.is_in_maintenance() || self.has_gone()
    }

    /// The server in a configuration that has it no longer. What an operator decided ends with it.
    pub(super) fn leaving(self, limit: Instant) -> Server {
        let overrides = Overrides { operator: None, ..self.overrides };
        Server { leaves_at: Some(self.leaves_at.unwrap_or(limit)), overrides, ..self }
    }

    /// The server in a configuration that has it. With `forget` nothing is known of it but that it takes part, or does not.
    pub(super) fn staying(self, forget: bool) -> Server {
        let adopted = self.checked.is_up();
        let (checked, verdict) = match forget {
            true => (Checked::Unseen { adopted }, None),
            false => (self.checked, self.verdict),
        };
        Server { leaves_at: None, checked, verdict, ..self }
    }

    /// Changes it, and notes when that made it stand otherwise.
    pub(super) fn change<T>(&mut self, now: Instant, how: impl FnOnce(&mut Server) -> T) -> T {
        let before = self.standing();
        let result = how(self);
        if self.standing() != before {
            self.since = now;
        }
        result
    }

    /// Takes a verdict in. Gives what happened by it; nothing while somebody else decides.
    pub(super) fn take(&mut self, verdict: &Arc<Verdict>, rules: &Rules, now: Instant) -> Option<Event> {
        if self.needs_no_check() {
            return None;
        }
        let event = self.change(now, |server| server.learn(verdict, rules, now));
        event.filter(|_| self.overridden().is_none())
    }

    fn learn(&mut self, verdict: &Arc<Verdict>, rules: &Rules, now: Instant) -> Option<Event> {
        let before = self.verdict.replace(Arc::clone(verdict));
        let was_up = self.checked.is_up();
        match verdict.outcome {
            Outcome::Unknown(_) => {
                self.is_overdue = now.saturating_duration_since(self.judged_at) >= rules.unchecked_after;
                if self.is_overdue && rules.unchecked_is_down && was_up {
                    self.checked = self.checked.taken_down();
                    return Some(Event::Down(Arc::clone(verdict)));
                }
                let is_news = before.is_none_or(|before| !before.is_unknown());
                is_news.then(|| Event::Unknown(Arc::clone(verdict)))
            }
            Outcome::Up => {
                (self.judged_at, self.is_overdue) = (now, false);
                let had_failed = self.checked.failures() > 0;
                self.checked = Checked::Up { failures: 0 };
                if !was_up {
                    return Some(Event::Up(Arc::clone(verdict)));
                }
                had_failed.then_some(Event::SoftFailureOver)
            }
            Outcome::Down => {
                (self.judged_at, self.is_overdue) = (now, false);
                // The first definite verdict is news, also when nothing changes by it: it says why the server is not in.
                let is_first = matches!(self.checked, Checked::Unseen { .. });
                let failures = self.checked.failures().saturating_add(1);
                if was_up && failures < rules.failurecount {
                    self.checked = Checked::Up { failures };
                    return Some(Event::SoftFailure { failures, verdict: Arc::clone(verdict) });
                }
                self.checked = Checked::Down { failures };
                (was_up || is_first).then(|| Event::Down(Arc::clone(verdict)))
            }
        }
    }
}
