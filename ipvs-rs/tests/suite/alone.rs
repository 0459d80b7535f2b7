//! Tests that need a kernel: traffic, concurrent changes, a module that is unloaded and loaded.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipvs_rs::{
    DestinationConfig, DestinationKey, DestinationSnapshot, ForwardingMethod, Ipvs, Kernel, Operation,
    ServiceConfig, Table, diff,
};

use super::{add, add_to, apply, apply_all, mark, server, tcp, weight};

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}: {status}");
}

/// One connection through a service on this machine. Both ends stay open until the counters are read.
pub(crate) fn traffic_is_counted(ipvs: &mut dyn Ipvs) {
    ip("address add 10.0.0.1/32 dev lo");
    ip("address add 10.0.0.2/32 dev lo");
    let (service, destination) =
        (tcp("10.0.0.1", 80), DestinationKey { address: "10.0.0.2".parse().unwrap(), port: 8080 });
    let config = DestinationConfig::new(ForwardingMethod::Masquerade, 1);
    apply_all(ipvs, &[add(service, ServiceConfig::new("rr")), add_to(service, destination, config)]);

    let listener = TcpListener::bind("10.0.0.2:8080").unwrap();
    let mut client = TcpStream::connect("10.0.0.1:80").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(&[1; 1000]).unwrap();
    server.read_exact(&mut [0; 1000]).unwrap();
    server.write_all(&[2; 5000]).unwrap();
    client.read_exact(&mut [0; 5000]).unwrap();

    let mut state = None::<DestinationSnapshot>;
    for _ in 0..100 {
        let snapshot = ipvs.snapshot().unwrap();
        let service = &snapshot.services[&service];
        state = Some(service.destinations[&destination]);
        // The kernel sums its counters every two seconds.
        if service.statistics.bytes_out > 5000 && state.is_some_and(|state| state.statistics.bytes_out > 5000)
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let state = state.unwrap();
    assert_eq!(
        (state.connections.active, state.connections.inactive, state.connections.persistent),
        (1, 0, 0)
    );
    let statistics = state.statistics;
    assert_eq!(statistics.connections, 1);
    assert!((3..20).contains(&statistics.packets_in), "{statistics:?}");
    assert!((3..20).contains(&statistics.packets_out), "{statistics:?}");
    assert!((1100..3000).contains(&statistics.bytes_in), "{statistics:?}");
    assert!((5100..8000).contains(&statistics.bytes_out), "{statistics:?}");
    assert_eq!(super::listing::ours(), super::listing::original());

    ipvs.zero(Some(service)).unwrap();
    let state = ipvs.snapshot().unwrap().services[&service].destinations[&destination];
    assert_eq!((state.connections.active, state.statistics.connections), (1, 0));
}

/// Reads while another thread adds and removes services, which must not cause an error.
pub(crate) fn reading_goes_on_while_somebody_writes(ipvs: &mut dyn Ipvs) {
    let mut churned = Table::default();
    for number in 1..=40 {
        let mut service = ipvs_rs::Service::new(ServiceConfig::new("rr"));
        service.destinations.insert(server("192.0.2.1"), weight(number));
        churned.services.insert(mark(number), service);
    }
    apply_all(ipvs, &[add(tcp("10.0.0.1", 80), ServiceConfig::new("rr"))]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A thread inherits the network namespace of the thread that starts it.
        scope.spawn(|| {
            let mut kernel = Kernel::open().unwrap();
            while !done.load(Ordering::Relaxed) {
                apply_all(&mut kernel, &diff(&Table::default(), &churned));
                let marks = churned.services.keys().map(|key| Operation::RemoveService { key: *key });
                apply_all(&mut kernel, &marks.collect::<Vec<_>>());
            }
        });
        let results: Vec<_> = (0..50).map(|_| ipvs.dump()).collect();
        done.store(true, Ordering::Relaxed);
        for table in results {
            assert!(table.unwrap().services.contains_key(&tcp("10.0.0.1", 80)));
        }
    });
}

/// The kernel sends a list in pieces and continues by counting, services by address before those by mark. If one is
/// removed meanwhile, it leaves another one out, which can be read separately.
pub(crate) fn a_service_that_is_removed_hides_another_from_the_list(ipvs: &mut dyn Ipvs) {
    let others: Vec<_> = (1..=300).map(mark).collect();
    let mut all: Vec<_> = others.iter().map(|mark| add(*mark, ServiceConfig::new("rr"))).collect();
    let churned = tcp("10.0.0.1", 80);
    all.push(add(churned, ServiceConfig::new("rr")));
    apply_all(ipvs, &all);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut kernel = Kernel::open().unwrap();
            while !done.load(Ordering::Relaxed) {
                apply_all(&mut kernel, &[Operation::RemoveService { key: churned }]);
                apply_all(&mut kernel, &[add(churned, ServiceConfig::new("rr"))]);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut found = Vec::new();
        for _ in 0..500 {
            let table = ipvs.dump().unwrap();
            let missing = others.iter().filter(|key| !table.services.contains_key(key));
            found.extend(missing.map(|key| ipvs.service(*key)));
            if found.len() >= 3 {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        println!("left out of a list: {}", found.len());
        assert!(found.iter().all(|service| matches!(service, Ok(Some(_)))), "{found:?}");
    });
}

/// Unloads the module and continues with the same socket.
pub(crate) fn a_module_that_was_loaded_anew_is_found(ipvs: &mut dyn Ipvs) {
    for attempt in 0.. {
        // Schedulers keep the module in use, as do ended namespaces that the kernel has not yet removed.
        let modules = std::fs::read_to_string("/proc/modules").unwrap();
        let ours = modules
            .split('\n')
            .filter_map(|line| line.split(' ').next())
            .filter(|name| name.starts_with("ip_vs"));
        let schedulers = ours.filter(|name| *name != "ip_vs").chain(["ip_vs"]);
        if Command::new("modprobe").arg("-ra").args(schedulers).status().unwrap().success() {
            break;
        }
        assert!(attempt < 50, "the module is in use, or built in");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!std::fs::read_to_string("/proc/modules").unwrap().contains("ip_vs"));
    assert_eq!(ipvs.dump().unwrap(), Table::default());
    assert_eq!(apply(ipvs, add(mark(1), ServiceConfig::new("rr"))), Ok(()));
}
