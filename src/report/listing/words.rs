//! Why a server is in its state, in words.

use chrono::DateTime;

use super::lines::ListingStyle;
use crate::health::MAINTENANCE;
use crate::report::snapshot::{CheckRun, Overridden, PhaseDuration, ServerEntry};
use crate::report::view::ShownState;
use crate::value::shown::escaped;

/// The reason of the last check without the server's own address, so that equal reasons of several servers are equal.
pub(super) fn common_reason(server: &ServerEntry) -> String {
    let reason = server.last_check.as_ref().map_or("", |checked| checked.reason.as_str());
    reason.replace(&format!(" to {}", server.address), "").replace(&server.address, "it")
}

/// Up, and nothing else to say about it.
pub(super) fn is_plainly_up(server: &ServerEntry) -> bool {
    let has_warning = server.last_check.as_ref().is_some_and(|checked| checked.warning.is_some());
    server.state == ShownState::Up && server.overridden.is_none() && server.failures == 0 && !has_warning
}

/// Why a server is in its state.
pub(super) fn reason(server: &ServerEntry) -> String {
    let found = match &server.last_check {
        Some(checked) => checked.reason.clone(),
        None if server.state == ShownState::Off => "never checked (checktype=off)".to_owned(),
        None => "not checked yet".to_owned(),
    };
    match &server.overridden {
        Some(decision) => decided(decision, &found),
        None if server.state == ShownState::Up && server.failures > 0 => {
            let of = server.failurecount.map(|count| format!(" of {count}")).unwrap_or_default();
            format!("soft failure {}{of}: {found}", server.failures)
        }
        None => found,
    }
}

/// The override of a server, and the result of its check.
pub(super) fn decided(decision: &Overridden, found: &str) -> String {
    if decision.owner == MAINTENANCE {
        return escaped(&decision.note).into_owned();
    }
    let until = decision.until.as_ref().map(|until| format!(" until {}", date(until))).unwrap_or_default();
    let note =
        if decision.note.is_empty() { String::new() } else { format!(" ({})", escaped(&decision.note)) };
    let weight = decision.weight.as_ref().map(|weight| format!(" {}", escaped(weight))).unwrap_or_default();
    format!("{}{weight} by {}{until}{note}; its check: {found}", decision.what, escaped(&decision.owner))
}

/// A time of RFC 3339 as people write it: `29 Nov 2026 05:26:40 +01:00`.
pub(super) fn date(text: &str) -> String {
    let time = DateTime::parse_from_rfc3339(text);
    time.map_or_else(|_| text.to_owned(), |time| time.format("%-d %b %Y %H:%M:%S %:z").to_string())
}

/// The duration of each phase of a check. The phase in which it failed has a mark.
pub(super) fn phases(run: &CheckRun, has_failed: bool, look: ListingStyle) -> Option<String> {
    let last = run.phases.len().checked_sub(1)?;
    let mark = if look.utf8 { "✖ " } else { "x " };
    let text = |(index, phase): (usize, &PhaseDuration)| {
        let mark = if has_failed && index == last { mark } else { "" };
        format!("{} {mark}{}", escaped(&phase.phase), duration(phase.ms))
    };
    Some(run.phases.iter().enumerate().map(text).collect::<Vec<_>>().join("   "))
}

/// Milliseconds in words: `3.1 ms`, `5.0 s`.
pub(super) fn duration(ms: f64) -> String {
    // Below 1 s also after rounding.
    if ms < 999.95 { format!("{ms:.1} ms") } else { format!("{:.1} s", ms / 1000.0) }
}
