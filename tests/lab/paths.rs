//! The lab itself: the data paths work, with tables made by hand and without a daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::network::{Family, Network, Path, Spec};
use crate::table::{Table, connections};
use crate::wait::until;
use crate::web::Web;

/// Both servers answer. One at weight 0 gets no new connections. The director's own web server is the fallback.
fn carries(path: Path, family: Family) {
    let network = Network::new(&Spec::new(path, family), |_| Vec::new());
    let director = &network.directors[0];
    let service = network.service(80);
    let weights = |first, second| {
        Table::default()
            .service(service, "rr")
            .server(service, network.servers[0].address, path.flag(), first)
            .server(service, network.servers[1].address, path.flag(), second)
    };
    weights(1, 1).install(director);
    assert_eq!(Table::read(director), weights(1, 1));
    let client = network.client("/");
    client.answered_by(&["s11", "s12"], 10);
    // The kernel updates its counters every two seconds.
    until("counted connections", Duration::from_secs(10), || {
        let counts = connections(director);
        if counts[&service.to_string()] >= 10 { Ok(()) } else { Err(format!("{counts:?}")) }
    });

    drop(client);
    weights(0, 1).install(director);
    network.client("/").answered_by(&["s12"], 10);

    let home: IpAddr = match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    let fallback =
        Table::default().service(service, "rr").server(service, SocketAddr::new(home, 80), "-g", 1);
    let _repair = Web::start_in(director);
    fallback.install(director);
    network.client("/").answered_by(&["d1"], 5);
}

#[test]
fn direct_routing_carries() {
    carries(Path::Direct, Family::V4);
}

#[test]
fn direct_routing_carries_ipv6() {
    carries(Path::Direct, Family::V6);
}

#[test]
fn masquerading_carries() {
    carries(Path::Masq, Family::V4);
}

#[test]
fn masquerading_carries_ipv6() {
    carries(Path::Masq, Family::V6);
}

#[test]
fn tunnel_carries() {
    carries(Path::Tunnel, Family::V4);
}

/// What the scenarios rely on: a stopped server refuses, a frozen server is silent, and both answer again afterwards.
#[test]
fn a_web_server_stops_freezes_and_returns() {
    let mut network = Network::new(&Spec::new(Path::Direct, Family::V4), |_| Vec::new());
    let director = network.directors[0].clone();
    let server = &mut network.servers[0];
    let address = server.address;
    let ask = |path: &str| director.run(|| crate::client::request(0, address, path, Duration::from_secs(3)));
    server.web.page("/alive", "fine");
    assert_eq!(ask("/alive").unwrap().body, "fine");
    assert_eq!(ask("/absent").unwrap().status, 404);
    server.web.remove_page("/alive");
    assert_eq!(ask("/alive").unwrap().status, 404);
    server.web.stop();
    assert!(ask("/").unwrap_err().contains("refused"));
    server.web.start();
    assert_eq!(ask("/").unwrap().by, "s11");
    server.web.freeze();
    assert!(ask("/").is_err());
    server.web.thaw();
    assert_eq!(ask("/").unwrap().by, "s11");
    assert_eq!(server.web.asked()[0].host, "lab");
}
