//! A snapshot for people: problems first, a line for each virtual service, and below it a line for each server that
//! needs one.

pub(super) mod lines;
mod marks;
mod rows;
mod story;
#[cfg(test)]
mod tests;
mod traffic;
mod words;

use std::collections::BTreeMap;

use super::snapshot::{ServerEntry, StateSnapshot};
use super::view::ShownState;
use crate::health::MAINTENANCE;
use crate::value::shown::escaped;
pub use lines::ListingStyle;
use lines::{Paint, PaintedLine, appended, filled, span, wrapped};
use marks::{mark, paint, sign};
use rows::{Level, Row, ServiceRows};
pub use story::story;
pub use traffic::traffic_table;
use words::{common_reason, date, is_plainly_up, phases};

/// Maximum number of servers of a listing that shows all of them.
const SHORT: usize = 16;

/// Maximum number of lines for servers of a service that are down for the same reason. The other servers are counted.
const SAME: usize = 3;

/// From this number of columns on, a listing has the duration of the last check.
const WIDE: usize = 100;

/// The listing as text, without a line end at its end.
#[must_use]
pub fn render(snapshot: &StateSnapshot, look: ListingStyle) -> String {
    render_with(snapshot, None, look)
}

/// The listing with only this virtual service, below the summary of all.
#[must_use]
pub fn render_one(snapshot: &StateSnapshot, service: &str, look: ListingStyle) -> String {
    render_with(snapshot, Some(service), look)
}

fn render_with(snapshot: &StateSnapshot, only: Option<&str>, look: ListingStyle) -> String {
    let is_wanted = |id: &str| only.is_none_or(|only| id == only);
    let services: Vec<ServiceRows<'_>> = snapshot.virtuals.iter().map(ServiceRows::of).collect();
    let count: usize = services.iter().map(|service| service.of.servers.len()).sum();
    let listing = Listing {
        look: ListingStyle { all: look.all || (count <= SHORT && !look.down), ..look },
        columns: Columns::of(&services),
    };
    let mut lines = listing.summary(snapshot, &services);
    let mut sorted: Vec<&ServiceRows<'_>> = services.iter().collect();
    sorted.sort_by_key(|service| service.level);
    let is_printed =
        |service: &&ServiceRows<'_>| is_wanted(&service.of.id) && (!look.down || service.has_problem());
    for service in sorted.into_iter().filter(is_printed) {
        lines.extend(listing.service(service));
    }
    for other in snapshot.elsewhere.iter().filter(|other| !look.down && is_wanted(&other.id)) {
        lines.push(PaintedLine::of(
            Paint::Dim,
            format!("{} {}  owned by {}", mark(look, ShownState::Off), other.id, escaped(&other.owner)),
        ));
    }
    let text: Vec<String> = lines.iter().map(|line| line.text(look.colour)).collect();
    text.join("\n")
}

/// The widths of the columns.
#[derive(Default)]
struct Columns {
    address: usize,
    state: usize,
    since: usize,
    weight: usize,
    active: usize,
    took: usize,
}

