//! An event as one line of the log. If the original has a line for it, the first words are the original's.

use std::fmt::Write as _;

use ipvs_rs::{Operation, Timeouts};
use tracing::Level;

use crate::event::{Because, Event, EventKind, Fate, KernelRequest};
use crate::health::{Ending, Override, Owner, Punctuality, Standing, What};
use crate::value::Change;
use crate::value::layout::endpoint;

/// How many operations a drift line names.
const DRIFT_SHOWN: usize = 5;

/// The line of an event. None for an event that is not logged.
#[must_use]
pub fn line(event: &Event) -> Option<String> {
    let server = || match (event.server, event.service) {
        (Some(server), Some(of)) => format!("{server} ({})", of.qualified()),
        _ => String::new(),
    };
    let service = || event.service.map(|of| of.qualified()).unwrap_or_default();
    Some(match &event.kind {
        EventKind::Checked { .. } | EventKind::DownWithoutChange | EventKind::Reloaded => return None,
        EventKind::Up { verdict } => format!("Real server is up: {}: {}", server(), verdict.reason),
        EventKind::Down { verdict } => format!("Real server is down: {}: {}", server(), verdict.reason),
        EventKind::SoftFailure { failures, of, verdict } => {
            format!("Soft failure real server: {} failure {failures}/{of}: {}", server(), verdict.reason)
        }
        EventKind::SoftFailureOver => format!("Resetting soft failure count: {}", server()),
        EventKind::Unknown { verdict } => {
            format!("Check failed, server left as it is: {}: {}", server(), verdict.reason)
        }
        EventKind::Warning { verdict } => {
            let server = event.server.map(|server| server.to_string()).unwrap_or_default();
            format!("Real server {server}: {}", verdict.warning.as_deref().unwrap_or_default())
        }
        EventKind::Overridden { decision, in_maintenance } => {
            overridden(decision, *in_maintenance, &server())
        }
        EventKind::OverrideEnded { decision, ending, state } => {
            override_ended(decision, ending, *state, &server())
        }
        EventKind::Leaving { at_most } => format!(
            "Real server is leaving: {}: it is no longer in the configuration and stays until another server is up, {} s at most",
            server(),
            at_most.as_secs()
        ),
        EventKind::NoServerLeft { servers, fallback } => {
            let fallback = match fallback {
                Some(server) => format!("fallback {} activated", endpoint(*server)),
                None => "no fallback".to_owned(),
            };
            format!("No server left: {}: 0 of {servers} real servers in rotation, {fallback}", service())
        }
        EventKind::ServerLeftAgain => format!("A server is left again: {}", service()),
        EventKind::Table { change, .. } => change.to_string(),
        EventKind::Refused { request, error, fate } => {
            let what = match request {
                KernelRequest::Operation(operation) => operation.to_string(),
                KernelRequest::Timeouts(timeouts) => {
                    format!("set the time-outs of idle connections to {}", in_words(*timeouts))
                }
            };
            let fate = match fate {
                Fate::Retried => "the table is read back and the operation is retried",
                Fate::Abandoned => {
                    "it stays in the table; remove it with ipvsadm, or let the next start and stop do it"
                }
            };
            format!("The kernel refused to {what}: {error}; {fate}")
        }
        EventKind::Drift { repairs } => drift(repairs),
        EventKind::Unreadable { error } => {
            format!("The kernel's table cannot be read: {error}; it is left unchanged and read again soon")
        }
        EventKind::TimeoutsSet { from, to } => {
            let (from, to) = (in_words(*from), in_words(*to));
            format!("Set the kernel's time-outs of idle connections to {to} (before: {from})")
        }
        EventKind::Blindness(blindness) => blindness.to_string(),
        EventKind::Punctuality(punctuality) => late(punctuality),
    })
}

/// How serious an event is.
#[must_use]
pub fn level(event: &Event) -> Level {
    match &event.kind {
        EventKind::Warning { .. } | EventKind::OverrideEnded { ending: Ending::Removed, .. } => Level::WARN,
        EventKind::NoServerLeft { .. }
        | EventKind::Punctuality(_)
        | EventKind::Blindness(_)
        | EventKind::Refused { .. }
        | EventKind::Unreadable { .. } => Level::ERROR,
        _ => Level::INFO,
    }
}

/// The state of the server after an event, in one word. None if the event changes no state.
#[must_use]
pub fn state(event: &Event) -> Option<&'static str> {
    match &event.kind {
        EventKind::Up { .. } => Some("up"),
        EventKind::Down { .. } => Some("down"),
        EventKind::SoftFailure { .. } => Some("failing"),
        EventKind::SoftFailureOver => Some("up"),
        EventKind::Unknown { .. } => Some("unknown"),
        EventKind::Leaving { .. } => Some("leaving"),
        EventKind::Overridden { in_maintenance: true, .. } => Some("maintenance"),
        EventKind::Overridden { decision, .. } => match decision.what {
            What::Drain => Some("draining"),
            What::Down => Some("down"),
            What::Up => Some("up"),
            What::Weight(_) => None,
        },
        EventKind::OverrideEnded { state, .. } => state.map(|state| match state {
            Standing::InRotation => "up",
            Standing::Draining => "draining",
            Standing::Out => "down",
        }),
        _ => None,
    }
}

