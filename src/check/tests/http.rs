//! HTTP against correct and faulty servers.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::servers::{Server, read_request};
use super::*;

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Runs a request against a server that always sends the same answer.
async fn against(answer: &[u8], http: HttpProbe) -> Verdict {
    let answer = answer.to_vec();
    let server = Server::answering(LOOPBACKS[0], move |_| answer.clone()).await;
    run(&probe(server.address, PATIENCE, ProbeAction::Http(http))).await
}

/// R35
#[tokio::test]
async fn good_answers() {
    for loopback in LOOPBACKS {
        let server = Server::answering(loopback, |_| ok("It is a Test Page.\n")).await;
        let verdict =
            run(&probe(server.address, PATIENCE, ProbeAction::Http(get("/a b", Some("Test Page\\.$")))))
                .await;
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
        let verdict = run(&probe(target, IMPATIENCE, ProbeAction::Http(get("/", None)))).await;
        assert_says(
            &verdict,
            Outcome::Down,
            &format!("no answer from {target} within 200 ms (connected in "),
        );
        assert_says(&verdict, Outcome::Down, "request sent, waiting for the status line)");
        assert_eq!(verdict.monitor.as_deref(), Some("500 Timeout Alarm"));
        drop(server);
    }
    let verdict =
        run(&probe("127.0.0.1:1".parse().unwrap(), PATIENCE, ProbeAction::Http(get("/", None)))).await;
    assert_says(&verdict, Outcome::Down, "connect to 127.0.0.1:1: connection refused");
    assert_eq!(verdict.monitor.as_deref(), Some("500 Can't connect to 127.0.0.1:1 (Connection refused)"));
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
    let verdict = run(&probe(server.address, IMPATIENCE, ProbeAction::Http(get("/", None)))).await;
    assert_says(&verdict, Outcome::Down, "bytes received, waiting for the status line)");
}

/// B15, R34
#[tokio::test]
async fn https_asks_for_a_name_and_trusts_anybody() {
    for loopback in LOOPBACKS {
        let server = Server::tls(loopback, |mut stream| async move {
            let request = read_request(&mut stream).await;
            let name = stream.get_ref().1.server_name().unwrap_or("no-name").to_owned();
            let reply =
                format!("HTTP/1.1 200 OK\r\n\r\n{name} {}", request.contains("Host: www.example.net"));
            drop(stream.write_all(reply.as_bytes()).await);
            // No close_notify: some servers just close.
        })
        .await;
        for (name, receive) in [(Some("real.example.net"), "^real.example.net true"), (None, "^no-name true")]
        {
            let http = HttpProbe {
                scheme: Scheme::Https,
                tls: Tls { server_name: name.map(str::to_owned), ..Tls::default() },
                ..get("/", Some(receive))
            };
            let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Http(http))).await;
            assert_says(&verdict, Outcome::Up, "GET /: 200 OK, and the body (");
        }
    }
}

