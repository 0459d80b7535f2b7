//! What one run of a check found.

use std::time::Duration;

/// The answer of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server does its work.
    Up,
    /// The server does not.
    Down,
    /// The check itself failed (a bug, no descriptor left): it says nothing of the server and changes nothing.
    Unknown,
}

/// One run of one check: the answer, why, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The answer.
    pub outcome: Outcome,
    /// Why, as one line for people: what was tried, where, and what came of it. Never holds a secret.
    pub reason: String,
    /// What the original writes to `monitorfile`, where that is not `-`.
    pub monitor: Option<String>,
    /// Something that the operator should know though it changes nothing, as the rest of a sentence; the reason has it, too.
    pub warning: Option<String>,
    /// From the start of the check to its answer.
    pub took: Duration,
}

impl Verdict {
    /// A verdict whose duration the engine fills in.
    #[must_use]
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> Verdict {
        Verdict { outcome, reason: reason.into(), monitor: None, warning: None, took: Duration::ZERO }
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

    /// The check could not be carried out.
    #[must_use]
    pub fn unknown(reason: impl Into<String>) -> Verdict {
        Verdict::new(Outcome::Unknown, reason)
    }

    /// Adds something that the operator should know.
    #[must_use]
    pub fn with_warning(mut self, warning: Option<String>) -> Verdict {
        if let Some(warning) = &warning {
            self.reason.push_str(&format!("; warning: {warning}"));
        }
        self.warning = warning;
        self
    }

    /// Adds the text for `monitorfile`.
    #[must_use]
    pub fn with_monitor(mut self, text: impl Into<String>) -> Verdict {
        self.monitor = Some(text.into());
        self
    }
}
