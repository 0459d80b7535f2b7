//! Fake Oracle listeners: the part of Oracle Net that a check needs.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::servers::Server;
use super::*;
use crate::spec::SqlProbe;
use crate::value::Tls;

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + body.len()).unwrap().to_be_bytes();
    [&[length[0], length[1], 0, 0, kind, 0, 0, 0], body].concat()
}

fn refusal(number: u32) -> Vec<u8> {
    let text = format!("(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR={number})(ALIAS=LISTENER))");
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    packet(4, &[&[34, 0, length[0], length[1]], text.as_bytes()].concat())
}

/// Reads one complete CONNECT, verifies its length and fields, and returns its connect data.
async fn connect(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let length = stream.read_u16().await.ok()?;
    let mut rest = vec![0; usize::from(length) - 2];
    stream.read_exact(&mut rest).await.ok()?;
    assert_eq!(rest[2], 1, "the type");
    let data = usize::from(u16::from_be_bytes([rest[22], rest[23]]));
    let place = usize::from(u16::from_be_bytes([rest[24], rest[25]])) - 2;
    assert_eq!((place, data), (56, rest.len() - 56), "place and length of the data");
    Some(String::from_utf8(rest[place..].to_vec()).unwrap())
}

/// Knows the SID `XE` and the service `pdb1`, requests the first packet again, and has no free process for `full`.
async fn listener(loopback: &str) -> Server {
    Server::start(loopback, |mut stream| async move {
        let Some(asked) = connect(&mut stream).await else { return };
        stream.write_all(&packet(11, &[])).await.unwrap();
        assert_eq!(connect(&mut stream).await.as_ref(), Some(&asked));
        let of = |word: &str| asked.contains(&format!("(CONNECT_DATA=({word})"));
        let answer = if of("SID=XE") {
            packet(2, &[0; 24])
        } else if of("SERVICE_NAME=pdb1") {
            packet(5, b"\x00\x03abc")
        } else if of("SID=full") {
            refusal(12519)
        } else if of("SID=odd") {
            refusal(99)
        } else if of("COMMAND=ping") {
            refusal(0)
        } else if asked.contains("SID=") {
            refusal(12505)
        } else {
            refusal(12514)
        };
        stream.write_all(&answer).await.unwrap();
    })
    .await
}

fn query(login: &str, database: &str) -> ProbeAction {
    ProbeAction::Oracle(SqlProbe {
        login: login.to_owned(),
        passwd: Secret::new("word"),
        database: database.to_owned(),
        query: "SELECT 1 FROM dual".to_owned(),
        starttls: false,
        tls: Tls::default(),
    })
}

#[tokio::test]
async fn a_listener_is_asked_for_the_database() {
    use Outcome::{Down, Up};
    for loopback in LOOPBACKS {
        let server = listener(loopback).await;
        for (login, database, outcome, words) in [
            ("scott", "XE", Up, "/XE: the listener accepts; login not checked"),
            ("scott", "pdb1", Up, "/pdb1: the listener accepts, and redirects clients"),
            ("scott", "", Up, ": the listener answers"),
            (
                "scott",
                "gone",
                Down,
                "the listener refuses: ORA-12514: neither a SID nor a service of this name",
            ),
            ("scott", "full", Down, "ORA-12519: no server process is left"),
            ("scott", "odd", Down, "ORA-00099: \"(DESCRIPTION="),
            ("", "XE", Down, "login and request"),
        ] {
            assert_says(&run(&probe(server.address, PATIENCE, query(login, database))).await, outcome, words);
        }
    }
}

#[tokio::test]
async fn what_is_no_listener_is_down() {
    for (answer, words) in [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            "the answer is not Oracle Net; it begins with \"HTTP/1.1\"",
        ),
        (packet(6, b"data"), "the answer to CONNECT has the unexpected type 6"),
        (packet(11, b"").repeat(9), "requests CONNECT again more than 3 times"),
        (Vec::new(), "closed the connection instead of answering"),
        (vec![0, 99, 0, 0, 2, 0, 0, 0, 1], "closed the connection instead of answering"),
    ] {
        let server = Server::start("127.0.0.1:0", move |mut stream| {
            let answer = answer.clone();
            async move {
                stream.write_all(&answer).await.unwrap();
                stream.shutdown().await.unwrap();
                let mut buffer = [0; 1024];
                while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
            }
        })
        .await;
        assert_says(&run(&probe(server.address, PATIENCE, query("scott", "XE"))).await, Outcome::Down, words);
    }
    let silent = Server::start("127.0.0.1:0", |stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let verdict = run(&probe(silent.address, IMPATIENCE, query("scott", "XE"))).await;
    assert_says(&verdict, Outcome::Down, "waiting for the listener");
}
