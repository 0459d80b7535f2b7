//! Everything known about one server, for people.

use chrono::{DateTime, FixedOffset};
use serde_json::Value;

use super::lines::{ListingStyle, Paint, PaintedLine, appended, span, wrapped};
use super::marks::{paint, sign};
use super::rows;
use super::words::{self, date, duration, reason};
use crate::report::story::{CheckDuration, MemberReport, StoryReport};
use crate::report::view::ShownState;
use crate::value::shown::escaped;

/// The width of the names of facts.
const NAMES: usize = 8;
/// The number of cells of the strip of the last day: one for each hour.
const HOURS: usize = 24;

/// The story as text, without a line end at its end.
#[must_use]
pub fn story(story: &StoryReport, look: ListingStyle) -> String {
    let members = story.servers.iter().map(|member| {
        let lines = member_lines(member, story, look);
        lines.iter().map(|line| line.text(look.colour)).collect::<Vec<_>>().join("\n")
    });
    members.collect::<Vec<_>>().join("\n\n")
}

fn member_lines(member: &MemberReport, story: &StoryReport, look: ListingStyle) -> Vec<PaintedLine> {
    let mut lines = heading(member, look);
    for (name, text) in facts(member, story, look) {
        let mut line = PaintedLine::default();
        line.push(Paint::Dim, format!("  {name:NAMES$}  "));
        lines.extend(wrapped(line, &text, look.width));
    }
    if !member.events.is_empty() {
        lines.push(PaintedLine::of(Paint::Dim, "  events"));
    }
    for event in &member.events {
        let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
        let mut line = PaintedLine::default();
        line.push(Paint::Dim, format!("    {}  ", short_date(text("time"))));
        lines.extend(wrapped(line, &escaped(text("message")), look.width));
    }
    lines
}

/// The state of the server, and below it that of its service.
fn heading(member: &MemberReport, look: ListingStyle) -> Vec<PaintedLine> {
    let (server, service) = (&member.server, &member.service);
    let paint = paint(server);
    let mut line = PaintedLine::default();
    line.push(if paint == Paint::Plain { Paint::Good } else { paint }, sign(look, server));
    line.push(Paint::Plain, format!(" {}   ", server.address));
    let since = server.since_seconds.map(|seconds| format!(" for {}", span(seconds))).unwrap_or_default();
    line.push(paint, format!("{}{since}", rows::word(server.state)));
    let name = service.name.as_deref().map(|name| format!(" {}", escaped(name))).unwrap_or_default();
    let of = format!("  {}{name}   {} of {} up", service.id, service.in_rotation, service.servers);
    let lines = vec![line, PaintedLine::of(Paint::Plain, of)];
    match (&service.fallback, service.fallback_is_active) {
        (None, _) => lines,
        (Some(fallback), true) => {
            appended(lines, Paint::Bad, &format!("fallback {fallback} activated"), look.width)
        }
        (Some(_), false) => appended(lines, Paint::Plain, "fallback standby", look.width),
    }
}

fn facts(
    member: &MemberReport,
    story: &StoryReport,
    look: ListingStyle,
) -> impl Iterator<Item = (&'static str, String)> {
    let server = &member.server;
    let taken = DateTime::parse_from_rfc3339(&story.taken_at).ok();
    let check = server.last_check.as_ref().map(|run| {
        let next = member.next_check_seconds.map_or_else(
            || "; it runs now".to_owned(),
            |seconds| format!("; next in {}", span(seconds.ceil())),
        );
        format!("{}{next}", run.check)
    });
    let all = [
        ("since", Some(date(&member.since))),
        ("table", Some(table(member))),
        ("check", check),
        ("result", Some(reason(server))),
        ("phases", phases(member, look)),
        ("times", times(&member.checks, look)),
        ("24 hours", taken.and_then(|taken| day(member, taken, look))),
    ];
    all.into_iter().filter_map(|(name, text)| Some((name, text?)))
}

