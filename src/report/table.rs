//! Renders a snapshot for people: a row for each server, with its destination in the kernel's table.

use comfy_table::{ContentArrangement, Table, TableStyle};

use super::snapshot::{Destination, Overridden, Server, Snapshot, VirtualService};
use super::view::State;
use crate::health::MAINTENANCE;
use crate::value::shown::escaped;

/// Renders the snapshot as a text table, one line a row.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(vec!["VIRTUAL", "SERVER", "STATE", "TABLE", "TOOK", "REASON"]);
    for v in &snapshot.virtuals {
        for (index, server) in v.servers.iter().enumerate() {
            table.add_row(row(v, server, index == 0));
        }
        for extra in extra_destinations(v) {
            let role = extra.role.as_deref().unwrap_or("fallback");
            let weight = format!("{} {}", extra.method, extra.weight);
            table.add_row(vec![String::new(), extra.address.clone(), role.to_owned(), weight]);
        }
        if v.servers.is_empty() {
            table.add_row(vec![v.id.clone(), "no real server".to_owned()]);
        }
    }
    for service in &snapshot.elsewhere {
        table.add_row(vec![service.id.clone(), format!("owned by {}", escaped(&service.owner))]);
    }
    let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    text.join("\n")
}

fn row(v: &VirtualService, server: &Server, first: bool) -> Vec<String> {
    let state = match server.state {
        State::Up => "up",
        State::Down => "DOWN",
        State::Off => "off",
        State::Unknown => "UNKNOWN",
        State::Maintenance => "maintenance",
        State::Draining => "draining",
        State::Leaving => "leaving",
    };
    let (took, reason) = match &server.last_check {
        Some(checked) => (format!("{:.1} ms", checked.took_ms), checked.reason.clone()),
        None if server.state == State::Off => (String::new(), "never checked (checktype=off)".to_owned()),
        None => (String::new(), "not checked yet".to_owned()),
    };
    let reason = match &server.overridden {
        Some(decision) => decided(decision, &reason),
        None => reason,
    };
    vec![
        if first { v.id.clone() } else { String::new() },
        format!("{} {}", server.address, server.method),
        state.to_owned(),
        in_table(v, server),
        took,
        reason,
    ]
}

/// The override of a server, and the result of its check.
fn decided(decision: &Overridden, found: &str) -> String {
    if decision.owner == MAINTENANCE {
        return escaped(&decision.note).into_owned();
    }
    let until = decision.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    let note =
        if decision.note.is_empty() { String::new() } else { format!(" ({})", escaped(&decision.note)) };
    format!("{} by {}{until}{note}; its check: {found}", decision.what, escaped(&decision.owner))
}

/// The destination of a server in the kernel's table: `Route 5`; `-` if it has none; empty if the table was not read.
fn in_table(v: &VirtualService, server: &Server) -> String {
    let Some(destinations) = &v.destinations else { return String::new() };
    match destinations.iter().find(|d| stands_for(&d.address, server)) {
        Some(destination) => format!("{} {}", destination.method, destination.weight),
        None => "-".to_owned(),
    }
}

/// Whether a destination is that of a server. With direct routing and tunnels it has the port of the virtual
/// service, so only the address is compared.
fn stands_for(destination: &str, server: &Server) -> bool {
    let host = |address: &str| address.rsplit_once(':').map(|(host, _)| host.to_owned());
    destination == server.address || (server.method != "masq" && host(destination) == host(&server.address))
}

/// The destinations that belong to none of the servers.
fn extra_destinations(v: &VirtualService) -> impl Iterator<Item = &Destination> {
    let is_servers = |destination: &Destination| match &destination.role {
        Some(role) => role == "server",
        // The answer is from an earlier release.
        None => v.servers.iter().any(|server| stands_for(&destination.address, server)),
    };
    v.destinations.iter().flatten().filter(move |destination| !is_servers(destination))
}
