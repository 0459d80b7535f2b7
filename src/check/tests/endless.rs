//! Endless pages and files, malformed heads, and slow patterns: each is judged once.

use std::future::pending;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::servers::{Server, read_request};
use super::*;
use crate::spec::SimpleTcpProbe;
use crate::sys::cpu::thread_time;

/// A server that sends pieces, and then neither data nor an end.
async fn open_ended(pieces: &'static [&'static str]) -> Server {
    Server::start(LOOPBACKS[0], move |mut stream| async move {
        read_request(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
        for piece in pieces {
            drop(stream.write_all(piece.as_bytes()).await);
            sleep(Duration::from_millis(50)).await;
        }
        pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn a9_a_page_without_an_end_is_judged_at_the_deadline() {
    let server = open_ended(&["all is ", "well"]).await;
    let check = async |pattern| {
        run(&probe(server.address, IMPATIENCE, ProbeAction::Http(get("/", Some(pattern))))).await
    };
    let verdict = check("all is well").await;
    assert_says(&verdict, Outcome::Up, "200 OK, and the body (11 bytes, incomplete after 200 ms) matches");
    assert_eq!(verdict.monitor.as_deref(), Some("200 OK"));
    let verdict = check("ill").await;
    assert_says(
        &verdict,
        Outcome::Down,
        "but the body (11 bytes, incomplete after 200 ms) does not match /ill/",
    );
    assert_eq!(verdict.monitor.as_deref(), Some("all is well"));
}

#[tokio::test]
async fn a9_the_second_piece_of_a_page_counts() {
    let server = open_ended(&["all is well\n", "ERROR\n"]).await;
    let http = get("/", Some("^(?s)(?!.*ERROR)"));
    let verdict = run(&probe(server.address, IMPATIENCE, ProbeAction::Http(http))).await;
    assert_says(&verdict, Outcome::Down, "does not match");
}

#[tokio::test]
async fn a9_without_receive_the_status_decides() {
    let server = open_ended(&["for ever"]).await;
    let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Http(get("/", None)))).await;
    assert_says(&verdict, Outcome::Up, "GET /: 200 OK");
    assert!(verdict.took < Duration::from_secs(4), "{verdict:?}");
    let verdict = run(&probe(server.address, IMPATIENCE, ProbeAction::Http(get("/", None)))).await;
    assert_says(&verdict, Outcome::Up, "GET /: 200 OK");
}

/// As observed with the original's library.
#[tokio::test]
async fn a9_odd_heads_are_taken_as_in_the_original() {
    for (head, body) in [
        ("HTTP/1.1  200 OK\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1\t200  OK\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 2\r\n", "we"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4, 2\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n", "well"),
        ("HTTP/2 200 OK\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.10 200\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1 200 OK\nContent-Length: 4\n", "well"),
        ("HTTP/1.1 200 O\x1b[1mK\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1 200 O\0K\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1 200 O\rK\x7f\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nX\0Y: z\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nX: y\0z\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nX: y\rz\r\nContent-Length: 4\r\n", "well"),
        ("HTTP/1.1 200 OK\r\nX: \x1b\0z\r\nContent-Length: 4\r\n", "well"),
    ] {
        let answer = format!("{head}\r\nwell").into_bytes();
        let server = Server::answering(LOOPBACKS[0], move |_| answer.clone()).await;
        let http = get("/", Some(&format!("^{body}$")));
        let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Http(http))).await;
        assert_eq!(verdict.outcome, Outcome::Up, "{head:?}: {verdict:?}");
    }
}

#[tokio::test]
async fn a9_a_cut_line_is_said_to_be_cut() {
    let server = Server::start(LOOPBACKS[0], |mut stream| async move {
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    })
    .await;
    let simple = SimpleTcpProbe {
        request: "x".to_owned(),
        receive: Some(Pattern::parse("well").unwrap()),
        udp: false,
    };
    let verdict = run(&probe(server.address, PATIENCE, ProbeAction::SimpleTcp(simple))).await;
    assert_says(&verdict, Outcome::Down, "the answer was cut: at most 65,536 bytes of a line are read");
}

/// An endless file is judged like a page.
#[tokio::test]
async fn a9_a_file_without_an_end_is_judged_at_the_deadline() {
    let data = TcpListener::bind(LOOPBACKS[0]).await.unwrap();
    let port = data.local_addr().unwrap().port();
    let data = Arc::new(data);
    let server = Server::start(LOOPBACKS[0], move |mut stream| {
        let data = Arc::clone(&data);
        async move {
            drop(stream.write_all(b"220 hi\r\n").await);
            let (high, low) = (port / 256, port % 256);
            let passive = format!("227 passive (127,0,0,1,{high},{low})\r\n");
            for reply in ["331 x\r\n", "230 x\r\n", "200 x\r\n", &passive, "150 x\r\n"] {
                let _ = stream.read(&mut [0; 1024]).await;
                drop(stream.write_all(reply.as_bytes()).await);
            }
            let Ok((mut file, _)) = data.accept().await else { return };
            drop(file.write_all(b"all is well").await);
            pending::<()>().await;
        }
    })
    .await;
    for (pattern, outcome) in [("well$", Outcome::Up), ("ERROR", Outcome::Down)] {
        let dialogue = DialogueProbe {
            login: "joe".to_owned(),
            request: "/health".to_owned(),
            receive: Some(Pattern::parse(pattern).unwrap()),
            ..dialogue_with(Dialogue::Ftp)
        };
        let verdict = run(&probe(server.address, IMPATIENCE, ProbeAction::Dialogue(dialogue))).await;
        assert_says(&verdict, outcome, "the file (11 bytes, incomplete after 200 ms)");
    }
}

/// The verdict of a check, and the most CPU time that the loop's thread spent during the check without serving its
/// timers.
pub(super) async fn while_watched<T>(check: impl Future<Output = T>) -> (Duration, T) {
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let longest = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        loop {
            let before = thread_time();
            if timeout(Duration::from_millis(1), &mut stopped).await.is_ok() {
                return longest;
            }
            longest = longest.max(thread_time() - before);
        }
    });
    let result = check.await;
    drop(stop);
    (longest.await.unwrap(), result)
}

/// While the pattern runs, the loop's thread is free.
#[tokio::test]
async fn a11_a_dear_pattern_does_not_stop_the_loop() {
    let body = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'a'; 1_000_000], b"b"].concat();
    let server = Server::answering(LOOPBACKS[0], move |_| body.clone()).await;
    let http = get("/", Some("^(a+)+\\1$"));
    let check = probe(server.address, PATIENCE, ProbeAction::Http(http));
    let (longest, verdict) = while_watched(run(&check)).await;
    assert_says(&verdict, Outcome::Down, "the pattern needs too many steps on this text");
    assert!(longest < Duration::from_millis(500), "the loop's thread was busy for {longest:?}");
}

/// A server that sends a page in very small chunks costs much time, but timers are still served.
#[tokio::test]
async fn a11_a_page_in_small_chunks_does_not_stop_the_loop() {
    let chunks = b"1\r\nx\r\n".repeat(300_000);
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = [&head[..], &chunks, b"5\r\nfine\n\r\n0\r\n\r\n"].concat();
    let server = Server::answering(LOOPBACKS[0], move |_| answer.clone()).await;
    let check = probe(server.address, PATIENCE * 6, ProbeAction::Http(get("/", Some("fine$"))));
    let (longest, verdict) = while_watched(run(&check)).await;
    assert_says(&verdict, Outcome::Up, "the body (300,005 bytes) matches");
    assert!(longest < Duration::from_millis(250), "the loop's thread was busy for {longest:?}");
}
