//! What happened, told to people and to their programs: log lines in the original's words, mail, monitor files, commands.

pub mod alerts;
pub mod commands;
pub mod fallback;
pub mod letter;
pub mod monitor;
pub mod parcel;
mod post;
mod relay;
mod reminders;
mod sendmail;
pub mod way;

use std::fmt;
use std::net::SocketAddr;

use crate::health::{Blindness, Event, Punctuality, Transition};
use crate::plan::{Member, Plan};
use crate::value::Change;

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A server went up or down, or nearly so.
    Health(Transition),
    /// The table was changed.
    Table(Change),
    /// The kernel refused a change.
    Refused {
        /// What was to be done.
        operation: String,
        /// What the kernel says.
        error: String,
    },
    /// The kernel refused a change for good: the daemon ends.
    Left {
        /// What was to be done.
        operation: String,
        /// What the kernel says.
        error: String,
    },
    /// The table was not as we had left it; the operations lead from what was found to what we knew.
    Drift(Vec<String>),
    /// The kernel's time-outs of idle connections were set.
    TimeoutsSet {
        /// What they were.
        from: String,
        /// What they are.
        to: String,
    },
    /// The table could not be read back.
    Unreadable(String),
    /// A check has found something that changes nothing and should be known.
    Warning {
        /// The server that was checked.
        server: SocketAddr,
        /// What it is, as the rest of a sentence.
        warning: String,
    },
    /// A server is no longer in the configuration, and stays until another one is up.
    Leaving(Member),
    /// Checks begin late, or on time again.
    Punctuality(Punctuality),
    /// Checks are not possible, or are again.
    Blindness(Blindness),
    /// A check of a server whose virtual has a `monitorfile` has spoken: this line belongs there, and not into the log.
    Monitor(monitor::Line),
}

impl Notice {
    /// Whether the wanted table is another one now.
    #[must_use]
    pub fn moves_a_server(&self) -> bool {
        matches!(self, Notice::Health(Transition { event: Event::Up | Event::Down, .. }))
    }

    /// Whether the kernel refused something.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Notice::Refused { .. } | Notice::Left { .. } | Notice::Unreadable(_))
    }

    /// The same where nothing is tried again, since the daemon ends.
    #[must_use]
    pub fn at_the_end(self) -> Notice {
        match self {
            Notice::Refused { operation, error } => Notice::Left { operation, error },
            other => other,
        }
    }

    /// The line for the log. Its first words are the original's where the original has a line for it.
    #[must_use]
    pub fn line(&self, plan: &Plan) -> String {
        match self {
            Notice::Health(transition) => health_line(transition, plan),
            Notice::Leaving(member) => leaving_line(*member, plan),
            other => other.to_string(),
        }
    }
}

fn leaving_line(member: Member, plan: &Plan) -> String {
    let (v, real) = plan.member(member);
    format!(
        "Real server is leaving: {} ({}): it is no longer in the configuration and stays until another server is up, {} s at most",
        real.address,
        v.id.qualified(),
        plan.leaving_time(member.virtual_index).as_secs()
    )
}

fn health_line(transition: &Transition, plan: &Plan) -> String {
    let (v, real) = plan.member(transition.member);
    let server = format!("{} ({})", real.address, v.id.qualified());
    let reason = &transition.verdict.reason;
    match transition.event {
        Event::Up => format!("Real server is up: {server}: {reason}"),
        Event::Down => format!("Real server is down: {server}: {reason}"),
        Event::SoftFailure { failures } => {
            format!("Soft failure real server: {server} failure {failures}/{}: {reason}", v.failurecount)
        }
        Event::SoftFailureOver => format!("Resetting soft failure count: {server}"),
        Event::Unknown => format!("Check failed, server left as it is: {server}: {reason}"),
    }
}

/// Everything that needs no names of the plan.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Health(transition) => write!(f, "{:?}: {}", transition.event, transition.verdict.reason),
            Notice::Leaving(_) => f.write_str("A real server is leaving"),
            Notice::Table(change) => change.fmt(f),
            Notice::Refused { operation, error } => {
                write!(
                    f,
                    "The kernel refused to {operation}: {error}; the table is read back and it is tried again"
                )
            }
            Notice::Left { operation, error } => {
                write!(
                    f,
                    "The kernel refused to {operation}: {error}; it stays in the table; remove it with ipvsadm, or let the next start and stop do it"
                )
            }
            Notice::Drift(operations) => {
                write!(f, "The kernel's table was changed by somebody else; repairing: ")?;
                for (index, operation) in operations.iter().take(DRIFT_SHOWN).enumerate() {
                    write!(f, "{}{operation}", if index == 0 { "" } else { ", " })?;
                }
                match operations.len().saturating_sub(DRIFT_SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Notice::TimeoutsSet { from, to } => {
                write!(f, "Set the kernel's time-outs of idle connections to {to} (before: {from})")
            }
            Notice::Unreadable(error) => {
                write!(
                    f,
                    "The kernel's table cannot be read: {error}; it is left as it is and read again soon"
                )
            }
            Notice::Warning { server, warning } => write!(f, "Real server {server}: {warning}"),
            Notice::Blindness(blindness) => blindness.fmt(f),
            Notice::Punctuality(Punctuality::Behind { server, late, interval, waiting }) => {
                write!(
                    f,
                    "Checks fall behind: that of {server} is {:.1} s late, its interval is {:.1} s, and {waiting} more are due. \
                     Until this ends failures are noticed late. Raise checkinterval, or [checks] limit in the settings",
                    late.as_secs_f64(),
                    interval.as_secs_f64()
                )
            }
            Notice::Punctuality(Punctuality::CaughtUp { checks }) => {
                write!(f, "Checks are on time again; {checks} checks began more than one interval late")
            }
            Notice::Monitor(line) => write!(f, "{} {}", line.path.display(), line.text),
        }
    }
}

/// How many repairs are named one by one.
const DRIFT_SHOWN: usize = 5;
