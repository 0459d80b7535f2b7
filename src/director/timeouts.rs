//! The state of the kernel's time-outs of idle connections.

use ipvs_rs::{Error, Timeouts};

use crate::event::{Event, EventKind, Fate, KernelRequest};

/// Whether the time-outs have to be set, and what was reported.
#[derive(Clone)]
pub(super) struct TimeoutsState {
    state: State,
    /// The refusal that was reported.
    reported: Option<Error>,
}

#[derive(Clone, PartialEq, Eq)]
enum State {
    Due,
    Refused,
    Known,
}

impl TimeoutsState {
    /// Starts in a state in which the time-outs have to be compared and set.
    pub(super) fn due() -> TimeoutsState {
        TimeoutsState { state: State::Due, reported: None }
    }

    pub(super) fn is_due(&self) -> bool {
        self.state == State::Due
    }

    /// Requests another comparison.
    pub(super) fn look_again(&mut self) {
        self.state = State::Due;
    }

    /// Requests another comparison, if the kernel refused the last change.
    pub(super) fn retry(&mut self) {
        if self.state == State::Refused {
            self.state = State::Due;
        }
    }

    /// Records that there is nothing to set.
    pub(super) fn known(&mut self) {
        self.state = State::Known;
    }

    /// Records that the time-outs are as wanted. Returns an event if they were changed.
    pub(super) fn set(&mut self, change: Option<(Timeouts, Timeouts)>) -> Option<Event> {
        *self = TimeoutsState { state: State::Known, reported: None };
        change.map(|(from, to)| Event::of_director(EventKind::TimeoutsSet { from, to }))
    }

    /// Records that the kernel refused the change. Returns an event if that was not reported yet.
    pub(super) fn refused(&mut self, wanted: Timeouts, error: Error) -> Option<Event> {
        self.state = State::Refused;
        if self.reported.replace(error.clone()).as_ref() == Some(&error) {
            return None;
        }
        let request = KernelRequest::Timeouts(wanted);
        Some(Event::of_director(EventKind::Refused { request, error, fate: Fate::Retried }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_reported_once() {
        let (mut state, wanted) = (TimeoutsState::due(), Timeouts::default());
        assert!(state.refused(wanted, Error::Busy).is_some());
        state.retry();
        assert!(state.is_due());
        assert!(state.refused(wanted, Error::Busy).is_none());
        state.retry();
        assert!(state.refused(wanted, Error::NotPermitted).is_some());
        assert!(state.set(None).is_none());
        state.retry();
        assert!(!state.is_due());
        state.look_again();
        assert!(state.refused(wanted, Error::Busy).is_some());
    }
}
