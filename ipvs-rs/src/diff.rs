//! The operations that change one table into another, as few as possible. New destinations are added before old
//! ones are removed.

use std::cmp::Ordering;

use crate::table::{DestinationConfig, Operation, Service, ServiceKey, Table};

/// The operations that change `current` into `wanted`.
///
/// Equal entries are not touched. For each service, the order is: add or edit the service, add destinations and
/// increase weights, decrease weights, remove destinations. Services are removed last. A service that has a
/// destination with weight before and after therefore always has one.
///
/// An edit can change everything but the keys, including the scheduler, the flags, persistence and its engine, the
/// forwarding method and the tunnel: `ip_vs_edit_service` and `__ip_vs_update_dest` set all of it, and connections
/// stay. The address family of a destination is part of its key.
///
/// ```
/// use ipvs_rs::{diff, Table};
///
/// let table = Table::default();
/// assert!(diff(&table, &table).is_empty());
/// ```
pub fn diff(current: &Table, wanted: &Table) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (key, service) in &wanted.services {
        operations.extend(diff_service(*key, current.services.get(key), Some(service)));
    }
    let gone = current.services.keys().filter(|key| !wanted.services.contains_key(key));
    operations.extend(gone.map(|key| Operation::RemoveService { key: *key }));
    operations
}

/// The operations that make `wanted` of `current` for one service, in the order of [`diff`]. `None` means that the
/// service is not in the table.
pub fn diff_service(key: ServiceKey, current: Option<&Service>, wanted: Option<&Service>) -> Vec<Operation> {
    let mut operations = Vec::new();
    match (current, wanted) {
        (None, None) => {}
        (None, Some(wanted)) => {
            operations.push(Operation::AddService { key, config: wanted.config.clone() });
            add_destinations(key, None, wanted, &mut operations);
        }
        (Some(current), Some(wanted)) => change_service(key, current, wanted, &mut operations),
        (Some(_), None) => operations.push(Operation::RemoveService { key }),
    }
    operations
}

fn change_service(key: ServiceKey, current: &Service, wanted: &Service, operations: &mut Vec<Operation>) {
    if current.config != wanted.config {
        operations.push(Operation::EditService { key, config: wanted.config.clone() });
    }
    add_destinations(key, Some(current), wanted, operations);
    edit_destinations(key, current, wanted, Weight::SameOrMore, operations);
    edit_destinations(key, current, wanted, Weight::Less, operations);
    let gone = current.destinations.keys().filter(|key| !wanted.destinations.contains_key(key));
    operations.extend(gone.map(|gone| Operation::RemoveDestination { service: key, key: *gone }));
}

fn add_destinations(
    service: ServiceKey,
    current: Option<&Service>,
    wanted: &Service,
    operations: &mut Vec<Operation>,
) {
    let present = |key| current.is_some_and(|current| current.destinations.contains_key(key));
    let new = wanted.destinations.iter().filter(|(key, _)| !present(key));
    operations.extend(new.map(|(key, config)| Operation::AddDestination {
        service,
        key: *key,
        config: *config,
    }));
}

/// How the weight of a destination changes.
#[derive(PartialEq, Eq)]
enum Weight {
    SameOrMore,
    Less,
}

impl Weight {
    fn of(current: &DestinationConfig, wanted: &DestinationConfig) -> Self {
        match wanted.weight.cmp(&current.weight) {
            Ordering::Less => Self::Less,
            Ordering::Equal | Ordering::Greater => Self::SameOrMore,
        }
    }
}

fn edit_destinations(
    service: ServiceKey,
    current: &Service,
    wanted: &Service,
    weight: Weight,
    operations: &mut Vec<Operation>,
) {
    for (key, config) in &wanted.destinations {
        let Some(present) = current.destinations.get(key) else { continue };
        if present != config && Weight::of(present, config) == weight {
            operations.push(Operation::EditDestination { service, key: *key, config: *config });
        }
    }
}
