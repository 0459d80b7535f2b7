//! Answers to requests whose override is not on the disk yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::control::{Reply, Steered};

/// Time after which a request is answered although its override is not saved yet. The log then has the error.
const SAVE_LIMIT: Duration = Duration::from_secs(1);

/// Answers that wait until the overrides are saved, so that an override that was reported as done survives a crash. A
/// write that fails or takes long is in the log: the override is in force, and the write is retried.
#[derive(Default)]
pub(super) struct Unsaved {
    /// Each with the time when it is given at the latest.
    answers: VecDeque<(Instant, Reply<Steered>, Steered)>,
}

impl Unsaved {
    /// Holds an answer back.
    pub(super) fn hold(&mut self, reply: Reply<Steered>, answer: Steered, now: Instant) {
        self.answers.push_back((now + SAVE_LIMIT, reply, answer));
    }

    /// When to call [`Unsaved::give_due`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.answers.front().map(|(at, ..)| *at)
    }

    /// Gives the answers whose time is over.
    pub(super) fn give_due(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            self.answers.pop_front().into_iter().for_each(|(_, reply, answer)| reply.give(answer));
        }
    }

    /// Gives all answers: the overrides are saved, or the log has the error.
    pub(super) fn give(&mut self) {
        self.answers.drain(..).for_each(|(_, reply, answer)| reply.give(answer));
    }
}
