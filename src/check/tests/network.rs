//! Tests in a network namespace: they may change routes, links and port ranges, and no packet leaves the machine.

use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::spec::{DatagramProbe, SimpleTcpProbe};
use crate::value::UnknownCause;

/// Prints why a test cannot run on this machine.
pub(super) fn skip(why: &str) {
    println!("skipped: {why}");
}

/// Runs a future in a new network namespace. None if this process has no permission to create one.
pub(super) fn in_own_network<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> Option<T> {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).ok()?;
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        up.ok()?.success().then_some(())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Some(runtime.block_on(work()))
    };
    thread::scope(|scope| scope.spawn(inside).join()).unwrap()
}

/// Runs `ip` with these arguments.
fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

const NO_NETWORK: &str = "a network namespace and `ip` are needed, so root";

/// A datagram without an expected answer.
const DATAGRAM: ProbeAction = ProbeAction::Datagram(DatagramProbe { payload: Vec::new(), reply: None });

fn connect(target: &str, deadline: Duration) -> Probe {
    probe(target.parse().unwrap(), deadline, ProbeAction::Connect)
}

/// If the only free local port is the server's, the kernel connects the socket to itself.
#[test]
fn a10_a_connection_to_itself_is_down() {
    let verdicts = in_own_network(async || {
        let mut verdicts = Vec::new();
        let mut port = 40_000;
        for address in ["127.0.0.1", "::1"] {
            let smtp = ProbeAction::Dialogue(dialogue_with(Dialogue::Smtp));
            for action in [ProbeAction::Connect, smtp, ProbeAction::Http(get("/", None)), DATAGRAM] {
                port += 1;
                let range = format!("{port} {port}");
                std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();
                let target = SocketAddr::new(address.parse().unwrap(), port);
                verdicts.push(run(&probe(target, IMPATIENCE, action)).await);
            }
        }
        verdicts
    });
    let Some(verdicts) = verdicts else { return skip(NO_NETWORK) };
    for verdict in &verdicts {
        assert_says(verdict, Outcome::Down, "connected to itself");
    }
}

/// A real server on an address of the director, with a port in the ephemeral range.
#[test]
fn a10_a_server_on_the_director_itself_is_up() {
    let verdict = in_own_network(async || {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40003").unwrap();
        let _listener = std::net::TcpListener::bind("127.0.0.1:40000").unwrap();
        run(&connect("127.0.0.1:40000", PATIENCE)).await
    });
    let Some(verdict) = verdict else { return skip(NO_NETWORK) };
    assert_says(&verdict, Outcome::Up, "connected to");
}

/// A listener whose address has no route yet. The route is added after two seconds.
#[test]
fn a4_a_route_that_comes_back_in_time_is_no_failure() {
    let verdicts = in_own_network(async || {
        let mut verdicts = Vec::new();
        for (address, action) in [
            ("10.1.2.3", ProbeAction::Connect),
            ("10.1.2.4", ProbeAction::Ping { attempts: 1 }),
            ("10.1.2.5", DATAGRAM),
        ] {
            let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
            let _socket = std::net::UdpSocket::bind(listener.local_addr().unwrap()).unwrap();
            let target = SocketAddr::new(address.parse().unwrap(), listener.local_addr().unwrap().port());
            let repair = thread::spawn(move || {
                thread::sleep(Duration::from_secs(2));
                ip(&format!("address add {address}/32 dev lo"));
            });
            verdicts.push(run(&probe(target, PATIENCE, action)).await);
            repair.join().unwrap();
        }
        verdicts
    });
    let Some(verdicts) = verdicts else { return skip(NO_NETWORK) };
    for verdict in &verdicts {
        assert_eq!(verdict.outcome, Outcome::Up, "{verdict:?}");
        assert!(verdict.took >= Duration::from_secs(1), "{verdict:?}");
    }
}

/// Creates a veth pair. No address on the other end answers.
fn cable(name: &str, network: &str) {
    ip(&format!("link add {name} type veth peer name {name}-peer"));
    ip(&format!("address add {network}.1/24 dev {name}"));
    for end in [name.to_owned(), format!("{name}-peer")] {
        ip(&format!("link set {end} up"));
    }
}

/// The time by which a server that does not answer ARP is down (four ARP requests).
const NO_ARP: Duration = Duration::from_secs(8);
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a4_a_dead_machine_on_the_lan_is_down_before_the_deadline() {
    let verdicts = in_own_network(async || {
        cable("one", "10.1.2");
        cable("two", "10.1.3");
        let quiet = run(&connect("10.1.2.9:80", LONG)).await;
        // A change of another link does not matter.
        let bounce = thread::spawn(|| {
            thread::sleep(Duration::from_millis(500));
            ip("link set two-peer down");
            ip("link set two-peer up");
        });
        let other = run(&connect("10.1.2.10:80", LONG)).await;
        bounce.join().unwrap();
        [quiet, other]
    });
    let Some(verdicts) = verdicts else { return skip(NO_NETWORK) };
    for verdict in &verdicts {
        assert_says(verdict, Outcome::Down, "no route to host");
        assert!(verdict.took < NO_ARP, "{verdict:?}");
    }
}

