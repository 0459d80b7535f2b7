//! Checks of a fake directory server.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::authority::Authority;
use super::servers::Server;
use super::*;
use crate::spec::LdapProbe;

fn search(transport: Transport) -> ProbeAction {
    ProbeAction::Ldap(LdapProbe {
        transport,
        login: String::new(),
        passwd: Secret::default(),
        base: "dc=x".to_owned(),
        receive: None,
    })
}

/// The monitor file has the original's words.
#[tokio::test]
async fn a_silent_directory_is_down() {
    for loopback in LOOPBACKS {
        let server = Server::silent(loopback).await;
        let verdict = run(&probe(server.address, IMPATIENCE, search(Transport::Plain))).await;
        assert_says(&verdict, Outcome::Down, "waiting for the answer to Bind)");
        assert_eq!(verdict.monitor.as_deref(), Some("No answer received"));
    }
}

/// As in the original's library, an alias is resolved to its object.
#[tokio::test]
async fn an_object_is_searched_for() {
    const BOUND: &[u8] = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
    const FOUND: &[u8] = b"\x30\x0d\x02\x01\x02\x64\x08\x04\x04dc=x\x30\x00\
        \x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    // Scope base object (0); aliases are dereferenced to find it (2).
    const ASKED: &[u8] = b"\x04\x04dc=x\x0a\x01\x00\x0a\x01\x02";
    for loopback in LOOPBACKS {
        let server = Server::start(loopback, |mut stream| async move {
            let mut request = [0; 1024];
            drop(stream.read(&mut request).await);
            drop(stream.write_all(BOUND).await);
            let length = stream.read(&mut request).await.unwrap_or(0);
            if request[..length].windows(ASKED.len()).any(|bytes| bytes == ASKED) {
                drop(stream.write_all(FOUND).await);
            }
            drop(stream.read(&mut request).await);
        })
        .await;
        let verdict = run(&probe(server.address, PATIENCE, search(Transport::Plain))).await;
        assert_says(&verdict, Outcome::Up, "found \"dc=x\"");
    }
}

/// The reasons distinguish non-LDAP answers, a closed connection, and TLS errors.
#[tokio::test]
async fn a_reason_names_what_broke() {
    let own = Authority::new("own");
    for loopback in LOOPBACKS {
        let ask = async |server: &Server, transport, words: &str| {
            let verdict = run(&probe(server.address, PATIENCE, search(transport))).await;
            assert_says(&verdict, Outcome::Down, words);
            assert_eq!(verdict.monitor.as_deref(), Some("Bind failed"));
        };
        let noise = Server::start(loopback, |mut stream| async move {
            drop(stream.read(&mut [0; 1024]).await);
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        })
        .await;
        ask(&noise, Transport::Plain, "Bind: the answer is not LDAP").await;
        let gone = Server::start(loopback, |mut stream| async move {
            drop(stream.read(&mut [0; 1024]).await);
        })
        .await;
        ask(&gone, Transport::Plain, "Bind: the server closed the connection").await;
        // Without close_notify.
        let gone = Server::tls(loopback, |mut stream| async move {
            drop(stream.read(&mut [0; 1024]).await);
        })
        .await;
        ask(&gone, Transport::Tls(Tls::default()), "Bind: the server closed the connection").await;
        let strict = Server::tls_by(loopback, own.good().acceptor(Some(&own)), |_| async {}).await;
        let words = "Bind: the server demands a client certificate: set tlscert and tlskey";
        ask(&strict, Transport::Tls(Tls::default()), words).await;
    }
}
