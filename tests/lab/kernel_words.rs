//! Directives for kernel features that the original cannot configure: each reaches the kernel's table.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ipvs_rs::{Ipvs, Kernel, Timeouts};
use socket2::{Domain, Protocol, Socket, Type};

use crate::director::{Director, Scene};
use crate::netns::NetNs;
use crate::network::{Family, Path, Spec};
use crate::wait::until;

/// The limit for a change: an interval of 1 s, a check of 2 s, and an emulated processor.
const SOON: Duration = Duration::from_secs(20);

const CONFIGURATION: &str = "checktimeout=2\ncheckinterval=1\nquiescent=yes\nlogfile=\"/var/log/ldirectord.log\"\n\
    #rs: timeouts=7200,0,30\n\
    virtual=10.1.0.100:2905\n\treal=127.0.0.2:2905 masq\n\treal=127.0.0.3:2905 masq\n\tchecktype=connect\n\
    \t#rs: protocol=sctp\n\
    virtual=10.1.0.100:80\n\treal=10.1.0.11:80 ipip\n\tchecktype=on\n\t#rs: tunnel=gue:5555,csum\n\
    virtual=10.1.0.100:81\n\treal=10.1.0.11:81 ipip\n\treal=10.1.0.12:81 gate\n\tchecktype=on\n\t#rs: tunnel=gre\n\
    virtual=10.1.0.100:5060\n\treal=127.0.0.2:5060 masq\n\tprotocol=udp\n\tchecktype=on\n\tpersistent=300\n\
    \t#rs: persistengine=sip\n";

/// The kernel's table, one line per service and per server.
fn lines(netns: &NetNs) -> BTreeSet<String> {
    let table = netns.run(|| Kernel::open().unwrap().dump().unwrap());
    let mut lines = BTreeSet::new();
    for (key, service) in &table.services {
        lines.insert(format!("{key} {}", service.config));
        for (server, config) in &service.destinations {
            lines.insert(format!("{key} -> {server} {config}"));
        }
    }
    lines
}

#[track_caller]
fn comes_to(netns: &NetNs, director: &Director, sctp_weight: u32) {
    let expected: BTreeSet<String> = [
        "sctp 10.1.0.100:2905 wrr",
        &format!("sctp 10.1.0.100:2905 -> 127.0.0.2:2905 weight {sctp_weight} (masquerade)"),
        // No server listens there.
        "sctp 10.1.0.100:2905 -> 127.0.0.3:2905 weight 0 (masquerade)",
        "tcp 10.1.0.100:80 wrr",
        "tcp 10.1.0.100:80 -> 10.1.0.11:80 weight 1 (tunnel gue port 5555 csum)",
        "tcp 10.1.0.100:81 wrr",
        "tcp 10.1.0.100:81 -> 10.1.0.11:81 weight 1 (tunnel gre nocsum)",
        "tcp 10.1.0.100:81 -> 10.1.0.12:81 weight 1 (route)",
        "udp 10.1.0.100:5060 wrr persistent 300 pe sip",
        "udp 10.1.0.100:5060 -> 127.0.0.2:5060 weight 1 (masquerade)",
    ]
    .map(str::to_owned)
    .into();
    until("table", SOON, || {
        let found = lines(netns);
        if found == expected {
            return Ok(());
        }
        Err(format!("expected {expected:#?}\nfound {found:#?}\n{}", director.log()))
    });
}

#[test]
fn words_for_the_kernel_are_in_its_table() {
    let scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
    let (netns, director) = (&scene.network.directors[0], &scene.directors[0]);
    let listener = netns.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::SCTP)).unwrap();
        let address: SocketAddr = "127.0.0.2:2905".parse().unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(16).unwrap();
        socket
    });
    director.configure(CONFIGURATION);
    director.must("start");
    comes_to(netns, director, 1);
    let timeouts = || netns.run(|| Kernel::open().unwrap().timeouts().unwrap());
    assert_eq!(timeouts(), Timeouts { tcp: 7200, tcp_fin: 120, udp: 30 });

    // A new daemon finds the table as configured, and writes nothing.
    director.must("restart");
    comes_to(netns, director, 1);
    drop(listener);
    comes_to(netns, director, 0);
    let log = director.log();
    assert!(!log.contains("changed by another program") && !log.contains("refused to"), "{log}");
    assert_eq!(log.matches("Set the kernel's time-outs").count(), 1, "{log}");
    director.must("stop");
    assert_eq!(lines(netns), BTreeSet::new());
}
