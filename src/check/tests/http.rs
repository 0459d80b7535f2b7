//! HTTP against good and bad servers.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::servers::{Server, read_request};
use super::*;

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Runs a request against a server that always answers the same.
async fn against(answer: &[u8], http: HttpProbe) -> Verdict {
    let answer = answer.to_vec();
    let server = Server::answering(LOOPBACKS[0], move |_| answer.clone()).await;
    run(&probe(server.address, PATIENCE, Action::Http(http))).await
}

#[tokio::test]
async fn good_answers() {
    for loopback in LOOPBACKS {
        let server = Server::answering(loopback, |_| ok("It is a Test Page.\n")).await;
        let verdict =
            run(&probe(server.address, PATIENCE, Action::Http(get("/a b", Some("Test Page\\.$"))))).await;
        assert_says(
            &verdict,
            Outcome::Up,
            "GET /a b: 200 OK, and the body (19 bytes) matches /Test Page\\.$/",
        );
        assert_eq!(verdict.monitor.as_deref(), Some("200 OK"));
        let requests = server.requests.lock().unwrap();
        assert!(
            requests[0]
                .starts_with("GET /a%20b HTTP/1.1\r\nHost: www.example.net\r\nUser-Agent: ldirectord-rs/"),
            "{requests:?}"
        );
    }
}

#[tokio::test]
async fn a_silent_server_and_nobody() {
    for loopback in LOOPBACKS {
        let server = Server::silent(loopback).await;
        let target = server.address;
        let verdict = run(&probe(target, IMPATIENCE, Action::Http(get("/", None)))).await;
        assert_says(
            &verdict,
            Outcome::Down,
            &format!("no answer from {target} within 200 ms (connected in "),
        );
        assert_says(&verdict, Outcome::Down, "request sent, waiting for the status line)");
        assert_eq!(verdict.monitor.as_deref(), Some("500 Timeout Alarm"));
        drop(server);
    }
    let verdict = run(&probe("127.0.0.1:1".parse().unwrap(), PATIENCE, Action::Http(get("/", None)))).await;
    assert_says(&verdict, Outcome::Down, "connect to 127.0.0.1:1: connection refused");
    assert_eq!(verdict.monitor.as_deref(), Some("500 Can't connect to 127.0.0.1:1 (connection refused)"));
}

#[tokio::test]
async fn the_status_decides() {
    for (status, outcome) in [
        ("200 OK", Outcome::Up),
        ("204 No Content", Outcome::Up),
        ("299 Whatever", Outcome::Up),
        ("304 Not Modified", Outcome::Down),
        ("302 Found", Outcome::Down),
        ("401 Unauthorized", Outcome::Down),
        ("404 Not Found", Outcome::Down),
        ("500 Internal Server Error", Outcome::Down),
    ] {
        let verdict =
            against(format!("HTTP/1.0 {status}\r\n\r\n").as_bytes(), get("/.test.html", None)).await;
        assert_says(&verdict, outcome, &format!("GET /.test.html: {status}"));
        assert_eq!(verdict.monitor.as_deref(), Some(status));
    }
}

#[tokio::test]
async fn slow_bytes_do_not_stretch_the_deadline() {
    let server = Server::start(LOOPBACKS[0], |mut stream| async move {
        read_request(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
            drop(stream.write_all(&[*byte]).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let verdict = run(&probe(server.address, IMPATIENCE, Action::Http(get("/", None)))).await;
    assert_says(&verdict, Outcome::Down, "bytes received, waiting for the status line)");
}
