//! What is known of the kernel's time-outs of idle connections.

use ipvs_rs::{Error, Timeouts};

use crate::event::{Event, Fate, Kind, Request};

/// Whether they have to be set, and what was reported.
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
    /// They have to be looked at.
    pub(super) fn due() -> TimeoutsState {
        TimeoutsState { state: State::Due, reported: None }
    }

    pub(super) fn is_due(&self) -> bool {
        self.state == State::Due
    }

    /// They have to be looked at again.
    pub(super) fn look_again(&mut self) {
        self.state = State::Due;
    }

    /// As [`TimeoutsState::look_again`], if they were refused.
    pub(super) fn retry(&mut self) {
        if self.state == State::Refused {
            self.state = State::Due;
        }
    }

    /// There is nothing to set.
    pub(super) fn known(&mut self) {
        self.state = State::Known;
    }

    /// They are as they should be; an event where they were set for that.
    pub(super) fn set(&mut self, change: Option<(Timeouts, Timeouts)>) -> Option<Event> {
        *self = TimeoutsState { state: State::Known, reported: None };
        change.map(|(from, to)| Event::of_director(Kind::TimeoutsSet { from, to }))
    }

    /// The kernel refused them; an event where that was not reported yet.
    pub(super) fn refused(&mut self, wanted: Timeouts, error: Error) -> Option<Event> {
        self.state = State::Refused;
        if self.reported.replace(error.clone()).as_ref() == Some(&error) {
            return None;
        }
        let request = Request::Timeouts(wanted);
        Some(Event::of_director(Kind::Refused { request, error, fate: Fate::Retried }))
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
