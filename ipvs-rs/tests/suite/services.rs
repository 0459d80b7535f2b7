//! Tests of virtual services.

use ipvs_rs::{
    Error, Family, Ipvs, Netmask, Operation, Persistence, Protocol, ServiceConfig, ServiceFlags, ServiceKey,
};

use super::{add, apply, apply_and_compare, assert_invalid, mark, tcp};

pub(crate) fn every_kind_of_key(ipvs: &mut dyn Ipvs) {
    let mut keys = vec![];
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        for address in ["10.0.0.1", "2001:db8::1"] {
            keys.push(ServiceKey::Address { protocol, address: address.parse().unwrap(), port: 80 });
        }
    }
    // The same mark in both families makes two services.
    for family in [Family::V4, Family::V6] {
        keys.push(ServiceKey::Mark { mark: 1, family });
        keys.push(ServiceKey::Mark { mark: u32::MAX, family });
    }
    for key in &keys {
        apply_and_compare(ipvs, add(*key, ServiceConfig::new("wlc")));
    }
    for key in keys {
        apply_and_compare(ipvs, Operation::EditService { key, config: ServiceConfig::new("rr") });
        apply_and_compare(ipvs, Operation::RemoveService { key });
    }
}

pub(crate) fn every_scheduler(ipvs: &mut dyn Ipvs) {
    let names =
        ["none", "rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq"];
    for (port, name) in (1..).zip(names) {
        apply_and_compare(ipvs, add(tcp("10.0.0.1", port), ServiceConfig::new(name)));
    }
    for name in names {
        let key = tcp("10.0.0.1", 1);
        apply_and_compare(ipvs, Operation::EditService { key, config: ServiceConfig::new(name) });
    }
    // Debian builds its kernels without this scheduler.
    match apply(ipvs, add(mark(1), ServiceConfig::new("twos"))) {
        Ok(()) => assert_eq!(ipvs.dump().unwrap().services[&mark(1)].config, ServiceConfig::new("twos")),
        Err(error) => {
            assert_eq!(error, Error::NoSuchScheduler { scheduler: "twos".into(), engine: None });
            println!("this kernel has no scheduler twos");
        }
    }
}

pub(crate) fn every_flag(ipvs: &mut dyn Ipvs) {
    let key = ServiceKey::Address { protocol: Protocol::Udp, address: "10.0.0.1".parse().unwrap(), port: 53 };
    apply_and_compare(ipvs, add(key, ServiceConfig { flags: ServiceFlags::ALL, ..ServiceConfig::new("sh") }));
    for bits in 0..0x40 {
        let flags = ServiceFlags::from_bits_truncate(bits);
        let config = ServiceConfig { flags, ..ServiceConfig::new("mh") };
        apply_and_compare(ipvs, Operation::EditService { key, config });
    }
}

fn persistent(timeout: u32, netmask: Netmask, engine: Option<&str>) -> ServiceConfig {
    let persistence = Persistence { timeout, netmask, engine: engine.map(str::to_owned) };
    ServiceConfig { persistence: Some(persistence), ..ServiceConfig::new("wlc") }
}

pub(crate) fn persistence(ipvs: &mut dyn Ipvs) {
    let v4 = |text: &str| Netmask::V4(text.parse().unwrap());
    for (port, netmask) in (1..).zip(["255.255.255.255", "255.255.255.0", "255.0.0.0", "0.0.0.0"]) {
        apply_and_compare(ipvs, add(tcp("10.0.0.1", port), persistent(300, v4(netmask), None)));
    }
    for (port, prefix) in (1..).zip([1, 64, 128]) {
        apply_and_compare(ipvs, add(tcp("2001:db8::1", port), persistent(300, Netmask::V6(prefix), None)));
    }
    let key = tcp("10.0.0.1", 1);
    for timeout in [0, 1, Persistence::MAX_TIMEOUT] {
        let config = persistent(timeout, v4("255.255.255.0"), None);
        apply_and_compare(ipvs, Operation::EditService { key, config });
    }
}

pub(crate) fn a_persistence_engine(ipvs: &mut dyn Ipvs) {
    let key =
        ServiceKey::Address { protocol: Protocol::Udp, address: "10.0.0.1".parse().unwrap(), port: 5060 };
    let host = Netmask::host(Family::V4);
    let with_engine = persistent(60, host, Some("sip"));
    let without = persistent(60, host, None);
    match apply(ipvs, add(key, with_engine.clone())) {
        Ok(()) => assert_eq!(ipvs.dump().unwrap().services[&key].config, with_engine),
        // Not every kernel has a module for this engine.
        Err(error) => {
            let expected = Error::NoSuchScheduler { scheduler: "wlc".into(), engine: Some("sip".into()) };
            assert_eq!(error, expected);
            println!("this kernel has no persistence engine sip");
            return;
        }
    }
    for config in [without, with_engine, ServiceConfig::new("wlc")] {
        apply_and_compare(ipvs, Operation::EditService { key, config });
    }
    let unknown = Operation::EditService { key, config: persistent(60, host, Some("nosuch")) };
    assert!(matches!(apply(ipvs, unknown), Err(Error::NoSuchScheduler { .. })));
}