/// R62
#[test]
fn a4_no_route_to_host_after_a_link_event_is_tried_again() {
    let verdicts = in_own_network(async || {
        cable("one", "10.1.2");
        let mut verdicts = Vec::new();
        for (host, end) in [(9, "one-peer"), (10, "one")] {
            let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
            let address = format!("10.1.2.{host}");
            let target = SocketAddr::new(address.parse().unwrap(), listener.local_addr().unwrap().port());
            let bounce = thread::spawn(move || {
                thread::sleep(Duration::from_millis(500));
                ip(&format!("link set {end} down"));
                thread::sleep(Duration::from_millis(1500));
                ip(&format!("link set {end} up"));
                thread::sleep(NO_ARP);
                // The server answers from now on.
                ip(&format!("address add {address}/32 dev lo"));
            });
            verdicts.push(run(&probe(target, LONG, ProbeAction::Connect)).await);
            bounce.join().unwrap();
        }
        verdicts
    });
    let Some(verdicts) = verdicts else { return skip(NO_NETWORK) };
    for verdict in &verdicts {
        assert_eq!(verdict.outcome, Outcome::Up, "{verdict:?}");
        assert!(verdict.took > NO_ARP, "{verdict:?}");
    }
}

/// R60: without a route until the deadline the server is down. The monitor file has the original's words.
#[test]
fn a4_without_a_route_a_server_is_down_at_the_deadline() {
    let verdicts = in_own_network(async || {
        let target = "10.1.2.3:80";
        let http = probe(target.parse().unwrap(), IMPATIENCE, ProbeAction::Http(get("/", None)));
        [run(&connect(target, IMPATIENCE)).await, run(&http).await]
    });
    let Some([tcp, http]) = verdicts else { return skip(NO_NETWORK) };
    assert_says(
        &tcp,
        Outcome::Down,
        "connect to 10.1.2.3:80: network is unreachable (tried again for 200 ms)",
    );
    assert_eq!(http.monitor.as_deref(), Some("500 Can't connect to 10.1.2.3:80 (Network is unreachable)"));
}

/// R61
#[test]
fn a4_what_the_kernel_forbids_here_says_nothing() {
    let verdicts = in_own_network(async || {
        ip("route add prohibit 10.1.2.3");
        ip("route add unreachable 10.1.2.4");
        let smtp = ProbeAction::Dialogue(dialogue_with(Dialogue::Smtp));
        let mut verdicts = Vec::new();
        for action in [
            ProbeAction::Connect,
            ProbeAction::Http(get("/", None)),
            smtp,
            DATAGRAM,
            ProbeAction::Ping { attempts: 2 },
        ] {
            for target in ["10.1.2.3:80", "10.1.2.4:80"] {
                verdicts.push(run(&probe(target.parse().unwrap(), PATIENCE, action.clone())).await);
            }
        }
        verdicts
    });
    let Some(verdicts) = verdicts else { return skip(NO_NETWORK) };
    for pair in verdicts.chunks(2) {
        assert!(matches!(pair[0].outcome, Outcome::Unknown(UnknownCause::Forbidden(_))), "{:?}", pair[0]);
        // An error about the server: down.
        assert_eq!(pair[1].outcome, Outcome::Down, "{:?}", pair[1]);
    }
}

#[test]
fn a4_without_a_free_port_nothing_is_known() {
    let verdicts = in_own_network(async || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").unwrap();
        let _held: Vec<_> = (0..2).map(|_| std::net::TcpStream::connect(target)).collect();
        let smtp = ProbeAction::Dialogue(dialogue_with(Dialogue::Smtp));
        let mut verdicts = Vec::new();
        for action in [ProbeAction::Connect, ProbeAction::Http(get("/", None)), smtp] {
            verdicts.push(run(&probe(target, PATIENCE, action)).await);
        }
        verdicts
    });
    let Some(verdicts) = verdicts else { return skip(NO_NETWORK) };
    for verdict in &verdicts {
        assert_says(verdict, Outcome::Unknown(UnknownCause::OwnLimit("no free local port")), "");
    }
}

/// The same over UDP, where `bind` returns EADDRINUSE.
#[test]
fn a4_without_a_free_udp_port_nothing_is_known() {
    let verdicts = in_own_network(async || {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").unwrap();
        let held: Result<Vec<_>, _> = (0..2).map(|_| std::net::UdpSocket::bind("[::]:0")).collect();
        let _held = held.unwrap();
        let mut verdicts = Vec::new();
        for target in ["127.0.0.1:9", "[::1]:9"] {
            let simple = SimpleTcpProbe { request: "x".to_owned(), receive: None, udp: true };
            for action in [DATAGRAM, ProbeAction::SimpleTcp(simple)] {
                verdicts.push(run(&probe(target.parse().unwrap(), PATIENCE, action)).await);
            }
        }
        verdicts
    });
    let Some(verdicts) = verdicts else { return skip(NO_NETWORK) };
    for verdict in &verdicts {
        assert_says(verdict, Outcome::Unknown(UnknownCause::OwnLimit("no free local port")), "");
    }
}
