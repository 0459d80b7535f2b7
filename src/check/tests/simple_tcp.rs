//! The line dialogue over TCP and UDP.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::servers::Server;
use super::*;
use crate::spec::SimpleTcpProbe;

fn ask(target: SocketAddr, deadline: Duration, receive: Option<&str>, udp: bool) -> Probe {
    let receive = receive.map(|pattern| Pattern::parse(pattern).unwrap());
    let simple = SimpleTcpProbe { request: "a\nb".to_owned(), receive, udp };
    probe(target, deadline, ProbeAction::SimpleTcp(simple))
}

/// A server that reads the whole request, answers and closes.
async fn after_the_request(bind: &str, answer: &'static [u8]) -> (Server, Arc<Mutex<Vec<u8>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let server = Server::start(bind, move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await.unwrap();
            *kept.lock().unwrap() = request;
            drop(stream.write_all(answer).await);
        }
    })
    .await;
    (server, seen)
}

/// A server that answers each datagram with these datagrams.
async fn datagrams(
    bind: &str,
    answers: &'static [&'static [u8]],
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let socket = UdpSocket::bind(bind).await.unwrap();
    let address = socket.local_addr().unwrap();
    let serve = async move {
        let mut buffer = [0; 100];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            assert_eq!(&buffer[..length], b"a\nb");
            for answer in answers {
                socket.send_to(answer, client).await.unwrap();
            }
        }
    };
    (address, tokio::spawn(serve))
}

#[tokio::test]
async fn a_line_that_matches_is_up() {
    for loopback in LOOPBACKS {
        let (server, seen) = after_the_request(loopback, b"hello\r\nfoo bar\nend").await;
        let target = server.address;
        for (receive, words) in [
            (Some("^foo"), "line 2 \"foo bar\" matches /^foo/"),
            (Some("bar\\s"), "line 2 \"foo bar\" matches /bar\\s/"),
            (Some("^end$"), "line 3 \"end\" matches /^end$/"),
            (None, "answered \"hello\""),
        ] {
            let verdict = run(&ask(target, PATIENCE, receive, false)).await;
            assert_says(&verdict, Outcome::Up, &format!("tcp {target}: {words}"));
            assert_eq!(verdict.monitor, None);
        }
        assert_eq!(*seen.lock().unwrap(), b"a\nb");
    }
}

#[tokio::test]
async fn no_line_that_matches_is_down() {
    for (answer, receive, words) in [
        // A pattern sees one line at a time.
        (
            b"one\ntwo\n" as &[u8],
            Some("one\\ntwo"),
            "no line of the answer (2 lines, 8 bytes) matches /one\\ntwo/; it begins with \"one\"; the server closed",
        ),
        (b"x", Some("y"), "no line of the answer (1 line, 1 byte) matches /y/; it begins with \"x\""),
        (b"", Some("y"), "the server closed the connection without an answer"),
        (b"", None, "the server closed the connection without an answer"),
    ] {
        let (server, _) = after_the_request(LOOPBACKS[0], answer).await;
        assert_says(&run(&ask(server.address, PATIENCE, receive, false)).await, Outcome::Down, words);
    }
}

#[tokio::test]
async fn a_server_may_talk_first_and_need_not_listen() {
    let server = Server::start(LOOPBACKS[0], |mut stream| async move {
        stream.write_all(b"220 ready\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let mut probe = ask(server.address, PATIENCE, Some("^220"), false);
    if let ProbeAction::SimpleTcp(simple) = &mut probe.action {
        simple.request = "x".repeat(50_000_000);
    }
    assert_says(&run(&probe).await, Outcome::Up, "line 1 \"220 ready\" matches /^220/");
    if let ProbeAction::SimpleTcp(simple) = &mut probe.action {
        simple.receive = Some(Pattern::parse("^250").unwrap());
    }
    probe.deadline = IMPATIENCE;
    assert_says(
        &run(&probe).await,
        Outcome::Down,
        "the server does not read the request, 10 bytes received in 1 line)",
    );
}

#[tokio::test]
async fn over_udp_a_newline_ends_a_line() {
    for loopback in LOOPBACKS {
        let (target, task) = datagrams(loopback, &[b"po", b"ng\n"]).await;
        for receive in [Some("^pong\\s"), None] {
            let verdict = run(&ask(target, PATIENCE, receive, true)).await;
            assert_says(&verdict, Outcome::Up, &format!("udp {target}: "));
        }
        let verdict = run(&ask(target, IMPATIENCE, Some("ping"), true)).await;
        assert_says(
            &verdict,
            Outcome::Down,
            &format!(
                "no matching line from udp {target} within 200 ms (request sent, 5 bytes received in 1 line)"
            ),
        );
        task.abort();
        let (target, task) = datagrams(loopback, &[b"pong"]).await;
        let verdict = run(&ask(target, IMPATIENCE, Some("pong"), true)).await;
        assert_says(&verdict, Outcome::Down, "4 bytes received, no line end: \"pong\"");
        task.abort();
    }
}

#[tokio::test]
async fn over_udp_nobody_and_silence() {
    for loopback in LOOPBACKS {
        let socket = UdpSocket::bind(loopback).await.unwrap();
        let target = socket.local_addr().unwrap();
        let verdict = run(&ask(target, IMPATIENCE, None, true)).await;
        assert_says(&verdict, Outcome::Down, "within 200 ms (request sent, nothing received)");
        // A socket connected to itself receives no other datagrams, and reserves the port.
        socket.connect(target).await.unwrap();
        let verdict = run(&ask(target, PATIENCE, None, true)).await;
        assert_says(&verdict, Outcome::Down, &format!("udp {target}: no answer: connection refused"));
    }
}
