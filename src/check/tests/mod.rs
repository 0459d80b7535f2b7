//! Every protocol against real servers on the loopback addresses, correct and faulty ones.

mod attendance;
mod authority;
mod datagram;
mod dialogue;
mod dns;
mod endless;
mod escapes;
mod external;
mod hostile;
mod http;
mod ldap;
mod logins;
mod network;
mod oracle;
mod ping;
mod radius;
mod redirects;
mod servers;
mod simple_tcp;
mod starttls;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Checker;
use crate::spec::HttpMethod;
use crate::spec::{Dialogue, DialogueProbe, HttpProbe, Probe, ProbeAction, Redirects, Scheme, Transport};
use crate::value::{Outcome, Pattern, Secret, Tls, Verdict};

/// Both loopback addresses: every connection test runs on each.
const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Long enough for every answer that arrives.
const PATIENCE: Duration = Duration::from_secs(5);

/// Short enough to wait for in a test.
const IMPATIENCE: Duration = Duration::from_millis(200);

/// How late a verdict may be on a busy machine. The limit on an idle machine is 100 ms.
const MARGIN: Duration = Duration::from_millis(500);

fn probe(target: SocketAddr, deadline: Duration, action: ProbeAction) -> Probe {
    Probe { target, deadline, action }
}

fn get(path: &str, receive: Option<&str>) -> HttpProbe {
    HttpProbe {
        scheme: Scheme::Http,
        method: HttpMethod::Get,
        request: path.to_owned(),
        host: Some("www.example.net".to_owned()),
        tls: Tls::default(),
        receive: receive.map(|pattern| Pattern::parse(pattern).unwrap()),
        redirects: Redirects::Any,
        proxy: false,
    }
}

/// A dialogue without a login and with the default request.
fn dialogue_with(protocol: Dialogue) -> DialogueProbe {
    DialogueProbe {
        protocol,
        transport: Transport::Plain,
        login: String::new(),
        passwd: Secret::default(),
        request: "/".to_owned(),
        receive: None,
    }
}

async fn run(probe: &Probe) -> Verdict {
    let verdict = Checker::new().unwrap().run(probe).await;
    assert!(verdict.took <= probe.deadline + MARGIN, "{verdict:?}");
    assert!(!verdict.reason.contains('\n'), "{verdict:?}");
    verdict
}

/// Asserts an outcome and a part of its reason.
#[track_caller]
fn assert_says(verdict: &Verdict, outcome: Outcome, words: &str) {
    assert_eq!(verdict.outcome, outcome, "{verdict:?}");
    assert!(verdict.reason.contains(words), "{words:?} is missing in {verdict:?}");
}

/// A port without a listener. No other test gets it as long as it is held.
fn nobody(loopback: &str) -> (socket2::Socket, SocketAddr) {
    let address: SocketAddr = loopback.parse().unwrap();
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[tokio::test]
async fn connect_to_a_listener_and_to_nobody() {
    for loopback in LOOPBACKS {
        let listener = std::net::TcpListener::bind(loopback).unwrap();
        let target = listener.local_addr().unwrap();
        let connect = probe(target, PATIENCE, ProbeAction::Connect);
        assert_says(&run(&connect).await, Outcome::Up, &format!("connected to {target}"));
        let (_held, target) = nobody(loopback);
        let connect = probe(target, PATIENCE, ProbeAction::Connect);
        assert_says(&run(&connect).await, Outcome::Down, &format!("connect to {target}: connection refused"));
        assert_eq!(
            run(&probe(SocketAddr::new(target.ip(), 0), PATIENCE, ProbeAction::Connect)).await.outcome,
            Outcome::Down
        );
    }
}

#[test]
fn a_check_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let checker = Checker::new().unwrap();
    let probe = probe("127.0.0.1:1".parse().unwrap(), PATIENCE, ProbeAction::Connect);
    is_send(&checker.run(&probe));
}
