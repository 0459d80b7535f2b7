//! Answers to requests whose override is not on the disk yet.

use std::time::{Duration, Instant};

use crate::control::{Reply, Steered};

/// Time after which a request is answered although its override is not saved yet. The log then has the error.
const SAVE_LIMIT: Duration = Duration::from_secs(1);

/// Answers that wait until the overrides are saved: an override that was reported as done survives a crash.
#[derive(Default)]
pub(super) struct Unsaved {
    answers: Vec<(Reply<Steered>, Steered)>,
    until: Option<Instant>,
}

impl Unsaved {
    /// Holds an answer back.
    pub(super) fn hold(&mut self, reply: Reply<Steered>, answer: Steered, now: Instant) {
        self.answers.push((reply, answer));
        self.until.get_or_insert(now + SAVE_LIMIT);
    }

    /// When to call [`Unsaved::give`] at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// Gives all answers.
    pub(super) fn give(&mut self) {
        self.until = None;
        self.answers.drain(..).for_each(|(reply, answer)| reply.give(answer));
    }
}