fn table(member: &MemberReport) -> String {
    let server = &member.server;
    let Some(found) = &member.destination else {
        return format!("not in the table; configured: {}, weight {}", server.method, server.weight);
    };
    let of = if found.weight == server.weight { String::new() } else { format!(" of {}", server.weight) };
    let connections = found.connections.map(|counts| {
        format!(
            "; connections: {} active, {} inactive; persistence templates: {}",
            counts.active, counts.inactive, counts.persistent
        )
    });
    format!("{}, weight {}{of}{}", server.method, found.weight, connections.unwrap_or_default())
}

fn phases(member: &MemberReport, look: ListingStyle) -> Option<String> {
    let has_failed = member.checks.last().is_some_and(|check| check.result == "down");
    words::phases(member.server.last_check.as_ref()?, has_failed, look)
}

/// The last times of the check, each as a bar, and what is usual.
fn times(checks: &[CheckDuration], look: ListingStyle) -> Option<String> {
    let mut good: Vec<f64> =
        checks.iter().filter(|check| check.result == "up").map(|check| check.ms).collect();
    good.sort_by(f64::total_cmp);
    let longest = good.last().copied().unwrap_or_default();
    let bar = |check: &CheckDuration| match check.result.as_str() {
        "up" => level(check.ms, longest, look),
        _ if look.utf8 => '×',
        _ => 'x',
    };
    let bars: String = checks.iter().map(bar).collect();
    let usual = match good.get(good.len() / 2) {
        Some(median) => format!("median {}, longest {}", duration(*median), duration(longest)),
        None => "no check succeeded".to_owned(),
    };
    (!checks.is_empty()).then(|| format!("{bars}  last {}: {usual}", checks.len()))
}

fn level(ms: f64, longest: f64, look: ListingStyle) -> char {
    let levels: &[char] =
        if look.utf8 { &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] } else { &['_', '=', '#'] };
    let share = if longest > 0.0 { ms / longest } else { 0.0 };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = (share.clamp(0.0, 1.0) * (levels.len() - 1) as f64).round() as usize;
    levels[index]
}

/// A strip with a cell for each of the last 24 hours: for how much of it the server was down. Dots are hours
/// of which nothing is known: before the start of the daemon, or before the first event of the server.
fn day(member: &MemberReport, taken: DateTime<FixedOffset>, look: ListingStyle) -> Option<String> {
    let mut begins: Vec<(DateTime<FixedOffset>, bool)> = member
        .states
        .iter()
        .filter_map(|begin| Some((DateTime::parse_from_rfc3339(&begin.at).ok()?, begin.state == "down")))
        .collect();
    if begins.is_empty() {
        let since = DateTime::parse_from_rfc3339(&member.since).ok()?;
        begins.push((since, member.server.state == ShownState::Down));
    }
    let hour = 3600;
    let age = |at: DateTime<FixedOffset>| taken.signed_duration_since(at).num_seconds().max(0);
    // Seconds known and seconds down of each hour, the present hour first.
    let mut cells = [(0_i64, 0_i64); HOURS];
    for (index, (at, is_down)) in begins.iter().enumerate() {
        let end = begins.get(index + 1).map_or(0, |(next, _)| age(*next));
        for (cell, back) in cells.iter_mut().zip(0_i64..) {
            let overlap = (age(*at).min((back + 1) * hour) - end.max(back * hour)).max(0);
            cell.0 += overlap;
            cell.1 += if *is_down { overlap } else { 0 };
        }
    }
    let mark = |(known, down): &(i64, i64)| match (*known, *down) {
        (0, _) if look.utf8 => '·',
        (0, _) => '.',
        (_, 0) if look.utf8 => '▁',
        (_, 0) => '_',
        (known, down) if down == known => {
            if look.utf8 {
                '█'
            } else {
                '#'
            }
        }
        _ if look.utf8 => '▄',
        _ => '=',
    };
    let strip: String = cells.iter().rev().map(mark).collect();
    let downs = begins.iter().filter(|(_, is_down)| *is_down).count();
    let times = if downs == 1 { "once".to_owned() } else { format!("{downs} times") };
    Some(if downs == 0 { format!("{strip}  never down") } else { format!("{strip}  down {times}") })
}

/// `29 Nov 05:26:40`.
fn short_date(text: &str) -> String {
    let time = DateTime::parse_from_rfc3339(text);
    time.map_or_else(|_| text.to_owned(), |time| time.format("%-d %b %H:%M:%S").to_string())
}
