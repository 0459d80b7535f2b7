//! Tests of what only the table in memory can do: count, fail on request, and be shared.

use ipvs_rs::{
    Connections, DestinationConfig, DestinationKey, Error, Family, ForwardingMethod, Ipvs, Memory, Operation,
    Service, ServiceConfig, ServiceKey, Statistics, Table, Timeouts,
};

const KEY: ServiceKey = ServiceKey::Mark { mark: 1, family: Family::V4 };

fn add() -> Operation {
    Operation::AddService { key: KEY, config: ServiceConfig::new("wlc") }
}

#[test]
fn writes_are_counted_and_reads_are_not() {
    let mut memory = Memory::new();
    memory.dump().unwrap();
    memory.snapshot().unwrap();
    memory.version().unwrap();
    memory.timeouts().unwrap();
    assert_eq!(memory.apply(&[]), []);
    assert_eq!(memory.operations(), 0);
    assert_eq!(memory.apply(&[add(), add()]), [Ok(()), Err(Error::ServiceExists)]);
    memory.zero(None).unwrap();
    memory.flush().unwrap();
    memory.set_timeouts(Timeouts::default()).unwrap();
    assert_eq!(memory.operations(), 5);
}

#[test]
fn the_next_writes_fail_when_told_to() {
    let mut memory = Memory::new();
    memory.fail_next(2, Error::Busy);
    assert_eq!(memory.apply(&[add(), add(), add()]), [Err(Error::Busy), Err(Error::Busy), Ok(())]);
    memory.fail_next(1, Error::NotPermitted);
    assert_eq!(memory.flush(), Err(Error::NotPermitted));
    assert_eq!(memory.dump().unwrap().services.len(), 1);
}

#[test]
fn the_next_reads_fail_when_told_to() {
    let mut memory = Memory::new();
    memory.fail_next_reads(2, Error::Interrupted);
    assert_eq!(memory.apply(&[add()]), [Ok(())]);
    assert_eq!(memory.dump(), Err(Error::Interrupted));
    assert_eq!(memory.snapshot(), Err(Error::Interrupted));
    assert_eq!(memory.dump().unwrap().services.len(), 1);
}

#[test]
fn clones_share_the_table() {
    let mut memory = Memory::new();
    let mut other = memory.clone();
    other.apply(&[add()]);
    assert_eq!(memory.apply(&[Operation::RemoveService { key: KEY }]), [Ok(())]);
    assert_eq!((other.operations(), other.dump().unwrap()), (2, Table::default()));
}

#[test]
fn counters_are_set_shown_and_zeroed() {
    let destination = DestinationKey { address: "192.0.2.1".parse().unwrap(), port: 80 };
    let mut table = Table::default();
    let mut service = Service::new(ServiceConfig::new("wlc"));
    service.destinations.insert(destination, DestinationConfig::new(ForwardingMethod::Masquerade, 1));
    table.services.insert(KEY, service);
    let mut memory = Memory::with_table(&table);
    assert_eq!(memory.dump().unwrap(), table);

    let connections = Connections { active: 1, inactive: 2, persistent: 3 };
    let statistics = Statistics { bytes_in: 1 << 40, ..Statistics::default() };
    assert!(memory.set_connections(KEY, destination, connections));
    assert!(memory.set_statistics(KEY, destination, statistics));
    assert!(!memory.set_connections(KEY, DestinationKey { port: 81, ..destination }, connections));

    let shown = |memory: &mut Memory| memory.snapshot().unwrap().services[&KEY].destinations[&destination];
    assert_eq!((shown(&mut memory).connections, shown(&mut memory).statistics), (connections, statistics));
    // As in the kernel, an edit keeps the counters, and a reset keeps the connections.
    let config = DestinationConfig::new(ForwardingMethod::Masquerade, 0);
    memory.apply(&[Operation::EditDestination { service: KEY, key: destination, config }]);
    assert_eq!(shown(&mut memory).statistics, statistics);
    memory.zero(Some(KEY)).unwrap();
    assert_eq!(
        (shown(&mut memory).connections, shown(&mut memory).statistics),
        (connections, Statistics::default())
    );
}