impl Columns {
    fn of(services: &[ServiceRows<'_>]) -> Columns {
        let mut columns = Columns::default();
        for row in services.iter().flat_map(|service| &service.rows) {
            for (column, cell) in [
                (&mut columns.address, row.server.address.as_str()),
                (&mut columns.state, row.state),
                (&mut columns.since, &row.since),
                (&mut columns.weight, &row.weight),
                (&mut columns.active, &row.active),
                (&mut columns.took, &row.took),
            ] {
                *column = (*column).max(cell.chars().count());
            }
        }
        columns
    }
}

struct Listing {
    look: ListingStyle,
    columns: Columns,
}

impl Listing {
    fn summary(&self, snapshot: &StateSnapshot, services: &[ServiceRows<'_>]) -> Vec<PaintedLine> {
        let of_level = |level| services.iter().filter(|service| service.level == level).count();
        let (lost, degraded) = (of_level(Level::Lost), of_level(Level::Degraded));
        let pending = services.iter().filter(|service| service.is_pending()).count();
        let empty = services.iter().filter(|service| service.of.servers.is_empty()).count();
        let head = match (lost, degraded, services.len()) {
            (_, _, 0) => PaintedLine::of(Paint::Plain, "No virtual service"),
            (0, 0, _) if pending > 0 => {
                let are = if pending == 1 { "virtual service is" } else { "virtual services are" };
                PaintedLine::of(
                    Paint::Warning,
                    format!("{} {pending} {are} not checked yet", self.sign(Level::None)),
                )
            }
            (0, 0, _) if empty > 0 => {
                let has = if empty == 1 { "virtual service has" } else { "virtual services have" };
                PaintedLine::of(
                    Paint::Warning,
                    format!("{} {empty} {has} no real server", self.sign(Level::Degraded)),
                )
            }
            (0, 0, _) => PaintedLine::of(
                Paint::Good,
                format!("{} All virtual services are up", mark(self.look, ShownState::Up)),
            ),
            (0, _, _) => PaintedLine::of(
                Paint::Warning,
                format!("{} {}", self.sign(Level::Degraded), degraded_words(degraded)),
            ),
            _ => {
                let has = if lost == 1 { "virtual service has" } else { "virtual services have" };
                let others = if degraded > 0 { format!(", {degraded} degraded") } else { String::new() };
                PaintedLine::of(
                    Paint::Bad,
                    format!("{} {lost} {has} no server left{others}", self.sign(Level::Lost)),
                )
            }
        };
        let mut lines = vec![head];
        let count: usize = services.iter().map(|service| service.of.servers.len()).sum();
        if count > 0 {
            let mut counts = counts(services, count);
            match snapshot.old_overrides().count() {
                0 => {}
                1 => counts.push("1 override older than a day without an end".to_owned()),
                number => counts.push(format!("{number} overrides older than a day without an end")),
            }
            lines.extend(filled(Paint::Plain, &counts, self.look.width));
        }
        let facts = [snapshot.name.clone(), snapshot.config.clone(), date(&snapshot.taken_at)];
        let facts = facts.into_iter().filter(|fact| !fact.is_empty());
        let facts: Vec<String> = facts.map(|fact| escaped(&fact).into_owned()).collect();
        lines.extend(filled(Paint::Dim, &facts, self.look.width));
        if !services.is_empty() || !snapshot.elsewhere.is_empty() {
            lines.push(PaintedLine::default());
        }
        lines
    }

    fn sign(&self, level: Level) -> &'static str {
        match (level, self.look.utf8) {
            (Level::Lost, true) => "✖",
            (Level::Lost, false) => "x",
            (Level::Degraded, true) => "△",
            (Level::Degraded, false) => "!",
            (Level::Up, true) => "●",
            (Level::Up, false) => "+",
            (Level::None, true) => "○",
            (Level::None, false) => "-",
        }
    }

    /// The line of a service, and those of its servers.
    fn service(&self, service: &ServiceRows<'_>) -> Vec<PaintedLine> {
        let v = service.of;
        let (paint, state) = match service.level {
            Level::Lost if service.is_missing() => (Paint::Bad, "NOT IN THE TABLE (the log has the reason)"),
            Level::Lost => (Paint::Bad, "NO SERVER LEFT"),
            Level::Degraded => (Paint::Warning, "degraded"),
            Level::Up => (Paint::Plain, "up"),
            Level::None if v.servers.is_empty() => (Paint::Warning, "no real server"),
            Level::None if service.is_pending() => (Paint::Warning, "not checked yet"),
            Level::None => (Paint::Dim, "not checked"),
        };
        let mut parts = vec![state.to_owned()];
        if !v.servers.is_empty() {
            parts.push(format!("{} of {} up", service.up, v.servers.len()));
        }
        if let Some(active) = service.active() {
            parts.push(format!("{active} active"));
        }
        let name = v.name.as_deref().map(|name| format!(" {}", escaped(name))).unwrap_or_default();
        let mut line = PaintedLine::default();
        line.push(if service.level == Level::Up { Paint::Good } else { paint }, self.sign(service.level));
        line.push(Paint::Plain, format!(" {}{name}", v.id));
        line.push(paint, format!("   {}", parts.join("   ")));
        let mut lines = vec![line];
        let activated = service.fallback.map(|found| format!("fallback {} activated", found.address));
        let standby = v.fallback.as_ref().filter(|_| v.destinations.is_some());
        if let Some(fallback) = activated.or_else(|| standby.map(|_| "fallback standby".to_owned())) {
            lines = appended(lines, paint, &fallback, self.look.width);
        }
        lines.extend(self.servers(service));
        for other in &service.others {
            let text =
                format!("    {} with weight {}: added by another program", other.address, other.weight);
            lines.push(PaintedLine::of(Paint::Warning, text));
        }
        lines
    }

