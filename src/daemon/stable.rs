//! When a file that changes counts as changed: events, reads and *now* go in, finished contents come out. No I/O, no clock.
//!
//! A file that was renamed or linked into place counts after two equal reads 100 ms apart. A file that is written in place counts
//! 2 s after the last event, if that says that the writer has closed it. Where the system reports no events, two equal reads 2 s
//! apart count. No half of a file is ever reported, as long as its writer does not pause for longer with the file closed.

use std::time::{Duration, Instant};

use crate::sys::watch::Change;

/// Between the two reads of a file that was replaced, or that its writer has closed.
const CONFIRM: Duration = Duration::from_millis(100);
/// For so long a file written in place must have been left alone.
const QUIET: Duration = Duration::from_secs(2);
/// After this long without quiet the operator is told.
const UNQUIET: Duration = Duration::from_secs(60);

/// The content of the file; none where it cannot be read.
type Content = Option<Vec<u8>>;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Another content than the last one that was seen or applied.
    Changed(Vec<u8>),
    /// The file cannot be read where it could be before.
    Missing,
    /// The file has been changing for so long that a change is overdue.
    Unquiet {
        /// Whether a program that writes to it has not closed it.
        open: bool,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the file, and hand it to [`Tracker::read`].
    Read,
    /// Wait for a change, at most until then.
    Wait(Instant),
}

/// Follows one file.
#[derive(Debug)]
pub struct Tracker {
    /// The content that was last reported, or is in force.
    known: Content,
    /// It was reported that the file is missing.
    missing: bool,
    /// The file is read this often even if the system reports nothing.
    interval: Duration,
    state: State,
    /// Present while the file is not quiet.
    unquiet: Option<Unquiet>,
}

/// A time without quiet.
#[derive(Clone, Copy, Debug)]
struct Unquiet {
    /// When it has taken too long.
    overdue_at: Instant,
    /// The operator was told.
    told: bool,
}

/// What is known of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It has the known content, as far as anybody has said.
    Same { read_at: Instant },
    /// It was opened for writing, and not closed since.
    Open,
    /// It may have another content, and is read at this time. The content is that of the first of two reads, and the duration
    /// the time between the two.
    Changed { read_at: Instant, first: Option<Content>, apart: Duration },
}

impl Tracker {
    /// Follows a file whose content is in force. It is read at once, because it may have changed before it was watched.
    #[must_use]
    pub fn new(content: Vec<u8>, interval: Duration, now: Instant) -> Tracker {
        let state = State::Same { read_at: now };
        Tracker { known: Some(content), missing: false, interval, state, unquiet: None }
    }

    /// Takes in what the system reports.
    pub fn reported(&mut self, change: Change, now: Instant) {
        let changed = |wait, apart| State::Changed { read_at: now + wait, first: None, apart };
        self.state = match change {
            Change::Replaced => changed(Duration::ZERO, CONFIRM),
            Change::Written => State::Open,
            Change::Closed => changed(QUIET, CONFIRM),
            Change::Unknown => changed(Duration::ZERO, QUIET),
        };
        self.not_quiet(now);
    }

    /// Takes in which content is in force from now on; it is no news. What was seen before is forgotten, so the file is read soon.
    pub fn in_force(&mut self, content: Vec<u8>, interval: Duration, now: Instant) {
        self.known = Some(content);
        self.missing = false;
        self.interval = interval;
        if let State::Same { read_at } = &mut self.state {
            *read_at = now;
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn step(&self, now: Instant) -> Step {
        let read_at = match self.state {
            State::Same { read_at } | State::Changed { read_at, .. } => Some(read_at),
            State::Open => None,
        };
        match read_at {
            Some(at) if at <= now => Step::Read,
            _ => {
                let overdue_at =
                    self.unquiet.filter(|unquiet| !unquiet.told).map(|unquiet| unquiet.overdue_at);
                let next = [read_at, overdue_at].into_iter().flatten().min();
                Step::Wait(next.unwrap_or(now + UNQUIET))
            }
        }
    }

    /// Says once that the file has been changing for too long.
    pub fn overdue(&mut self, now: Instant) -> Option<Observed> {
        let open = self.state == State::Open;
        let unquiet = self.unquiet.as_mut().filter(|unquiet| !unquiet.told && unquiet.overdue_at <= now)?;
        unquiet.told = true;
        Some(Observed::Unquiet { open })
    }

    /// Takes in what a [`Step::Read`] found.
    pub fn read(&mut self, found: Content, now: Instant) -> Option<Observed> {
        match std::mem::replace(&mut self.state, State::Open) {
            // It was opened after the read began.
            State::Open => None,
            _ if found == self.known && found.is_some() => {
                self.missing = false;
                self.quiet(now);
                None
            }
            State::Changed { first: Some(first), .. } if first == found => {
                self.quiet(now);
                self.report(found)
            }
            State::Changed { first: None, apart, .. } => {
                self.again(found, apart, now);
                None
            }
            // No event has told of this change, so none may tell of the next.
            State::Changed { .. } | State::Same { .. } => {
                self.again(found, QUIET, now);
                None
            }
        }
    }

    fn again(&mut self, found: Content, apart: Duration, now: Instant) {
        self.not_quiet(now);
        self.state = State::Changed { read_at: now + apart, first: Some(found), apart };
    }

    fn not_quiet(&mut self, now: Instant) {
        self.unquiet.get_or_insert(Unquiet { overdue_at: now + UNQUIET, told: false });
    }

    fn quiet(&mut self, now: Instant) {
        self.unquiet = None;
        self.state = State::Same { read_at: now + self.interval };
    }

    fn report(&mut self, found: Content) -> Option<Observed> {
        let Some(content) = found else {
            return (!std::mem::replace(&mut self.missing, true)).then_some(Observed::Missing);
        };
        self.missing = false;
        self.known = Some(content.clone());
        Some(Observed::Changed(content))
    }
}

#[cfg(test)]
mod tests;
