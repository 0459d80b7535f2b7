//! Tests of destinations.

use ipvs_rs::{
    Checksum, DestinationConfig, DestinationKey, Error, Family, ForwardingMethod, Ipvs, Operation,
    ServiceConfig, ServiceKey, Tunnel,
};

use super::{
    add, add_to, apply, apply_all, apply_and_compare, assert_invalid, edit_of, mark, server, tcp, weight,
};

const METHODS: [ForwardingMethod; 5] = [
    ForwardingMethod::Masquerade,
    ForwardingMethod::Tunnel,
    ForwardingMethod::DirectRoute,
    ForwardingMethod::LocalNode,
    ForwardingMethod::Bypass,
];

fn tunnelled(tunnel: Tunnel) -> DestinationConfig {
    DestinationConfig { tunnel, ..DestinationConfig::new(ForwardingMethod::Tunnel, 1) }
}

fn tunnels() -> Vec<Tunnel> {
    let mut tunnels = vec![Tunnel::Ipip];
    for checksum in [Checksum::None, Checksum::Full, Checksum::Remote] {
        tunnels.push(Tunnel::Gue { port: 5555, checksum });
        tunnels.push(Tunnel::Gre { checksum });
    }
    tunnels
}

fn service(ipvs: &mut dyn Ipvs, key: ServiceKey) {
    apply_all(ipvs, &[add(key, ServiceConfig::new("wlc"))]);
}

pub(crate) fn every_method(ipvs: &mut dyn Ipvs) {
    for (key, prefix) in
        [(tcp("10.0.0.1", 80), "192.0.2."), (tcp("2001:db8::1", 80), "2001:db8::"), (mark(1), "192.0.2.")]
    {
        service(ipvs, key);
        for (host, method) in (1..).zip(METHODS) {
            let config = DestinationConfig { upper: 20, lower: 10, ..DestinationConfig::new(method, host) };
            apply_and_compare(ipvs, add_to(key, server(&format!("{prefix}{host}")), config));
        }
    }
    // Destinations are distinguished by port, including 0.
    for port in [0, 8080, 65535] {
        let destination = DestinationKey { address: "192.0.2.1".parse().unwrap(), port };
        apply_and_compare(ipvs, add_to(tcp("10.0.0.1", 80), destination, weight(1)));
    }
}

pub(crate) fn every_tunnel(ipvs: &mut dyn Ipvs) {
    let key = tcp("10.0.0.1", 80);
    service(ipvs, key);
    for (host, tunnel) in (1..).zip(tunnels()) {
        apply_and_compare(ipvs, add_to(key, server(&format!("192.0.2.{host}")), tunnelled(tunnel)));
    }
    for tunnel in tunnels() {
        apply_and_compare(ipvs, edit_of(key, server("192.0.2.1"), tunnelled(tunnel)));
    }
    // A tunnel that is not used is not stored, so GUE without a port is accepted here.
    let unused = DestinationConfig { tunnel: Tunnel::Gue { port: 0, checksum: Checksum::Full }, ..weight(1) };
    apply_and_compare(ipvs, edit_of(key, server("192.0.2.1"), unused));
    apply_and_compare(ipvs, edit_of(key, server("192.0.2.1"), tunnelled(Tunnel::Ipip)));
}

pub(crate) fn families_mix_in_tunnels_only(ipvs: &mut dyn Ipvs) {
    let mark6 = ServiceKey::Mark { mark: 1, family: Family::V6 };
    for (key, other) in [
        (tcp("10.0.0.1", 80), "2001:db8::2"),
        (tcp("2001:db8::1", 80), "192.0.2.2"),
        (mark(1), "2001:db8::2"),
        (mark6, "192.0.2.2"),
    ] {
        service(ipvs, key);
        for method in METHODS.into_iter().filter(|method| *method != ForwardingMethod::Tunnel) {
            let config = DestinationConfig::new(method, 1);
            assert_invalid(apply(ipvs, add_to(key, server(other), config)), "add");
        }
        apply_and_compare(ipvs, add_to(key, server(other), tunnelled(Tunnel::Ipip)));
        assert_invalid(apply(ipvs, edit_of(key, server(other), weight(1))), "edit");
        for tunnel in tunnels() {
            apply_and_compare(ipvs, edit_of(key, server(other), tunnelled(tunnel)));
        }
        apply_and_compare(ipvs, Operation::RemoveDestination { service: key, key: server(other) });
    }
}

pub(crate) fn everything_can_be_edited(ipvs: &mut dyn Ipvs) {
    let key = tcp("10.0.0.1", 80);
    service(ipvs, key);
    apply_and_compare(ipvs, add_to(key, server("192.0.2.1"), weight(1)));
    for config in [
        weight(0),
        weight(65535),
        weight(DestinationConfig::MAX_WEIGHT),
        DestinationConfig {
            upper: DestinationConfig::MAX_UPPER,
            lower: DestinationConfig::MAX_UPPER,
            ..weight(1)
        },
        DestinationConfig { upper: 5, ..weight(1) },
        weight(1),
    ] {
        apply_and_compare(ipvs, edit_of(key, server("192.0.2.1"), config));
    }
    for method in METHODS {
        apply_and_compare(ipvs, edit_of(key, server("192.0.2.1"), DestinationConfig::new(method, 1)));
    }
}

