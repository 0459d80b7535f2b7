//! Misbehaving servers, each with every protocol that can meet one: the verdict comes by the deadline (B14) and
//! names the cause.

use std::future::pending;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::servers::{Server, read_request, reset};
use super::*;
use crate::spec::{SimpleTcpProbe, SqlProbe};

/// The most time after its deadline that a verdict may come.
const PROMISE: Duration = Duration::from_millis(100);

/// The protocols that can meet a misbehaving server.
#[derive(Clone, Copy, Debug)]
enum Protocol {
    Http,
    Https,
    Proxy,
    Lines,
    /// A dialogue in which the server sends first.
    Smtp,
}

const ALL: [Protocol; 5] =
    [Protocol::Http, Protocol::Https, Protocol::Proxy, Protocol::Lines, Protocol::Smtp];

impl Protocol {
    fn probe(self, target: SocketAddr, receive: Option<&str>) -> Probe {
        let http = |request: &str| get(request, receive);
        let action = match self {
            Protocol::Http => ProbeAction::Http(http("/status")),
            Protocol::Https => ProbeAction::Http(HttpProbe { scheme: Scheme::Https, ..http("/status") }),
            Protocol::Proxy => {
                let http = http("http://www.example.net/status");
                ProbeAction::Http(HttpProbe { proxy: true, host: None, ..http })
            }
            Protocol::Lines => {
                let (request, receive) = ("status\n".to_owned(), http("").receive);
                ProbeAction::SimpleTcp(SimpleTcpProbe { request, receive, udp: false })
            }
            Protocol::Smtp => ProbeAction::Dialogue(dialogue_with(Dialogue::Smtp)),
        };
        probe(target, IMPATIENCE, action)
    }
}

/// Runs a probe. Repeats it if it is late: once may be the machine's fault, every time is ours.
async fn punctual(probe: &Probe) -> Verdict {
    let mut verdict = run(probe).await;
    for _ in 0..3 {
        if verdict.took <= probe.deadline + PROMISE {
            return verdict;
        }
        verdict = run(probe).await;
    }
    panic!("{probe}: late every time: {verdict:?}");
}

/// Runs every protocol against the same server behaviour. The reason must contain one of the expected texts (`|`).
async fn all_meet<F, W>(serve: F, expected: &[(Protocol, &str)])
where
    F: Fn(TcpStream) -> W + Clone + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    assert_eq!(expected.len(), ALL.len());
    for loopback in LOOPBACKS {
        let server = Server::start(loopback, serve.clone()).await;
        for (protocol, words) in expected {
            let verdict = punctual(&protocol.probe(server.address, Some("well"))).await;
            assert_eq!(verdict.outcome, Outcome::Down, "{protocol:?}: {verdict:?}");
            let said = words.split('|').any(|words| verdict.reason.contains(words));
            assert!(said, "{protocol:?}: {words:?} is missing in {verdict:?}");
            let who = server.address.to_string();
            assert!(verdict.reason.contains(&who) || verdict.reason.contains("status"), "{verdict:?}");
        }
    }
}

