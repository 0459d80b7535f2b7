//! Decides when a change of a file is complete. Inputs are file events, reads and *now*; outputs are complete
//! contents. No I/O, no clock.
//!
//! A file renamed or linked into place is complete after two equal reads 100 ms apart. A file written in place is
//! complete 2 s after the last event, if that event is the close by the writer. Without file events, two equal
//! reads 2 s apart are needed. An incomplete file is reported only if its writer pauses for longer with the file
//! closed.

use std::time::{Duration, Instant};

use crate::sys::watch::FileChange;

/// Time between the two reads of a file that was replaced, or that its writer has closed.
const CONFIRM: Duration = Duration::from_millis(100);
/// A file written in place must be unchanged for this time.
const QUIET: Duration = Duration::from_secs(2);
/// A file that keeps changing for this time is reported.
const UNQUIET: Duration = Duration::from_secs(60);

/// The content of the file. `None` if it cannot be read.
type Content = Option<Vec<u8>>;

/// An observation of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The content differs from the last one observed or applied.
    Changed(Vec<u8>),
    /// The file can no longer be read.
    Missing,
    /// The file has been changing for longer than `UNQUIET`.
    Unquiet {
        /// Whether a program has it open for writing.
        open: bool,
    },
}

/// The next step of the observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackerStep {
    /// Read the file, and hand it to [`Tracker::read`].
    Read,
    /// Wait for a change, at most until this time.
    Wait(Instant),
}

/// The state of one file.
#[derive(Debug)]
pub struct Tracker {
    /// The content that was last reported or applied.
    known: Content,
    /// Whether it was reported that the file is missing.
    missing: bool,
    /// The file is read this often even if the system reports nothing.
    interval: Duration,
    state: State,
    /// Present while the file keeps changing.
    unquiet: Option<Unquiet>,
}

/// A period in which the file keeps changing.
#[derive(Clone, Copy, Debug)]
struct Unquiet {
    /// When to report it.
    overdue_at: Instant,
    /// Whether it was reported.
    told: bool,
}

/// The state of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// No change is known. The file is read at `read_at`.
    Same { read_at: Instant },
    /// The file was opened for writing and not closed since.
    Open,
    /// The file may have changed and is read at `read_at`. `first`: the content of the first of two reads. `apart`:
    /// the time between the two.
    Changed { read_at: Instant, first: Option<Content>, apart: Duration },
}

impl Tracker {
    /// Starts with the content in force. The file is read at once, because it may have changed before it was watched.
    #[must_use]
    pub fn new(content: Vec<u8>, interval: Duration, now: Instant) -> Tracker {
        let state = State::Same { read_at: now };
        Tracker { known: Some(content), missing: false, interval, state, unquiet: None }
    }

    /// Processes a file event of the system.
    pub fn reported(&mut self, change: FileChange, now: Instant) {
        let changed = |wait, apart| State::Changed { read_at: now + wait, first: None, apart };
        self.state = match change {
            FileChange::Replaced => changed(Duration::ZERO, CONFIRM),
            FileChange::Written => State::Open,
            FileChange::Closed => changed(QUIET, CONFIRM),
            FileChange::Unknown => changed(Duration::ZERO, QUIET),
        };
        self.not_quiet(now);
    }

    /// Sets the content in force, which is not reported. The file is read soon, because earlier observations are
    /// dropped.
    pub fn in_force(&mut self, content: Vec<u8>, interval: Duration, now: Instant) {
        self.known = Some(content);
        self.missing = false;
        self.interval = interval;
        if let State::Same { read_at } = &mut self.state {
            *read_at = now;
        }
    }

    /// Returns the next step.
    #[must_use]
    pub fn step(&self, now: Instant) -> TrackerStep {
        let read_at = match self.state {
            State::Same { read_at } | State::Changed { read_at, .. } => Some(read_at),
            State::Open => None,
        };
        match read_at {
            Some(at) if at <= now => TrackerStep::Read,
            _ => {
                let overdue_at =
                    self.unquiet.filter(|unquiet| !unquiet.told).map(|unquiet| unquiet.overdue_at);
                let next = [read_at, overdue_at].into_iter().flatten().min();
                TrackerStep::Wait(next.unwrap_or(now + UNQUIET))
            }
        }
    }

    /// Reports once that the file has been changing for too long.
    pub fn overdue(&mut self, now: Instant) -> Option<Observed> {
        let open = self.state == State::Open;
        let unquiet = self.unquiet.as_mut().filter(|unquiet| !unquiet.told && unquiet.overdue_at <= now)?;
        unquiet.told = true;
        Some(Observed::Unquiet { open })
    }

    /// Processes the result of a [`TrackerStep::Read`].
    pub fn read(&mut self, found: Content, now: Instant) -> Option<Observed> {
        match std::mem::replace(&mut self.state, State::Open) {
            // The file was opened for writing after the read began.
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
            // This change came without an event, so the next one may, too.
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
