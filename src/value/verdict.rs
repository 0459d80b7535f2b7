//! What one run of a check found.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::shown::{escaped, escaped_except};

/// The answer of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server does its work.
    Up,
    /// The server does not.
    Down,
    /// The director could not carry out the check: this says nothing of the server and changes nothing.
    Unknown(UnknownCause),
}

/// Why a check says nothing of its server. This is the one list: whatever is not in it is the server's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnknownCause {
    /// The daemon did not run for a while during the check.
    DirectorLate,
    /// The director's own resolver failed or gave no answer in time.
    Resolver,
    /// A limit of this machine, for example of descriptors, ports or memory. The text names it.
    OwnLimit(&'static str),
    /// The local firewall or missing permissions forbade it. The text is the system's error.
    Forbidden(&'static str),
    /// Too much other work was queued in front of the check.
    QueueFull,
    /// The check command, or a program that the check needs, was not started, or its exit status was lost.
    NotStarted,
    /// The table is in memory, and external checks are not run then.
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

/// What is wrong with the way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// This machine has no route or no link to it. The check is repeated until its deadline.
    NoRoute,
    /// It does not answer ARP, or a router says so. The check is repeated only where a link of this machine changed meanwhile.
    Host,
}

/// One run of one check: the answer, why, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The answer.
    pub outcome: Outcome,
    /// Why, as one line for people: what was tried, where, and what came of it. Never holds a secret.
    pub reason: String,
    /// What the original writes to `monitorfile`, where that is not `-`: at most [`MAX_MONITOR`] bytes of it.
    pub monitor: Option<String>,
    /// Something that the operator should know though it changes nothing, as the rest of a sentence; the reason has it, too.
    pub warning: Option<String>,
    /// What is wrong with the way to the server, where the kernel says so.
    pub unreachable: Option<Unreachable>,
    /// From the start of the check to its answer.
    pub took: Duration,
    /// CPU time that it took on the thread of the loop, in microseconds; zero where that was not measured.
    pub cpu_micros: u32,
}

/// The longest text for `monitorfile` in bytes (R85). A verdict is kept for each server, so no server may make it large.
pub const MAX_MONITOR: usize = 200;

/// The longest reason and the longest warning in bytes. A redirect to a long URL stands in a reason.
pub const MAX_REASON: usize = 4096;

/// What a server said may stand in a reason: here it becomes one line without signs that act on a terminal, whoever wrote it.
fn line(text: String) -> String {
    let text = cut(text, MAX_REASON);
    match escaped(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(escaped) => cut(escaped, MAX_REASON),
    }
}

/// The text, or its first `most` bytes in a string of that size. The last character stays whole.
fn cut(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text[..end].to_owned()
}

impl Verdict {
    /// A verdict whose duration the engine fills in.
    #[must_use]
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> Verdict {
        Verdict {
            outcome,
            reason: line(reason.into()),
            monitor: None,
            warning: None,
            unreachable: None,
            took: Duration::ZERO,
            cpu_micros: 0,
        }
    }

    /// The server does its work.
    #[must_use]
    pub fn up(reason: impl Into<String>) -> Verdict {
        Verdict::new(Outcome::Up, reason)
    }

    /// The server does not do its work.
    #[must_use]
    pub fn down(reason: impl Into<String>) -> Verdict {
        Verdict::new(Outcome::Down, reason)
    }

    /// The director could not carry out the check.
    #[must_use]
    pub fn unknown(cause: UnknownCause, reason: impl Into<String>) -> Verdict {
        Verdict::new(Outcome::Unknown(cause), reason)
    }

    /// Whether the check says nothing of the server.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(_))
    }

    /// Adds something that the operator should know.
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
        // Line ends are encoded by the file's own rule.
        let text = cut(text.into(), MAX_MONITOR);
        self.monitor = Some(cut(escaped_except(&text, &['\r', '\n']).into_owned(), MAX_MONITOR));
        self
    }
}