    fn servers(&self, service: &ServiceRows<'_>) -> Vec<PaintedLine> {
        let mut lines = Vec::new();
        let (mut same, mut up) = (BTreeMap::<String, usize>::new(), 0);
        for row in &service.rows {
            let server = row.server;
            if !self.look.all && server.state == ShownState::Down && server.overridden.is_none() {
                let count = same.entry(common_reason(server)).or_default();
                *count += 1;
                if *count > SAME {
                    continue;
                }
            }
            if !self.look.all && is_plainly_up(server) {
                up += 1;
                continue;
            }
            lines.extend(self.server(row));
        }
        let rest = |text: String| PaintedLine::of(Paint::Dim, format!("    {text} (--all)"));
        for (reason, count) in same.into_iter().filter(|(_, count)| *count > SAME) {
            let text = format!("{} more DOWN for the same reason: {}", count - SAME, escaped(&reason));
            lines.push(rest(text));
        }
        // The line of a service that is up has this already.
        if up > 0 && !self.look.down && (!lines.is_empty() || up < service.rows.len()) {
            lines.push(rest(format!("{up} more up")));
        }
        lines
    }

    /// The line of a server. Its reason is wrapped below itself, and never cut.
    fn server(&self, row: &Row<'_>) -> Vec<PaintedLine> {
        let (server, columns) = (row.server, &self.columns);
        let paint = paint(server);
        let mut line = PaintedLine::default();
        line.push(Paint::Plain, "  ");
        line.push(if paint == Paint::Plain { Paint::Good } else { paint }, sign(self.look, server));
        line.push(Paint::Plain, format!(" {:<1$}", server.address, columns.address));
        line.push(paint, format!("  {:<1$}", row.state, columns.state));
        let is_wide = self.look.width.is_none_or(|width| width >= WIDE);
        let wide = |column: usize| if is_wide { column } else { 0 };
        for (cell, column) in [
            (&row.since, columns.since),
            (&row.weight, columns.weight),
            (&row.active, wide(columns.active)),
            (&row.took, wide(columns.took)),
        ] {
            if column > 0 {
                line.push(Paint::Plain, format!("  {cell:>column$}"));
            }
        }
        line.push(Paint::Plain, "  ");
        let mut lines = wrapped(line, &row.reason(), self.look.width);
        if self.look.phases
            && let Some(run) = &server.last_check
            && let Some(phases) = phases(run, server.state == ShownState::Down, self.look)
        {
            lines.push(PaintedLine::of(Paint::Dim, format!("      {phases}")));
        }
        lines
    }
}

fn degraded_words(count: usize) -> String {
    if count == 1 {
        "1 virtual service is degraded".to_owned()
    } else {
        format!("{count} virtual services are degraded")
    }
}

/// How many servers are in rotation, how many are down and for how long, and how many are overridden.
fn counts(services: &[ServiceRows<'_>], count: usize) -> Vec<String> {
    let servers = || services.iter().flat_map(|service| &service.of.servers);
    let up: usize = services.iter().map(|service| service.up).sum();
    let mut parts = vec![format!("{up} of {count} real servers in rotation")];
    let down = servers().filter(|server| server.state == ShownState::Down);
    let longest = down.clone().filter_map(|server| server.since_seconds).max_by(f64::total_cmp);
    match (down.count(), longest) {
        (0, _) => {}
        (number, Some(seconds)) => parts.push(format!("{number} down, the first for {}", span(seconds))),
        (number, None) => parts.push(format!("{number} down")),
    }
    let count = |is: &dyn Fn(&ServerEntry) -> bool| servers().filter(|server| is(server)).count();
    match count(&|server| server.state == ShownState::Unknown) {
        0 => {}
        number => parts.push(format!("{number} unknown")),
    }
    match count(&|server| server.state == ShownState::Maintenance) {
        0 => {}
        number => parts.push(format!("{number} in maintenance")),
    }
    match count(&|server| server.overridden.as_ref().is_some_and(|decision| decision.owner != MAINTENANCE)) {
        0 => {}
        1 => parts.push("1 override".to_owned()),
        number => parts.push(format!("{number} overrides")),
    }
    parts
}