/// The reason of the check or the override that led to an event.
#[must_use]
pub fn reason(event: &Event) -> Option<&str> {
    match &event.kind {
        EventKind::Up { verdict }
        | EventKind::Down { verdict }
        | EventKind::SoftFailure { verdict, .. }
        | EventKind::Unknown { verdict } => Some(&verdict.reason),
        EventKind::Warning { verdict } => verdict.warning.as_deref(),
        EventKind::Overridden { decision, .. } if !decision.reason.is_empty() => Some(&decision.reason),
        _ => None,
    }
}

/// The cause of a table change, as a kind of event.
#[must_use]
pub fn because(event: &Event) -> Option<&'static str> {
    let EventKind::Table { because, .. } = &event.kind else { return None };
    because.as_ref().map(|because| match because {
        Because::Up => "up",
        Because::Down => "down",
        Because::Overridden(_) => "overridden",
        Because::OverrideEnded => "override-ended",
    })
}

/// The `MESSAGE_ID` of each kind of event that has a line, for the journal (systemd.journal-fields(7)). Documented in
/// `docs/control.md`; must never change.
const MESSAGE_IDS: &[(&str, &str)] = &[
    ("up", "f94573d1f2ee4c088b658b6c2f6ee2f6"),
    ("down", "7be6b7ab644f455286965b4a3fb38275"),
    ("soft-failure", "97c36ed995ee441083391b8d7d7a4343"),
    ("soft-failure-over", "2e43b264743b4af1a6129b6b0b23c380"),
    ("unknown", "f9495c42e06247af82122d0659a1afb3"),
    ("warning", "77b2cccc863e48f6bf10451c1d0690db"),
    ("overridden", "3221a326ebca40f5b4054e1c85312bfb"),
    ("override-ended", "e54ed9458fe948668f2b5440c320adf5"),
    ("leaving", "af554211ba0f448a86937d8a2ffef430"),
    ("no-server-left", "6b71d084cdfc452ea6011e23486abddc"),
    ("server-left-again", "670f8f7baa8d4d1e8ace5ba474726c7d"),
    ("table-server", "a3fa7b6d5eb24e03b35037ef36e52fa0"),
    ("table-service", "3d0e7383ac6c408288b21c27240cd9ca"),
    ("refused", "447061e4d6024b04936751307bca8fa2"),
    ("drift", "b541221e1e70419c82a29d1ecd4b77d2"),
    ("unreadable", "9a95e45f1dd44a72ab5875f7a9aa84cb"),
    ("timeouts-set", "59d0dd0b00844558aef1cfda10076b27"),
    ("punctuality", "99258733b8fa44b190c2c1f3ace17e8a"),
    ("checks-possible", "2757146d66344be298aee76e7211ba73"),
];

/// The `MESSAGE_ID` of a kind of event.
#[must_use]
pub fn message_id(kind: &str) -> Option<&'static str> {
    MESSAGE_IDS.iter().find(|(known, _)| *known == kind).map(|(_, id)| *id)
}

/// The name of the kind of an event. Names must never change.
#[must_use]
pub fn kind(event: &Event) -> &'static str {
    match &event.kind {
        EventKind::Checked { .. } => "checked",
        EventKind::Up { .. } => "up",
        EventKind::Down { .. } => "down",
        EventKind::DownWithoutChange => "down-without-change",
        EventKind::SoftFailure { .. } => "soft-failure",
        EventKind::SoftFailureOver => "soft-failure-over",
        EventKind::Unknown { .. } => "unknown",
        EventKind::Warning { .. } => "warning",
        EventKind::Overridden { .. } => "overridden",
        EventKind::OverrideEnded { .. } => "override-ended",
        EventKind::Leaving { .. } => "leaving",
        EventKind::NoServerLeft { .. } => "no-server-left",
        EventKind::ServerLeftAgain => "server-left-again",
        EventKind::Table { change: Change::Server(_), .. } => "table-server",
        EventKind::Table { .. } => "table-service",
        EventKind::Refused { .. } => "refused",
        EventKind::Drift { .. } => "drift",
        EventKind::Unreadable { .. } => "unreadable",
        EventKind::TimeoutsSet { .. } => "timeouts-set",
        EventKind::Punctuality(_) => "punctuality",
        EventKind::Blindness(_) => "checks-possible",
        EventKind::Reloaded => "reloaded",
    }
}

