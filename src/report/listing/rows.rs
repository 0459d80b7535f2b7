//! The virtual services and the servers of a listing, each with what the table has for it. Every destination is
//! looked at once: a service may have thousands.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::words;
use crate::report::snapshot::{DestinationEntry, ServerEntry, VirtualService};
use crate::report::traffic::ConnectionCounts;
use crate::report::view::ShownState;

/// How a virtual service is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Lost,
    Degraded,
    Up,
    /// It has no server, or none that is checked.
    None,
}

/// A virtual service, and what follows from its servers.
pub(super) struct ServiceRows<'a> {
    pub(super) of: &'a VirtualService,
    pub(super) level: Level,
    /// The number of servers in rotation.
    pub(super) up: usize,
    pub(super) rows: Vec<Row<'a>>,
    /// The destination of the fallback, if it is activated.
    pub(super) fallback: Option<&'a DestinationEntry>,
    /// Destinations that are neither a server's nor the fallback's.
    pub(super) others: Vec<&'a DestinationEntry>,
}

/// A server, and its cells before the reason.
pub(super) struct Row<'a> {
    pub(super) server: &'a ServerEntry,
    pub(super) state: &'static str,
    pub(super) since: String,
    pub(super) weight: String,
    /// Established connections. Empty if they are not known.
    pub(super) active: String,
    pub(super) took: String,
    connections: Option<ConnectionCounts>,
    in_rotation: bool,
    /// Whether the table has it. True if the table was not read.
    is_placed: bool,
}

/// The destinations of the servers of a service, by address and port.
type Destinations<'a> = HashMap<&'a str, &'a DestinationEntry>;

impl<'a> ServiceRows<'a> {
    pub(super) fn of(v: &'a VirtualService) -> ServiceRows<'a> {
        let table = v.destinations.as_deref().map(|all| {
            let servers = all.iter().filter(|found| found.is_servers());
            servers.map(|found| (found.address.as_str(), found)).collect::<Destinations<'_>>()
        });
        let rows: Vec<Row<'_>> = v.servers.iter().map(|server| Row::of(v, server, table.as_ref())).collect();
        let up = rows.iter().filter(|row| row.in_rotation).count();
        let (fallback, others) =
            v.destinations.as_deref().map_or((None, Vec::new()), |all| strangers(v, all));
        ServiceRows { of: v, level: level(v, up), up, rows, fallback, others }
    }

    /// Whether the table lacks a server that is up: the kernel refused it, or another program removed it. If two lines
    /// have the same address, both must be up.
    pub(super) fn is_missing(&self) -> bool {
        let lacks =
            |row: &Row<'_>| row.server.state == ShownState::Up && row.server.weight > 0 && !row.is_placed;
        let mut lacking = self.rows.iter().filter(|row| lacks(row)).peekable();
        if lacking.peek().is_none() {
            return false;
        }
        let out = self.rows.iter().filter(|row| row.server.state != ShownState::Up);
        let out: HashSet<&str> = out.map(|row| row.server.address.as_str()).collect();
        lacking.any(|row| !out.contains(row.server.address.as_str()))
    }

    /// Established connections of all its destinations. `None` if they are not known.
    pub(super) fn active(&self) -> Option<u64> {
        let destinations = self.of.destinations.iter().flatten();
        let active = destinations.map(|found| found.connections.map(|counts| u64::from(counts.active)));
        active
            .sum::<Option<u64>>()
            .filter(|_| self.of.destinations.as_ref().is_some_and(|all| !all.is_empty()))
    }

    /// Whether the service or one of its servers is not plainly up.
    pub(super) fn has_problem(&self) -> bool {
        let is_fine = |row: &Row<'_>| words::is_plainly_up(row.server) || row.server.state == ShownState::Off;
        self.level < Level::Up || self.is_pending() || self.rows.iter().any(|row| !is_fine(row))
    }

    /// Whether it waits for the first check of its servers.
    pub(super) fn is_pending(&self) -> bool {
        self.level == Level::None && self.of.servers.iter().any(is_pending)
    }
}

fn level(v: &VirtualService, up: usize) -> Level {
    let is_unchecked =
        v.destinations.is_none() && v.servers.iter().all(|server| server.state == ShownState::Off);
    let is_bad = |server: &ServerEntry| matches!(server.state, ShownState::Down | ShownState::Unknown);
    match up {
        _ if is_unchecked => Level::None,
        _ if v.servers.is_empty() => Level::None,
        0 if v.servers.iter().any(is_pending) && !v.servers.iter().any(is_down) => Level::None,
        0 => Level::Lost,
        _ if v.servers.iter().any(is_bad) => Level::Degraded,
        _ => Level::Up,
    }
}

fn is_down(server: &ServerEntry) -> bool {
    server.state == ShownState::Down
}

/// Whether a server waits for its first check.
fn is_pending(server: &ServerEntry) -> bool {
    server.state == ShownState::Unknown && server.last_check.is_none()
}

impl<'a> Row<'a> {
    fn of(v: &VirtualService, server: &'a ServerEntry, table: Option<&Destinations<'_>>) -> Row<'a> {
        let destination = table.and_then(|table| table.get(&*v.destination_address(server)).copied());
        // The fallback may have the same address.
        let can_be_in = server.state.can_be_in_rotation();
        let in_rotation = match table {
            Some(_) => can_be_in && destination.is_some_and(|destination| destination.weight > 0),
            None => server.state == ShownState::Up,
        };
        let weight = match (table, destination) {
            (None, _) => String::new(),
            (_, Some(found)) if found.weight == server.weight => found.weight.to_string(),
            (_, Some(found)) => format!("{}/{}", found.weight, server.weight),
            (_, None) => format!("-/{}", server.weight),
        };
        let connections = destination.and_then(|destination| destination.connections);
        let took =
            server.last_check.as_ref().map(|checked| words::duration(checked.took_ms.clamp(0.0, LONGEST)));
        Row {
            server,
            state: word(server.state),
            since: server.since_seconds.map(short).unwrap_or_default(),
            weight,
            active: connections.map(|found| found.active.to_string()).unwrap_or_default(),
            took: took.unwrap_or_default(),
            connections,
            in_rotation,
            is_placed: table.is_none() || destination.is_some(),
        }
    }
}

