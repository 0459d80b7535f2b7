//! Random tables, small enough that two of them have much in common.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its tables has failed")]

use std::net::IpAddr;

use ipvs_rs::{
    Checksum, DestinationConfig, DestinationKey, Family, ForwardingMethod, Netmask, Persistence, Protocol,
    Service, ServiceConfig, ServiceFlags, ServiceKey, Table, Tunnel,
};
use proptest::collection::btree_map;
use proptest::prelude::*;

/// Any table.
pub(crate) fn table() -> impl Strategy<Value = Table> {
    let service = (service_config(), btree_map(destination_key(), destination_config(), 0..5))
        .prop_map(|(config, destinations)| Service { config, destinations });
    btree_map(service_key(), service, 0..4).prop_map(|services| Table { services })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "2001:db8::1"]).prop_map(|text| text.parse().unwrap())
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let family = prop::sample::select(vec![Family::V4, Family::V6]);
    prop_oneof![
        (protocol, address(), 80..82u16).prop_map(|(protocol, address, port)| ServiceKey::Address {
            protocol,
            address,
            port
        }),
        (1..3u32, family).prop_map(|(mark, family)| ServiceKey::Mark { mark, family }),
    ]
}

fn service_config() -> impl Strategy<Value = ServiceConfig> {
    let scheduler = prop::sample::select(vec!["wlc", "sh"]).prop_map(str::to_owned);
    let flags = (0..0x40u32).prop_map(ServiceFlags::from_bits_truncate);
    let netmask = prop::sample::select(vec![Netmask::V4([255, 255, 255, 0].into()), Netmask::V6(64)]);
    let engine = prop::option::of(Just("sip".to_owned()));
    let persistence = (0..3u32, netmask, engine).prop_map(|(timeout, netmask, engine)| Persistence {
        timeout,
        netmask,
        engine,
    });
    (scheduler, flags, prop::option::of(persistence))
        .prop_map(|(scheduler, flags, persistence)| ServiceConfig { scheduler, flags, persistence })
}

fn destination_key() -> impl Strategy<Value = DestinationKey> {
    (address(), 80..82u16).prop_map(|(address, port)| DestinationKey { address, port })
}

fn destination_config() -> impl Strategy<Value = DestinationConfig> {
    use ForwardingMethod::{DirectRoute, Masquerade, Tunnel as Tunnelling};
    let checksum = prop::sample::select(vec![Checksum::None, Checksum::Full, Checksum::Remote]);
    let tunnel = prop_oneof![
        Just(Tunnel::Ipip),
        (1..3u16, checksum.clone()).prop_map(|(port, checksum)| Tunnel::Gue { port, checksum }),
        checksum.prop_map(|checksum| Tunnel::Gre { checksum }),
    ];
    (prop::sample::select(vec![Masquerade, Tunnelling, DirectRoute]), 0..3u32, 0..3u32, 0..2u32, tunnel)
        .prop_map(|(method, weight, upper, lower, tunnel)| DestinationConfig {
            method,
            weight,
            upper,
            lower,
            tunnel,
        })
}