/// The line for a new override. For maintenance: the original's words.
fn overridden(decision: &Override, in_maintenance: bool, server: &str) -> String {
    let Owner::Operator(who) = &decision.owner else {
        return format!("Real server is down: {server}: {}", decision.reason);
    };
    let until = decision.until.map(|until| until.saturating_duration_since(decision.since).as_secs());
    let until = until.map(|seconds| format!(" for {seconds} s")).unwrap_or_default();
    let why = if decision.reason.is_empty() { String::new() } else { format!(": {}", decision.reason) };
    let later = if in_maintenance { "; no effect while in maintenance" } else { "" };
    format!("Override {} of real server: {server}: by {who}{until}{why}{later}", decision.what)
}

fn override_ended(decision: &Override, ending: &Ending, state: Option<Standing>, server: &str) -> String {
    let state = match state {
        Some(Standing::InRotation) => "; in rotation",
        Some(Standing::Draining) => "; draining",
        Some(Standing::Out) => "; out of rotation until its check succeeds",
        None => "",
    };
    let why = match ending {
        _ if decision.owner == Owner::Maintenance => {
            return format!("Maintenance of real server ended: {server}{state}");
        }
        // The new override has its own line.
        Ending::Replaced(owner) => {
            return format!(
                "Override {} of real server ended: {server}: by {}, replaced by {owner}",
                decision.what, decision.owner
            );
        }
        Ending::Undone(owner) => format!("undone by {owner}"),
        Ending::Expired => "expired".to_owned(),
        Ending::Removed => "the configuration no longer has the server".to_owned(),
    };
    format!("Override {} of real server ended: {server}: by {}, {why}{state}", decision.what, decision.owner)
}

fn drift(repairs: &[Operation]) -> String {
    let mut line = "The kernel's table was changed by another program; reconciling: ".to_owned();
    for (index, operation) in repairs.iter().take(DRIFT_SHOWN).enumerate() {
        let _ = write!(line, "{}{operation}", if index == 0 { "" } else { ", " });
    }
    match repairs.len().saturating_sub(DRIFT_SHOWN) {
        0 => line,
        more => format!("{line} and {more} more"),
    }
}

fn late(punctuality: &Punctuality) -> String {
    match punctuality {
        Punctuality::Behind { server, late, interval, waiting } => format!(
            "Checks are late: the check of {server} by {:.1} s (interval {:.1} s), and {waiting} more are due. Until this ends, \
             failures are noticed late. Raise checkinterval, or [checks] max_concurrent in the settings",
            late.as_secs_f64(),
            interval.as_secs_f64()
        ),
        Punctuality::CaughtUp { checks } => {
            format!("Checks are on time again; {checks} checks began more than one interval late")
        }
    }
}

fn in_words(timeouts: Timeouts) -> String {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    format!("tcp {tcp} s, tcpfin {tcp_fin} s, udp {udp} s")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_in_the_manual_with_an_id_of_its_own() {
        let manual = include_str!("../../docs/control.md");
        let rows: Vec<&str> =
            manual.lines().filter(|line| line.starts_with("| `") && line.len() > 60).collect();
        for (kind, id) in MESSAGE_IDS {
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{kind}");
            let row = format!("| `{kind}` | `{id}` |");
            assert!(manual.lines().any(|line| line.starts_with(&row)), "{row}");
        }
        let ids: BTreeSet<&str> = MESSAGE_IDS.iter().map(|(_, id)| *id).collect();
        assert_eq!(ids.len(), MESSAGE_IDS.len());
        let documented = rows.iter().filter(|row| row.split('`').nth(3).is_some_and(|id| id.len() == 32));
        assert_eq!(documented.count(), MESSAGE_IDS.len());
    }

    #[test]
    fn what_has_a_line_has_an_id() {
        let of_director = Event::of_director;
        let events = [
            Event::of_table(Change::VirtualAdded("fwm:5".parse().unwrap())),
            of_director(EventKind::Unreadable { error: ipvs_rs::Error::NoAnswer }),
            of_director(EventKind::Drift { repairs: Vec::new() }),
            of_director(EventKind::Punctuality(Punctuality::CaughtUp { checks: 3 })),
            of_director(EventKind::TimeoutsSet { from: Timeouts::default(), to: Timeouts::default() }),
            of_director(EventKind::SoftFailureOver),
            of_director(EventKind::NoServerLeft { servers: 2, fallback: None }),
            of_director(EventKind::ServerLeftAgain),
            of_director(EventKind::Reloaded),
            of_director(EventKind::DownWithoutChange),
        ];
        for event in events {
            assert_eq!(line(&event).is_some(), message_id(kind(&event)).is_some(), "{event:?}");
        }
    }

    #[test]
    fn a_long_list_of_repairs_is_cut() {
        let key = ipvs_rs::ServiceKey::Mark { mark: 5, family: ipvs_rs::Family::V4 };
        let repairs = vec![Operation::RemoveService { key }; 7];
        let text = line(&Event::of_director(EventKind::Drift { repairs })).unwrap();
        assert!(text.ends_with(" and 2 more"), "{text}");
    }
}
