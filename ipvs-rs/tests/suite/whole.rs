//! Tests of whole tables, batches, counters and settings.

use std::net::Ipv4Addr;

use ipvs_rs::{
    Connections, DestinationKey, Error, Family, ForwardingMethod, Ipvs, Netmask, Operation, Service,
    ServiceConfig, ServiceKey, Statistics, Table, Timeouts, diff,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::{add, add_to, apply, apply_all, assert_invalid, mark, reach, server, tcp, weight};
use crate::tables;

pub(crate) fn version(ipvs: &mut dyn Ipvs) {
    let version = ipvs.version().unwrap();
    assert_eq!(version.to_string(), "1.2.1");
    assert!(version.connection_table_size.is_power_of_two());
}

pub(crate) fn nothing_to_do(ipvs: &mut dyn Ipvs) {
    assert_eq!(ipvs.apply(&[]), []);
    assert_eq!(ipvs.dump().unwrap(), Table::default());
}

pub(crate) fn a_service_alone(ipvs: &mut dyn Ipvs) {
    let key = tcp("10.0.0.1", 80);
    assert_eq!(ipvs.service(key), Ok(None));
    let config = ServiceConfig::new("wlc");
    apply_all(
        ipvs,
        &[add(key, config.clone()), add_to(key, server("192.0.2.1"), weight(7)), add(mark(7), config)],
    );
    let table = ipvs.dump().unwrap();
    assert_eq!(table.services.len(), 2);
    for (key, service) in table.services {
        assert_eq!(ipvs.service(key), Ok(Some(service)));
    }
    assert_eq!(ipvs.service(mark(8)), Ok(None));
    assert!(matches!(ipvs.service(mark(0)), Err(Error::Invalid { .. })));
}

pub(crate) fn a_batch_with_errors_goes_on(ipvs: &mut dyn Ipvs) {
    let key = tcp("10.0.0.1", 80);
    let mut operations = vec![add(key, ServiceConfig::new("wlc"))];
    for host in 1..=200u32 {
        let destination = DestinationKey { address: Ipv4Addr::from(0xc000_0200 + host).into(), port: 80 };
        operations.push(add_to(key, destination, weight(host)));
        match host % 4 {
            0 => operations.push(add_to(key, destination, weight(1))),
            1 => operations.push(Operation::RemoveService { key: mark(host) }),
            2 => operations.push(add(mark(0), ServiceConfig::new("wlc"))),
            _ => operations.push(add(mark(host), ServiceConfig::new("nosuch"))),
        }
    }
    let results = ipvs.apply(&operations);
    assert_eq!(results.len(), operations.len());
    assert_eq!(results[0], Ok(()));
    for (host, pair) in (1..).zip(results[1..].chunks(2)) {
        assert_eq!(pair[0], Ok(()), "{host}");
        match host % 4 {
            0 => assert_eq!(pair[1], Err(Error::DestinationExists)),
            1 => assert_eq!(pair[1], Err(Error::NoSuchService)),
            2 => assert_invalid(pair[1].clone(), "mark"),
            _ => assert!(matches!(pair[1], Err(Error::NoSuchScheduler { .. }))),
        }
    }
    let table = ipvs.dump().unwrap();
    assert_eq!(table.services.len(), 1);
    assert_eq!(table.services[&key].destinations.len(), 200);
}

/// A service with this number of destinations.
fn crowd(count: u32) -> Service {
    let mut service = Service::new(ServiceConfig::new("wlc"));
    for host in 0..count {
        let key = DestinationKey { address: Ipv4Addr::from(0x0a10_0000 + host).into(), port: 80 };
        service.destinations.insert(key, weight(host % 7));
    }
    service
}

pub(crate) fn five_thousand_destinations(ipvs: &mut dyn Ipvs) {
    let mut wanted = Table::default();
    wanted.services.insert(tcp("10.0.0.1", 80), crowd(2500));
    wanted.services.insert(mark(9), crowd(2500));
    reach(ipvs, &wanted);
    let service = wanted.services.get_mut(&mark(9)).unwrap();
    service.destinations.retain(|_, config| config.weight != 3);
    service.destinations.values_mut().for_each(|config| config.weight ^= 1);
    reach(ipvs, &wanted);
}

pub(crate) fn many_services(ipvs: &mut dyn Ipvs) {
    let services =
        (1..=300u16).map(|port| (tcp("2001:db8::1", port), Service::new(ServiceConfig::new("rr"))));
    let mut wanted = Table { services: services.collect() };
    reach(ipvs, &wanted);
    wanted.services.retain(|_, service| service.destinations.is_empty());
    for service in wanted.services.values_mut().step_by(3) {
        service.destinations.insert(server("2001:db8::2"), weight(1));
    }
    reach(ipvs, &wanted);
    reach(ipvs, &Table::default());
}

/// Changes a random table into one that the kernel accepts.
fn acceptable(mut table: Table) -> Table {
    for (key, service) in &mut table.services {
        if let Some(persistence) = &mut service.config.persistence {
            persistence.engine = None;
            if persistence.netmask.family() != key.family() {
                persistence.netmask = Netmask::host(key.family());
            }
        }
        for (destination, config) in &mut service.destinations {
            config.lower = config.lower.min(config.upper);
            if destination.family() != key.family() {
                config.method = ForwardingMethod::Tunnel;
            }
        }
    }
    table
}

pub(crate) fn any_table_can_be_reached(ipvs: &mut dyn Ipvs) {
    let mut runner = TestRunner::deterministic();
    for _ in 0..60 {
        let wanted = tables::table().new_tree(&mut runner).unwrap().current();
        reach(ipvs, &acceptable(wanted));
    }
}

pub(crate) fn flush(ipvs: &mut dyn Ipvs) {
    ipvs.flush().unwrap();
    let mut wanted = Table::default();
    for key in [tcp("10.0.0.1", 80), mark(1), ServiceKey::Mark { mark: 1, family: Family::V6 }] {
        wanted.services.insert(key, Service::new(ServiceConfig::new("wlc")));
    }
    wanted.services.insert(tcp("10.0.0.2", 80), crowd(10));
    reach(ipvs, &wanted);
    ipvs.flush().unwrap();
    assert_eq!(ipvs.dump().unwrap(), Table::default());
}

pub(crate) fn zero(ipvs: &mut dyn Ipvs) {
    assert_eq!(ipvs.zero(Some(mark(1))), Err(Error::NoSuchService));
    ipvs.zero(None).unwrap();
    let mut wanted = Table::default();
    wanted.services.insert(mark(1), crowd(3));
    reach(ipvs, &wanted);
    ipvs.zero(Some(mark(1))).unwrap();
    ipvs.zero(None).unwrap();
    assert_eq!(ipvs.dump().unwrap(), wanted);
}

pub(crate) fn a_new_table_has_counted_nothing(ipvs: &mut dyn Ipvs) {
    let mut wanted = Table::default();
    wanted.services.insert(mark(1), crowd(3));
    reach(ipvs, &wanted);
    let snapshot = ipvs.snapshot().unwrap();
    assert_eq!(snapshot.table(), wanted);
    let service = &snapshot.services[&mark(1)];
    assert_eq!(service.statistics, Statistics::default());
    for destination in service.destinations.values() {
        assert_eq!(destination.statistics, Statistics::default());
        assert_eq!(destination.connections, Connections::default());
    }
    assert!(diff(&ipvs.dump().unwrap(), &wanted).is_empty());
}

pub(crate) fn timeouts(ipvs: &mut dyn Ipvs) {
    assert_eq!(ipvs.timeouts(), Ok(Timeouts { tcp: 900, tcp_fin: 120, udp: 300 }));
    let set = Timeouts { tcp: 1000, tcp_fin: 60, udp: 30 };
    ipvs.set_timeouts(set).unwrap();
    assert_eq!(ipvs.timeouts(), Ok(set));
    ipvs.set_timeouts(Timeouts { udp: 31, ..Timeouts::default() }).unwrap();
    assert_eq!(ipvs.timeouts(), Ok(Timeouts { udp: 31, ..set }));
    ipvs.set_timeouts(Timeouts::default()).unwrap();
    for bad in [
        Timeouts { tcp: u32::MAX, ..set },
        Timeouts { tcp_fin: u32::MAX / 2, ..set },
        Timeouts { udp: u32::MAX / 2, ..set },
    ] {
        assert_invalid(ipvs.set_timeouts(bad), "time-outs");
    }
    assert_eq!(ipvs.timeouts(), Ok(Timeouts { udp: 31, ..set }));
    // They are not part of the table.
    apply_all(ipvs, &[add(mark(1), ServiceConfig::new("wlc"))]);
    assert_eq!(apply(ipvs, Operation::RemoveService { key: mark(1) }), Ok(()));
}
