//! The result of one run of a check.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::phase::PhaseTimes;
use super::shown::{escaped, escaped_except};

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server works.
    Up,
    /// The server does not work.
    Down,
    /// The director could not run the check. The state of the server does not change.
    Unknown(UnknownCause),
}

/// Why the outcome of a check is unknown. The list is complete: any other failure is a failure of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnknownCause {
    /// The daemon did not run for a while during the check.
    DirectorLate,
    /// The director's own resolver failed or gave no answer in time.
    Resolver,
    /// A limit of this machine was reached, for example of descriptors, ports or memory. The text names it.
    OwnLimit(&'static str),
    /// The local firewall or missing permissions prevented the check. The text is the system's error.
    Forbidden(&'static str),
    /// Too much other work was queued before the check.
    QueueFull,
    /// The check command, or another program that the check needs, was not started, or its exit status was lost.
    NotStarted,
    /// The table is in memory, in which case external checks are not run.
    DryRun,
    /// A bug in this program ended the check.
    Panic,
}

impl fmt::Display for UnknownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnknownCause::DirectorLate => "the director was late",
            UnknownCause::Resolver => "name resolution on the director failed",
            UnknownCause::OwnLimit(what) | UnknownCause::Forbidden(what) => what,
            UnknownCause::QueueFull => "too much work is queued on the director",
            UnknownCause::NotStarted => "a check command was not started",
            UnknownCause::DryRun => {
                "not run: the table is in memory (a dry run); --run-commands runs external checks"
            }
            UnknownCause::Panic => "a bug in this program",
        })
    }
}

/// A network problem on the path to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// This machine has no route or no link to the server. The check is repeated until its deadline.
    NoRoute,
    /// The server does not answer ARP, or a router reports it unreachable. The check is repeated only if a link of
    /// this machine changed during the check.
    Host,
}

/// One run of one check: outcome, reason and duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// The reason, as one line for people: what was tried, where, and the result. Never contains a secret.
    pub reason: String,
    /// The text that the original writes to `monitorfile`, if it is not `-`: at most [`MAX_MONITOR`] bytes.
    pub monitor: Option<String>,
    /// A warning for the operator that does not change the outcome, as the rest of a sentence. The reason contains
    /// it, too.
    pub warning: Option<String>,
    /// The problem on the path to the server, if the kernel reports one.
    pub unreachable: Option<Unreachable>,
    /// Time from the start of the check to its outcome.
    pub took: Duration,
    /// The part of that time spent in each phase.
    pub phases: PhaseTimes,
    /// When the server's certificate expires, in seconds since 1970. `None` without TLS.
    pub certificate_expires: Option<i64>,
    /// CPU time on the thread of the loop, in microseconds. Zero if not measured.
    pub cpu_micros: u32,
}

/// Maximum length of the text for `monitorfile` in bytes (R85). A verdict is kept for each server, so no server may
/// make it large.
pub const MAX_MONITOR: usize = 200;

/// Maximum length of the reason and of the warning in bytes. A reason can contain the long URL of a redirect.
pub const MAX_REASON: usize = 4096;

/// Makes a reason one line without terminal control characters, because it may contain text from a server.
fn line(text: String) -> String {
    let text = cut(text, MAX_REASON);
    match escaped(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(escaped) => cut(escaped, MAX_REASON),
    }
}

/// Shortens the text to `most` bytes, at a character boundary, and releases the rest of its memory.
fn cut(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text[..end].to_owned()
}

impl Verdict {
    /// A verdict without a duration, which the engine sets.
    #[must_use]
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> Verdict {
        Verdict {
            outcome,
            reason: line(reason.into()),
            monitor: None,
            warning: None,
            unreachable: None,
            took: Duration::ZERO,
            phases: PhaseTimes::default(),
            certificate_expires: None,
            cpu_micros: 0,
        }
    }

    /// The server works.
    #[must_use]
    pub fn up(reason: impl Into<String>) -> Verdict {
        Verdict::new(Outcome::Up, reason)
    }

    /// The server does not work.
    #[must_use]
    pub fn down(reason: impl Into<String>) -> Verdict {
        Verdict::new(Outcome::Down, reason)
    }

    /// The director could not run the check.
    #[must_use]
    pub fn unknown(cause: UnknownCause, reason: impl Into<String>) -> Verdict {
        Verdict::new(Outcome::Unknown(cause), reason)
    }

    /// Whether the outcome is unknown.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(_))
    }

    /// Adds a warning for the operator.
    #[must_use]
    pub fn with_warning(mut self, warning: Option<String>) -> Verdict {
        let warning = warning.map(line);
        if let Some(warning) = &warning {
            self.reason.push_str(&format!("; warning: {warning}"));
        }
        self.warning = warning;
        self
    }

    /// Adds the text for `monitorfile`.
    #[must_use]
    pub fn with_monitor(mut self, text: impl Into<String>) -> Verdict {
        // The monitor file has its own encoding of line ends.
        let text = cut(text.into(), MAX_MONITOR);
        self.monitor = Some(cut(escaped_except(&text, &['\r', '\n']).into_owned(), MAX_MONITOR));
        self
    }
}