#[tokio::test]
async fn garbage() {
    let serve = |mut stream: TcpStream| async move {
        let noise: Vec<u8> =
            (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
        let mut request = [0; 1024];
        drop(stream.read(&mut request).await);
        drop(stream.write_all(&noise).await);
        // Read to the end, so that closing does not reset the connection.
        while stream.read(&mut request).await.is_ok_and(|length| length > 0) {}
    };
    let expected = [
        (Protocol::Http, "the answer is not HTTP; it begins with \"\\x"),
        (Protocol::Https, "TLS handshake: the server does not speak TLS on this port"),
        (Protocol::Proxy, "the answer is not HTTP; it begins with \"\\x"),
        (Protocol::Lines, "matches /well/; it begins with"),
        (Protocol::Smtp, "waiting for the greeting)"),
    ];
    all_meet(serve, &expected).await;
}

#[tokio::test]
async fn one_byte_a_second() {
    let serve = |mut stream: TcpStream| async move {
        for byte in b"HTTP/1.1 200 OK\r\n\r\nwell".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    let expected = [
        (Protocol::Http, "1 byte received, waiting for the status line)"),
        (Protocol::Https, "in the TLS handshake)|TLS handshake: the server does not speak TLS"),
        (Protocol::Proxy, "1 byte received, waiting for the status line)"),
        (Protocol::Lines, "1 byte received, no line end: \"H\")"),
        (Protocol::Smtp, "1 byte received, waiting for the greeting)"),
    ];
    all_meet(serve, &expected).await;
}

#[tokio::test]
async fn an_endless_line() {
    let serve = |mut stream: TcpStream| async move {
        drop(stream.write_all(b"HTTP/1.1 200 ").await);
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    };
    let expected = [
        (Protocol::Http, "the headers exceed 65536 bytes"),
        (Protocol::Https, "TLS handshake: the server does not speak TLS on this port"),
        (Protocol::Proxy, "the headers exceed 65536 bytes"),
        (Protocol::Lines, "at most 65,536 bytes of a line are read"),
        (Protocol::Smtp, "has a line of more than 16,384 bytes"),
    ];
    all_meet(serve, &expected).await;
}

#[tokio::test]
async fn endless_lines() {
    let serve = |mut stream: TcpStream| async move {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n").await);
        while stream.write_all(&b"x: y\r\n".repeat(1000)).await.is_ok() {}
    };
    let expected = [
        (Protocol::Http, "the headers exceed 65536 bytes"),
        (Protocol::Https, "TLS handshake: the server does not speak TLS on this port"),
        (Protocol::Proxy, "the headers exceed 65536 bytes"),
        // An unoptimized build may not finish a megabyte of lines in time.
        (Protocol::Lines, "at most 1,048,576 bytes are read|bytes received in "),
        (Protocol::Smtp, "the greeting is not a numbered reply: \"HTTP/1.1 200 OK\""),
    ];
    all_meet(serve, &expected).await;
}

#[tokio::test]
async fn a_reset_in_the_middle() {
    let serve = |mut stream: TcpStream| async move {
        drop(stream.read(&mut [0; 1024]).await);
        drop(stream.write_all(b"HTTP/1.1 20").await);
        reset(stream);
    };
    let expected = [
        (Protocol::Http, "connection reset by peer"),
        (Protocol::Https, "TLS handshake: "),
        (Protocol::Proxy, "connection reset by peer"),
        (Protocol::Lines, "it begins with \"HTTP/1.1 20\"; connection reset by peer"),
        (Protocol::Smtp, "waiting for the greeting)"),
    ];
    all_meet(serve, &expected).await;
}

#[tokio::test]
async fn silence() {
    let serve = |mut stream: TcpStream| async move {
        while stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {}
        pending::<()>().await;
    };
    let expected = [
        (Protocol::Http, "request sent, waiting for the status line)"),
        (Protocol::Https, "in the TLS handshake)"),
        (Protocol::Proxy, "request sent, waiting for the status line)"),
        (Protocol::Lines, "request sent, nothing received)"),
        (Protocol::Smtp, "waiting for the greeting)"),
    ];
    all_meet(serve, &expected).await;
}

#[tokio::test]
async fn closing_at_once() {
    let serve = |stream: TcpStream| async move { drop(stream) };
    // An end or a reset, depending on whether the request was already sent.
    let words = "closed the connection|connection reset by peer|broken pipe|not connected";
    all_meet(serve, &ALL.map(|protocol| (protocol, words))).await;
    let serve = |stream: TcpStream| async move { reset(stream) };
    all_meet(serve, &ALL.map(|protocol| (protocol, words))).await;
}

#[tokio::test]
async fn half_a_tls_record() {
    const HALF: [u8; 9] = [0x16, 3, 3, 0x10, 0, 2, 0, 0, 0x50];
    for (stays, words) in
        [(true, "in the TLS handshake)"), (false, "the server closed the connection in the TLS handshake")]
    {
        for loopback in LOOPBACKS {
            let server = Server::start(loopback, move |mut stream| async move {
                drop(stream.read(&mut [0; 4096]).await);
                drop(stream.write_all(&HALF).await);
                if stays {
                    pending::<()>().await;
                }
            })
            .await;
            let verdict = punctual(&Protocol::Https.probe(server.address, None)).await;
            assert_says(&verdict, Outcome::Down, words);
        }
    }
    // The same after a complete handshake, in place of the answer.
    let server = Server::tls(LOOPBACKS[0], |mut stream| async move {
        read_request(&mut stream).await;
        let raw = stream.get_mut().0;
        drop(raw.write_all(&[0x17, 3, 3, 0x10, 0, 1, 2, 3]).await);
        pending::<()>().await;
    })
    .await;
    let verdict = punctual(&Protocol::Https.probe(server.address, None)).await;
    assert_says(&verdict, Outcome::Down, "request sent, waiting for the status line)");
}

/// R39
#[tokio::test]
async fn a_body_beyond_the_limit() {
    let server = Server::start(LOOPBACKS[0], |mut stream| async move {
        read_request(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nI am well.").await);
        while stream.write_all(&[b'a'; 65536]).await.is_ok() {}
    })
    .await;
    let mut probe = Protocol::Http.probe(server.address, Some("^I am well"));
    probe.deadline = PATIENCE;
    let cut = "the first 1,048,576 bytes of the body";
    assert_says(&punctual(&probe).await, Outcome::Up, &format!("{cut} matches /^I am well/"));
    let mut probe = Protocol::Http.probe(server.address, Some("^I am ill"));
    probe.deadline = PATIENCE;
    assert_says(&punctual(&probe).await, Outcome::Down, &format!("{cut} does not match /^I am ill/"));
}

/// A partial answer is judged, as in the original. The reason states that it is partial.
#[tokio::test]
async fn a_body_shorter_than_announced() {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nI am well.";
    let closing = Server::answering(LOOPBACKS[0], |_| ANSWER.to_vec()).await;
    let resetting = Server::start(LOOPBACKS[1], |mut stream| async move {
        read_request(&mut stream).await;
        drop(stream.write_all(ANSWER).await);
        reset(stream);
    })
    .await;
    for (server, how) in
        [(&closing, "the server closed the connection after "), (&resetting, "connection reset by peer")]
    {
        let verdict = punctual(&Protocol::Http.probe(server.address, Some("well"))).await;
        assert_says(&verdict, Outcome::Up, &format!("the body (10 bytes, then {how}"));
        let verdict = punctual(&Protocol::Http.probe(server.address, Some("^ill"))).await;
        assert_says(&verdict, Outcome::Down, &format!("the body (10 bytes, then {how}"));
    }
    let staying = Server::start(LOOPBACKS[0], |mut stream| async move {
        read_request(&mut stream).await;
        drop(stream.write_all(ANSWER).await);
        pending::<()>().await;
    })
    .await;
    let verdict = punctual(&Protocol::Http.probe(staying.address, Some("well"))).await;
    assert_says(&verdict, Outcome::Up, "the body (10 bytes, incomplete after 200 ms) matches /well/");
}

/// Encryption with a large key would block the runtime's thread.
#[tokio::test]
async fn a_mysql_with_an_enormous_key() {
    let server = Server::start(LOOPBACKS[0], |mut stream| async move {
        drop(stream.write_all(starttls::MYSQL_WITHOUT_TLS).await);
        let key = [&[1][..], &[b'k'; 100_000]].concat();
        for (number, packet) in [(2, &[1, 4][..]), (4, &key)] {
            let _ = stream.read(&mut [0; 1024]).await;
            let [low, middle, high, ..] = u32::try_from(packet.len()).unwrap().to_le_bytes();
            drop(stream.write_all(&[&[low, middle, high, number], packet].concat()).await);
        }
        pending::<()>().await;
    })
    .await;
    let sql = SqlProbe { starttls: false, ..starttls::sql(Tls::default()) };
    let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Mysql(sql))).await;
    assert_says(&verdict, Outcome::Down, "the server's RSA key has 100000 bytes, at most 1024 are accepted");
}

#[tokio::test]
async fn a_pgsql_without_an_end() {
    let server = Server::start(LOOPBACKS[0], |mut stream| async move {
        drop(stream.write_all(b"N").await);
        while stream.write_all(&[b'a'; 65536]).await.is_ok() {}
    })
    .await;
    let sql = SqlProbe { starttls: false, ..starttls::sql(Tls::default()) };
    let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Pgsql(sql))).await;
    assert_says(&verdict, Outcome::Down, "the server sends more than the check reads");
}
