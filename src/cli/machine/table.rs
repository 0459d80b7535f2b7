//! The kernel's table now, compared with the table that a start of the configuration wants.

#![expect(clippy::disallowed_methods, reason = "the state of servers needs a begin")]

use std::collections::BTreeSet;
use std::time::Instant;

use ipvs_rs::{Operation, ServiceKey, Table, diff};

use super::super::context::Context;
use crate::daemon::LoadedFile;
use crate::desired;
use crate::diagnosis::{Seen, TableState};
use crate::health::Health;
use crate::value::shown::escaped;

/// Reads the table and counts what differs.
pub(super) fn look(context: &Context, loaded: &LoadedFile) -> Seen<TableState> {
    let read = || {
        let mut table = context.open_table()?;
        Ok((table.version()?, table.snapshot()?))
    };
    let (version, snapshot) =
        read().map_err(|error: ipvs_rs::Error| escaped(&error.to_string()).into_owned())?;
    let destinations = snapshot.services.values().flat_map(|service| service.destinations.values());
    let connections = destinations.map(|one| {
        let connections = one.connections;
        u64::from(connections.active) + u64::from(connections.inactive) + u64::from(connections.persistent)
    });
    let differences = compare(loaded, &snapshot.table());
    Ok(TableState { connections: connections.sum(), buckets: version.connection_table_size, ..differences })
}

/// Counts the differences from the table that a start wants before its first check.
fn compare(loaded: &LoadedFile, table: &Table) -> TableState {
    let spec = &loaded.spec;
    let now = Instant::now();
    let mut health = Health::new(spec, &desired::in_service(spec, table), now);
    let in_maintenance = loaded.in_maintenance();
    health.maintain(spec, |address| in_maintenance.get(&address).cloned(), now);
    let wanted = desired::wanted(spec, &health);
    let keys: BTreeSet<ServiceKey> = wanted.services.keys().copied().collect();
    let (mut services, mut destinations) = (BTreeSet::new(), BTreeSet::new());
    for operation in diff(&desired::restrict(table, &keys), &wanted) {
        match operation {
            Operation::AddService { key, .. }
            | Operation::EditService { key, .. }
            | Operation::RemoveService { key } => drop(services.insert(key)),
            Operation::AddDestination { service, key, .. }
            | Operation::EditDestination { service, key, .. }
            | Operation::RemoveDestination { service, key } => drop(destinations.insert((service, key))),
        }
    }
    TableState {
        differing: destinations.len(),
        services: services.len(),
        wanted: wanted.services.values().map(|service| service.destinations.len()).sum(),
        ..TableState::default()
    }
}
