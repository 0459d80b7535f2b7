//! Tests for any [`Ipvs`], and helpers to write tables.

pub(crate) mod alone;
pub(crate) mod destinations;
pub(crate) mod listing;
pub(crate) mod services;
pub(crate) mod whole;

use ipvs_rs::{
    DestinationConfig, DestinationKey, Error, Family, ForwardingMethod, Ipvs, Operation, Protocol,
    ServiceConfig, ServiceKey, Table, diff,
};

/// A TCP service.
pub(crate) fn tcp(address: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: address.parse().unwrap(), port }
}

/// A service for an IPv4 mark.
pub(crate) fn mark(mark: u32) -> ServiceKey {
    ServiceKey::Mark { mark, family: Family::V4 }
}

/// A destination on port 80.
pub(crate) fn server(address: &str) -> DestinationKey {
    DestinationKey { address: address.parse().unwrap(), port: 80 }
}

/// A routed destination.
pub(crate) fn weight(weight: u32) -> DestinationConfig {
    DestinationConfig::new(ForwardingMethod::DirectRoute, weight)
}

/// Adds a service.
pub(crate) fn add(key: ServiceKey, config: ServiceConfig) -> Operation {
    Operation::AddService { key, config }
}

/// Adds a destination.
pub(crate) fn add_to(service: ServiceKey, key: DestinationKey, config: DestinationConfig) -> Operation {
    Operation::AddDestination { service, key, config }
}

/// Edits a destination.
pub(crate) fn edit_of(service: ServiceKey, key: DestinationKey, config: DestinationConfig) -> Operation {
    Operation::EditDestination { service, key, config }
}

/// Applies one operation.
pub(crate) fn apply(ipvs: &mut dyn Ipvs, operation: Operation) -> Result<(), Error> {
    let mut results = ipvs.apply(std::slice::from_ref(&operation));
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// Applies operations that must succeed.
pub(crate) fn apply_all(ipvs: &mut dyn Ipvs, operations: &[Operation]) {
    for (operation, result) in operations.iter().zip(ipvs.apply(operations)) {
        assert_eq!(result, Ok(()), "{operation}");
    }
}

/// Changes the table to `wanted`, and reads it back.
pub(crate) fn reach(ipvs: &mut dyn Ipvs, wanted: &Table) {
    let current = ipvs.dump().unwrap();
    apply_all(ipvs, &diff(&current, wanted));
    assert_eq!(&ipvs.dump().unwrap(), wanted);
}

/// Applies one operation to the table and to a copy, and compares the two.
pub(crate) fn apply_and_compare(ipvs: &mut dyn Ipvs, operation: Operation) {
    let mut wanted = ipvs.dump().unwrap();
    wanted.apply(&operation).unwrap();
    assert_eq!(apply(ipvs, operation.clone()), Ok(()), "{operation}");
    assert_eq!(ipvs.dump().unwrap(), wanted, "{operation}");
}

/// Asserts that the error is about values.
pub(crate) fn assert_invalid(result: Result<(), Error>, what: &str) {
    assert!(matches!(result, Err(Error::Invalid { .. })), "{what}: {result:?}");
}