fn through_proxy(url: &str, receive: Option<&str>) -> HttpProbe {
    HttpProbe { proxy: true, host: None, ..get(url, receive) }
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_whole_url() {
    for loopback in LOOPBACKS {
        let proxy = Server::answering(loopback, |request| {
            match request.starts_with("GET http://u.example:8080/a%20b?c") {
                true => b"HTTP/1.1 302 Found\r\nLocation: http://v.example/d\r\n\r\n".to_vec(),
                false => ok("fetched"),
            }
        })
        .await;
        let target = proxy.address;
        let http = through_proxy("http://me:secret@u.example:8080/a b?c", Some("fetched"));
        let verdict = run(&probe(target, PATIENCE, ProbeAction::Http(http.clone()))).await;
        // The redirect is requested through the proxy as well, so no name is resolved.
        let words = format!(
            "GET http://v.example/d through the proxy {target} (after 1 redirect, by another host): 200 OK, and"
        );
        assert_says(&verdict, Outcome::Up, &words);
        let requests = proxy.requests.lock().unwrap().clone();
        assert!(
            requests[0].starts_with("GET http://u.example:8080/a%20b?c HTTP/1.1\r\nHost: u.example:8080\r\n"),
            "{requests:?}"
        );
        assert!(
            requests[1].starts_with("GET http://v.example/d HTTP/1.1\r\nHost: v.example\r\n"),
            "{requests:?}"
        );
        let sentence = probe(target, PATIENCE, ProbeAction::Http(http)).to_string();
        assert_eq!(
            sentence,
            format!("GET http://u.example:8080/a b?c through the proxy {target}, expecting /fetched/")
        );
    }
}

/// The `Authorization` lines of a request.
fn who_asks(request: &str) -> Vec<&str> {
    request.lines().filter(|line| line.to_ascii_lowercase().starts_with("authorization:")).collect()
}

#[tokio::test]
async fn the_user_and_the_password_of_a_url_are_sent() {
    const MON_PW: &str = "authorization: basic bw9uonb3";
    for loopback in LOOPBACKS {
        let server = Server::answering(loopback, |request| match request.split(' ').nth(1) {
            Some("/moved") => b"HTTP/1.1 302 Found\r\nLocation: next\r\n\r\n".to_vec(),
            Some("/next") => format!(
                "HTTP/1.1 302 Found\r\nLocation: http://{}/\r\n\r\n",
                request.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default()
            )
            .into_bytes(),
            _ => ok("fine"),
        })
        .await;
        let target = server.address;
        let urls = [
            get(&format!("http://mon:p%77@{target}/moved"), Some("fine")),
            through_proxy("http://mon:p%77@www/", Some("fine")),
            get("/", Some("fine")),
        ]
        .map(|http| HttpProbe { host: None, ..http });
        for http in urls {
            let verdict = run(&probe(target, PATIENCE, ProbeAction::Http(http))).await;
            assert_says(&verdict, Outcome::Up, "200 OK");
            assert!(!verdict.reason.contains("mon") && !verdict.reason.contains("p%77"), "{verdict:?}");
        }
        let requests = server.requests.lock().unwrap().clone();
        let asked: Vec<Option<String>> = requests
            .iter()
            .map(|request| who_asks(request).first().map(|line| line.to_lowercase()))
            .collect();
        // The second location is relative to the first; the third is an absolute URL.
        let sent = [Some(MON_PW), Some(MON_PW), None, Some(MON_PW), None];
        assert_eq!(asked.iter().map(Option::as_deref).collect::<Vec<_>>(), sent, "{requests:?}");
        assert!(requests[3].starts_with("GET http://www/ "), "{requests:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_and_urls_that_are_none() {
    let reply = b"HTTP/1.1 502 Bad Gateway\r\n\r\n";
    let verdict = against(reply, through_proxy("http://u.example/x", None)).await;
    assert_says(&verdict, Outcome::Down, "GET http://u.example/x through the proxy 127.0.0.1:");
    assert_says(&verdict, Outcome::Down, ": 502 Bad Gateway");
    for (url, words) in [
        ("", "GET: \"\" is not an absolute URL"),
        ("/x", "GET: \"/x\" is not an absolute URL"),
        ("ftp://me:secret@u/x", "ftp://u/x has the unsupported scheme ftp"),
        ("http://me:secret@:80/x", "http://:80/x has no valid host and port"),
    ] {
        let verdict = against(reply, through_proxy(url, None)).await;
        assert_says(&verdict, Outcome::Down, words);
        assert!(!verdict.reason.contains("secret"), "{verdict:?}");
    }
    // HTTPS does not use the proxy, as in the original. No server listens at that address.
    let (_held, nobody) = nobody(LOOPBACKS[0]);
    let verdict = against(reply, through_proxy(&format!("https://{nobody}/"), None)).await;
    assert_says(&verdict, Outcome::Down, &format!("connect to {nobody}: connection refused"));
}

#[tokio::test]
async fn redirects_are_followed_seven_times() {
    let server =
        Server::answering(LOOPBACKS[0], |_| b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n".to_vec()).await;
    let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Http(get("/", None)))).await;
    assert_says(&verdict, Outcome::Down, "(after 7 redirects): 302 Found, more than 7 redirects");
    assert_eq!(server.requests.lock().unwrap().len(), 8);
}

#[tokio::test]
async fn a_redirect_may_lead_to_a_name() {
    let server = Server::answering(LOOPBACKS[0], |request| match request.split(' ').nth(1) {
        Some("/here") => ok("fine"),
        _ => {
            let host = request.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
            let host = host.replace("127.0.0.1", "localhost");
            format!("HTTP/1.1 302 Found\r\nLocation: http://{host}/here\r\n\r\n").into_bytes()
        }
    })
    .await;
    let target = server.address;
    let http = HttpProbe { host: Some(target.to_string()), ..get("/", Some("fine")) };
    let verdict = run(&probe(target, PATIENCE, ProbeAction::Http(http))).await;
    assert_says(
        &verdict,
        Outcome::Up,
        &format!("GET http://localhost:{}/here (after 1 redirect)", target.port()),
    );
}

/// R85
#[tokio::test]
async fn b4_a_verdict_is_small_after_a_large_body() {
    let body = vec![0xff; 1024 * 1024];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let verdict = against(&[head.as_bytes(), &body].concat(), get("/", Some("fine"))).await;
    assert_says(&verdict, Outcome::Down, "does not match /fine/");
    let monitor = verdict.monitor.unwrap();
    assert!(monitor.starts_with('\u{fffd}'), "{monitor}");
    let kept = verdict.reason.capacity() + monitor.capacity();
    assert!(kept < 2048, "{kept} bytes are kept");
}

#[tokio::test]
async fn b4_a_verdict_is_small_after_a_long_redirect() {
    let location = format!("http://127.0.0.1:1/{}", "x".repeat(60_000));
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n");
    let verdict = against(answer.as_bytes(), get("/", Some("fine"))).await;
    assert_says(&verdict, Outcome::Down, "connection refused");
    let monitor = verdict.monitor.as_ref().map_or(0, String::capacity);
    let kept = verdict.reason.capacity() + monitor;
    assert!(kept < 8192, "{kept} bytes are kept: {:?}", &verdict.reason[..200]);
}

#[tokio::test]
async fn a9_chunks_of_http_1_0_are_read_as_in_the_original() {
    let answer = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n";
    assert_says(&against(answer, get("/", Some("^fine$"))).await, Outcome::Up, "the body (4 bytes) matches");
}

/// R80
#[tokio::test]
async fn a9_a_chunk_size_that_ends_with_a_line_feed_is_refused() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\nfine\r\n0\n\r\n";
    let verdict = against(answer, get("/", Some("fine"))).await;
    assert_says(&verdict, Outcome::Down, "chunk size line");
}
