//! Compares the example that lists a table with `ipvsadm`.

use std::path::PathBuf;
use std::process::Command;

use ipvs_rs::{
    Checksum, DestinationConfig, Family, ForwardingMethod, Ipvs, Netmask, Persistence, Protocol, Service,
    ServiceConfig, ServiceFlags, ServiceKey, Table, Tunnel,
};

use super::{mark, reach, server, tcp, weight};

/// The directory where cargo puts examples: next to the directory of this test.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(|deps| deps.parent()).unwrap().join("examples/list")
}

/// The output of a program in this thread's network namespace, which it inherits.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The output of the example.
pub(crate) fn ours() -> String {
    output(&mut Command::new(example()))
}

/// The output of `ipvsadm`.
pub(crate) fn original() -> String {
    output(Command::new("/sbin/ipvsadm").arg("-Ln"))
}

pub(crate) fn the_example_prints_what_ipvsadm_prints(ipvs: &mut dyn Ipvs) {
    for wanted in [Table::default(), spread(), varied()] {
        reach(ipvs, &wanted);
        let (ours, original) = (ours(), original());
        assert!(ours == original, "ours:\n{ours}\noriginal:\n{original}");
    }
}

/// Addresses so far apart that the order of `ipvsadm` is not their numeric order.
fn spread() -> Table {
    let mut table = Table::default();
    for address in ["10.0.0.1", "192.168.0.1", "223.0.0.1", "9.9.9.9", "2001:db8::1", "fd00::1"] {
        let mut service = Service::new(ServiceConfig::new("wlc"));
        if address.contains('.') {
            for destination in ["10.0.0.1", "192.168.0.1", "223.0.0.1", "9.9.9.9"] {
                service.destinations.insert(server(destination), weight(1));
            }
        }
        table.services.insert(tcp(address, 80), service);
    }
    table
}

/// Everything that a listing shows.
fn varied() -> Table {
    let mut table = Table::default();
    let mut put = |key, config, destinations: &[(&str, DestinationConfig)]| {
        let destinations = destinations.iter().map(|(address, config)| (server(address), *config));
        table.services.insert(key, Service { config, destinations: destinations.collect() });
    };
    let persistent = |netmask, scheduler: &str| ServiceConfig {
        persistence: Some(Persistence { timeout: 300, netmask, engine: None }),
        ..ServiceConfig::new(scheduler)
    };
    let flagged = |flags, scheduler: &str| ServiceConfig { flags, ..ServiceConfig::new(scheduler) };
    let of = |protocol, address: &str, port| ServiceKey::Address {
        protocol,
        address: address.parse().unwrap(),
        port,
    };
    let method = |method| DestinationConfig::new(method, 7);
    let gue = DestinationConfig {
        tunnel: Tunnel::Gue { port: 5555, checksum: Checksum::Remote },
        ..method(ForwardingMethod::Tunnel)
    };
    let all = [
        ("192.0.2.1", weight(0)),
        ("192.0.2.2", method(ForwardingMethod::Masquerade)),
        ("192.0.2.3", method(ForwardingMethod::Tunnel)),
        ("192.0.2.4", gue),
        ("192.0.2.5", method(ForwardingMethod::LocalNode)),
        ("192.0.2.6", method(ForwardingMethod::Bypass)),
        ("2001:db8:1111:2222:3333:4444:5555:6666", gue),
        ("192.0.2.7", weight(DestinationConfig::MAX_WEIGHT)),
    ];
    let sh = ServiceFlags::SCHEDULER_1 | ServiceFlags::SCHEDULER_2 | ServiceFlags::SCHEDULER_3;
    put(tcp("10.0.0.1", 80), persistent(Netmask::host(Family::V4), "wlc"), &all);
    put(tcp("10.0.0.1", 443), persistent(Netmask::V4([255, 255, 255, 0].into()), "rr"), &all[..2]);
    put(tcp("2001:db8:1111:2222:3333:4444:5555:6666", 65535), persistent(Netmask::V6(64), "wlc"), &all[6..7]);
    put(tcp("2001:db8::1", 80), persistent(Netmask::host(Family::V6), "wlc"), &[]);
    put(of(Protocol::Udp, "10.0.0.1", 53), flagged(ServiceFlags::ONE_PACKET | sh, "sh"), &all[..1]);
    put(of(Protocol::Udp, "10.0.0.2", 53), flagged(ServiceFlags::ONE_PACKET, "mh"), &[]);
    put(
        of(Protocol::Udp, "10.0.0.3", 53),
        flagged(ServiceFlags::SCHEDULER_2 | ServiceFlags::SCHEDULER_3, "mh"),
        &[],
    );
    put(of(Protocol::Sctp, "10.0.0.1", 9), flagged(sh, "wrr"), &all[..1]);
    let both = ServiceConfig { flags: ServiceFlags::ALL, ..persistent(Netmask::host(Family::V4), "lblcr") };
    put(mark(1), both, &all[..1]);
    put(mark(u32::MAX), ServiceConfig::new("none"), &[]);
    put(ServiceKey::Mark { mark: 1, family: Family::V6 }, ServiceConfig::new("nq"), &all[6..7]);
    table
}
