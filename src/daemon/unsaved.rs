//! Answers to requests whose override is not on the disk yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::control::{ReplyChannel, SteerAnswer, Steered};

/// Time after which a request is answered although its override is not saved yet. The log then has the error.
const SAVE_LIMIT: Duration = Duration::from_secs(1);

const NOT_SAVED: &str = "done, but not saved: a restart of the daemon may lose the change; the daemon's log has the error, and it retries";

const IN_MEMORY: &str = "the table is in memory: this ends with the daemon, also at a restart";

/// Answers that wait until the overrides are saved, so that an override that was reported as done survives a crash. If
/// the write fails or takes long, the answer has a warning.
#[derive(Default)]
pub(super) struct Unsaved {
    /// Each with the time when it is given at the latest.
    answers: VecDeque<(Instant, ReplyChannel<Steered>, Steered)>,
}

impl Unsaved {
    /// Holds an answer back.
    pub(super) fn hold(&mut self, reply: ReplyChannel<Steered>, answer: Steered, now: Instant) {
        self.answers.push_back((now + SAVE_LIMIT, reply, answer));
    }

    /// When to call [`Unsaved::give_due`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.answers.front().map(|(at, ..)| *at)
    }

    /// Gives the answers whose time is over.
    pub(super) fn give_due(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            self.answers
                .pop_front()
                .into_iter()
                .for_each(|(_, reply, answer)| give(reply, answer, Saved::No));
        }
    }

    /// Gives all answers, after an attempt to save the overrides.
    pub(super) fn give(&mut self, is_saved: bool) {
        let saved = if is_saved { Saved::Yes } else { Saved::No };
        self.answers.drain(..).for_each(|(_, reply, answer)| give(reply, answer, saved));
    }
}

/// Whether an override is on the disk.
#[derive(Clone, Copy)]
pub(super) enum Saved {
    Yes,
    No,
    /// A daemon with its table in memory saves none.
    Never,
}

/// Gives an answer, with a warning if the override is not saved.
pub(super) fn give(reply: ReplyChannel<Steered>, answer: Steered, saved: Saved) {
    let warning = match saved {
        Saved::Yes => None,
        Saved::No => Some(NOT_SAVED.to_owned()),
        Saved::Never => Some(IN_MEMORY.to_owned()),
    };
    reply.give(answer.map(|done| SteerAnswer { warning, ..done }));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

    use super::*;
    use crate::control::{ErrorCode, RequestFailure};

    #[test]
    fn an_override_that_is_not_saved_has_a_warning() {
        let now = Instant::now();
        let done = || Ok(SteerAnswer { services: vec!["fwm:5".to_owned()], warning: None });
        let given = |give: &dyn Fn(&mut Unsaved), answer: Steered| {
            let (reply, mut answered) = ReplyChannel::pair();
            let mut unsaved = Unsaved::default();
            unsaved.hold(reply, answer, now);
            unsaved.give_due(now);
            assert!(answered.try_recv().is_err());
            give(&mut unsaved);
            answered.try_recv().unwrap().map(|done| done.warning)
        };
        assert_eq!(given(&|unsaved| unsaved.give(true), done()), Ok(None));
        let not_saved = Ok(Some(NOT_SAVED.to_owned()));
        assert_eq!(given(&|unsaved| unsaved.give(false), done()), not_saved);
        assert_eq!(given(&|unsaved| unsaved.give_due(now + SAVE_LIMIT), done()), not_saved);
        let refused = RequestFailure { code: ErrorCode::Refused, message: String::new() };
        assert_eq!(given(&|unsaved| unsaved.give(false), Err(refused.clone())), Err(refused));
    }
}