impl Row<'_> {
    /// Why the server is in its state, and what keeps a drain from ending.
    pub(super) fn reason(&self) -> String {
        let reason = words::reason(self.server);
        match (self.server.state, self.connections) {
            (ShownState::Draining | ShownState::Leaving, Some(counts)) => {
                format!("{reason}; {}", left(counts.active))
            }
            _ => reason,
        }
    }
}

/// How many established connections are left.
fn left(active: u32) -> String {
    match active {
        0 => "no connection left".to_owned(),
        1 => "1 connection still active".to_owned(),
        _ => format!("{active} connections still active"),
    }
}

/// The destination of the fallback, and those of other programs. An earlier release does not tell them apart.
fn strangers<'a>(
    v: &VirtualService,
    all: &'a [DestinationEntry],
) -> (Option<&'a DestinationEntry>, Vec<&'a DestinationEntry>) {
    let addresses: HashSet<Cow<'_, str>> =
        v.servers.iter().map(|server| v.destination_address(server)).collect();
    let is_fallback = |found: &&DestinationEntry| match found.role.as_deref() {
        Some(role) => role == "fallback",
        None => !addresses.contains(found.address.as_str()),
    };
    let others = all.iter().filter(|found| found.role.as_deref() == Some("other")).collect();
    (all.iter().find(is_fallback), others)
}

pub(super) fn word(state: ShownState) -> &'static str {
    match state {
        ShownState::Up => "up",
        ShownState::Down => "DOWN",
        ShownState::Off => "off",
        ShownState::Unknown => "UNKNOWN",
        ShownState::Maintenance => "maintenance",
        ShownState::Draining => "draining",
        ShownState::Leaving => "leaving",
    }
}

/// A hostile or broken daemon must not widen a column without limit.
const LONGEST: f64 = 1e6;

/// A duration in at most seven characters: `42s`, `26m`, `3h12m`, `24d14h`.
pub(super) fn short(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a duration in whole seconds"
    )]
    let seconds = seconds.clamp(0.0, LONGEST * 86.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m"),
        3600..86_400 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}
