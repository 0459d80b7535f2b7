//! Limits the number of event lines per second in the log and counts the rest (R95).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Event lines written per second: more than a person can read, fewer than a slow disk can take.
const MOST: usize = 2000;
const SECOND: Duration = Duration::from_secs(1);

/// Counts of the current second.
#[derive(Debug, Default)]
pub struct Storm {
    /// When the second ends.
    ends_at: Option<Instant>,
    written: usize,
    left_out: BTreeMap<&'static str, usize>,
}

impl Storm {
    /// Counts one event of this kind and returns whether its line is written.
    pub fn admits(&mut self, kind: &'static str, now: Instant) -> bool {
        if self.ends_at.is_none_or(|at| at <= now) && self.left_out.is_empty() {
            (self.ends_at, self.written) = (Some(now + SECOND), 0);
        }
        if self.written < MOST {
            self.written += 1;
            return true;
        }
        *self.left_out.entry(kind).or_default() += 1;
        false
    }

    /// When [`Storm::summary`] has a line. `None` while nothing was left out.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ends_at.filter(|_| !self.left_out.is_empty())
    }

    /// The line about the events that were left out, once the second has ended.
    pub fn summary(&mut self, now: Instant) -> Option<String> {
        self.poll_timeout().filter(|at| *at <= now)?;
        self.rest()
    }

    /// The same without waiting for the end of the second, for a daemon that stops.
    pub fn rest(&mut self) -> Option<String> {
        self.ends_at = None;
        if self.left_out.is_empty() {
            return None;
        }
        let left_out = std::mem::take(&mut self.left_out);
        let count: usize = left_out.values().sum();
        let mut line = format!("{count} events within one second were not logged one by one:");
        for (index, (kind, count)) in left_out.iter().enumerate() {
            let _ = write!(line, "{} {count} {kind}", if index == 0 { "" } else { "," });
        }
        line.push_str("; run `ldirectord-rs show` for the state of every server");
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant is needed to count from")]

    use super::*;

    /// R95
    #[test]
    fn what_is_too_much_is_counted_by_kind() {
        let (mut storm, begin) = (Storm::default(), Instant::now());
        let admitted = |storm: &mut Storm, kind, count: usize, now| {
            (0..count).filter(|_| storm.admits(kind, now)).count()
        };
        assert_eq!(admitted(&mut storm, "down", MOST - 1, begin), MOST - 1);
        assert_eq!((storm.poll_timeout(), storm.summary(begin + SECOND)), (None, None));
        assert_eq!(admitted(&mut storm, "table-server", 3, begin), 1);
        assert_eq!(admitted(&mut storm, "down", 5, begin + SECOND / 2), 0);
        assert_eq!((storm.poll_timeout(), storm.summary(begin)), (Some(begin + SECOND), None));
        // The summary comes before the next second starts.
        let late = begin + 3 * SECOND;
        assert!(!storm.admits("down", late));
        assert_eq!(
            storm.summary(late).unwrap(),
            "8 events within one second were not logged one by one: 6 down, 2 table-server; run `ldirectord-rs show` for the state of \
             every server"
        );
        assert_eq!((storm.poll_timeout(), storm.summary(late)), (None, None));
        assert_eq!(admitted(&mut storm, "up", MOST, late), MOST);
        assert_eq!(admitted(&mut storm, "up", MOST, late + SECOND), MOST);
        assert_eq!((admitted(&mut storm, "up", 1, late + SECOND), storm.rest().is_some()), (0, true));
    }
}