pub(crate) fn refusals(ipvs: &mut dyn Ipvs) {
    let (key, destination) = (tcp("10.0.0.1", 80), server("192.0.2.1"));
    let remove = Operation::RemoveDestination { service: key, key: destination };
    for operation in
        [add_to(key, destination, weight(1)), edit_of(key, destination, weight(1)), remove.clone()]
    {
        assert_eq!(apply(ipvs, operation), Err(Error::NoSuchService));
    }
    service(ipvs, key);
    assert_eq!(apply(ipvs, edit_of(key, destination, weight(1))), Err(Error::NoSuchDestination));
    assert_eq!(apply(ipvs, remove.clone()), Err(Error::NoSuchDestination));

    let range = [
        weight(DestinationConfig::MAX_WEIGHT + 1),
        weight(u32::MAX),
        DestinationConfig { upper: 1, lower: 2, ..weight(1) },
        DestinationConfig { upper: 0, lower: 1, ..weight(1) },
    ];
    let without_port = tunnelled(Tunnel::Gue { port: 0, checksum: Checksum::None });
    let large_upper = DestinationConfig { upper: DestinationConfig::MAX_UPPER + 1, ..weight(1) };
    for config in range {
        assert_eq!(apply(ipvs, add_to(key, destination, config)), Err(Error::OutOfRange), "{config}");
    }
    assert_invalid(apply(ipvs, add_to(key, destination, without_port)), "add");
    // Some kernels accept it, such as 6.1.172.
    match apply(ipvs, add_to(key, destination, large_upper)) {
        Ok(()) => assert_eq!(apply(ipvs, remove), Ok(())),
        refused => assert_invalid(refused, "add"),
    }

    apply_and_compare(ipvs, add_to(key, destination, weight(1)));
    let table = ipvs.dump().unwrap();
    assert_eq!(apply(ipvs, add_to(key, destination, weight(2))), Err(Error::DestinationExists));
    for config in range {
        assert_eq!(apply(ipvs, edit_of(key, destination, config)), Err(Error::OutOfRange), "{config}");
    }
    assert_invalid(apply(ipvs, edit_of(key, destination, without_port)), "edit");
    assert_eq!(ipvs.dump().unwrap(), table);
}

pub(crate) fn odd_addresses(ipvs: &mut dyn Ipvs) {
    let (v4, v6) = (tcp("10.0.0.1", 80), tcp("2001:db8::1", 80));
    service(ipvs, v4);
    service(ipvs, v6);
    for address in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "239.255.255.255"] {
        assert_invalid(apply(ipvs, add_to(v4, server(address), weight(1))), address);
    }
    for address in ["::", "ff02::1", "fe80::1", "::ffff:192.0.2.1"] {
        assert_invalid(apply(ipvs, add_to(v6, server(address), weight(1))), address);
    }
    for address in ["0.0.0.1", "127.0.0.1", "169.254.0.1", "240.0.0.1"] {
        apply_and_compare(ipvs, add_to(v4, server(address), weight(1)));
    }
    for address in ["::1", "::192.0.2.1", "fec0::1", "fd00::1", "64:ff9b::1"] {
        apply_and_compare(ipvs, add_to(v6, server(address), weight(1)));
    }
    // An edit does not check the address, only whether the destination exists.
    assert_eq!(apply(ipvs, edit_of(v4, server("224.0.0.1"), weight(1))), Err(Error::NoSuchDestination));
}

/// Without a table of local routes, which the first interface creates, the kernel treats every IPv4 address as a
/// broadcast address. The table in memory does not.
pub(crate) fn without_interface(ipvs: &mut dyn Ipvs) {
    let (v4, v6) = (tcp("10.0.0.1", 80), tcp("2001:db8::1", 80));
    service(ipvs, v4);
    service(ipvs, v6);
    let result = apply(ipvs, add_to(v4, server("192.0.2.1"), weight(1)));
    let Err(Error::Invalid { reason }) = result else { panic!("{result:?}") };
    assert!(reason.contains("interface"), "{reason}");
    apply_and_compare(ipvs, add_to(v6, server("2001:db8::2"), weight(1)));
}

pub(crate) fn the_order_of_refusals(ipvs: &mut dyn Ipvs) {
    let key = tcp("10.0.0.1", 80);
    let bad = DestinationConfig { upper: 1, lower: 2, ..weight(u32::MAX) };
    assert_eq!(apply(ipvs, add_to(key, server("192.0.2.1"), bad)), Err(Error::NoSuchService));
    service(ipvs, key);
    assert_invalid(apply(ipvs, add_to(key, server("2001:db8::2"), bad)), "family before range");
    assert_eq!(apply(ipvs, add_to(key, server("224.0.0.1"), bad)), Err(Error::OutOfRange));
    assert_eq!(apply(ipvs, edit_of(key, server("192.0.2.1"), bad)), Err(Error::OutOfRange));
    apply_all(ipvs, &[add_to(key, server("192.0.2.1"), weight(1))]);
    assert_eq!(apply(ipvs, add_to(key, server("192.0.2.1"), bad)), Err(Error::OutOfRange));
}

pub(crate) fn removed_ones_come_back_new(ipvs: &mut dyn Ipvs) {
    let (key, destination) = (tcp("10.0.0.1", 80), server("192.0.2.1"));
    service(ipvs, key);
    let tunnel =
        DestinationConfig { upper: 9, ..tunnelled(Tunnel::Gue { port: 1, checksum: Checksum::Full }) };
    apply_and_compare(ipvs, add_to(key, destination, tunnel));
    apply_and_compare(ipvs, Operation::RemoveDestination { service: key, key: destination });
    // The kernel reuses the old destination from its trash. Nothing of the old configuration may remain.
    apply_and_compare(ipvs, add_to(key, destination, weight(3)));
    apply_and_compare(ipvs, Operation::RemoveService { key });
    apply_and_compare(ipvs, add(key, ServiceConfig::new("rr")));
    apply_and_compare(ipvs, add_to(key, destination, weight(4)));
}