pub(crate) fn everything_can_be_edited(ipvs: &mut dyn Ipvs) {
    let configs = |masks: [Netmask; 2]| {
        [
            ServiceConfig::new("rr"),
            persistent(300, masks[0], None),
            persistent(60, masks[1], None),
            ServiceConfig { flags: ServiceFlags::ONE_PACKET, ..ServiceConfig::new("sh") },
            ServiceConfig { flags: ServiceFlags::SCHEDULER_2, ..persistent(1, masks[0], None) },
            ServiceConfig::new("rr"),
        ]
    };
    let v4 = [Netmask::host(Family::V4), Netmask::V4([255, 255, 0, 0].into())];
    let v6 = [Netmask::host(Family::V6), Netmask::V6(48)];
    for (key, masks) in [(tcp("10.0.0.1", 80), v4), (tcp("2001:db8::1", 80), v6), (mark(3), v4)] {
        apply_and_compare(ipvs, add(key, ServiceConfig::new("wlc")));
        for config in configs(masks) {
            apply_and_compare(ipvs, Operation::EditService { key, config });
        }
    }
}

pub(crate) fn refusals(ipvs: &mut dyn Ipvs) {
    let (key, key6) = (tcp("10.0.0.1", 80), tcp("2001:db8::1", 80));
    let config = ServiceConfig::new("wlc");
    let unknown = ServiceConfig::new("nosuch");
    let no_scheduler = || Err(Error::NoSuchScheduler { scheduler: "nosuch".into(), engine: None });
    let edit = |key, config| Operation::EditService { key, config };

    assert_eq!(apply(ipvs, edit(key, config.clone())), Err(Error::NoSuchService));
    assert_eq!(apply(ipvs, edit(key, unknown.clone())), Err(Error::NoSuchService));
    assert_eq!(apply(ipvs, Operation::RemoveService { key }), Err(Error::NoSuchService));
    assert_eq!(apply(ipvs, add(key, unknown.clone())), no_scheduler());
    for prefix in [0, 129, 255] {
        let config = persistent(300, Netmask::V6(prefix), None);
        assert_invalid(apply(ipvs, add(key6, config)), "prefix");
    }
    assert!(ipvs.dump().unwrap().services.is_empty());

    apply_and_compare(ipvs, add(key, config.clone()));
    apply_and_compare(ipvs, add(key6, config.clone()));
    let table = ipvs.dump().unwrap();
    assert_eq!(apply(ipvs, add(key, config)), Err(Error::ServiceExists));
    assert_eq!(apply(ipvs, add(key, unknown.clone())), Err(Error::ServiceExists));
    assert_eq!(apply(ipvs, edit(key, unknown)), no_scheduler());
    assert_invalid(apply(ipvs, edit(key6, persistent(300, Netmask::V6(0), None))), "prefix");
    assert_eq!(ipvs.dump().unwrap(), table);
}

pub(crate) fn what_is_refused_unsent(ipvs: &mut dyn Ipvs) {
    let v6_mask = persistent(300, Netmask::V6(64), None);
    let v4_mask = persistent(300, Netmask::host(Family::V4), None);
    for (key, config) in [
        (mark(0), ServiceConfig::new("wlc")),
        (tcp("10.0.0.1", 80), ServiceConfig::new("a-name-of-more-than-15-bytes")),
        (tcp("10.0.0.1", 80), ServiceConfig::new("w\0lc")),
        (tcp("10.0.0.1", 80), v6_mask),
        (tcp("2001:db8::1", 80), v4_mask),
    ] {
        assert_invalid(apply(ipvs, add(key, config)), "unsent");
    }
    assert_invalid(apply(ipvs, Operation::RemoveService { key: mark(0) }), "mark");
    assert_invalid(ipvs.zero(Some(mark(0))), "mark");
    assert!(ipvs.dump().unwrap().services.is_empty());
}

pub(crate) fn a_port_of_zero(ipvs: &mut dyn Ipvs) {
    // The kernel accepts this without persistence, too; only ipvsadm does not.
    apply_and_compare(ipvs, add(tcp("10.0.0.1", 0), ServiceConfig::new("wlc")));
    let config = persistent(300, Netmask::host(Family::V4), None);
    apply_and_compare(ipvs, add(tcp("10.0.0.2", 0), config));
}
