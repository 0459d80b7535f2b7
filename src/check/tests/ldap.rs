//! A directory of the test's own, and what becomes of the checks of it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::authority::Authority;
use super::servers::Server;
use super::*;
use crate::plan::LdapProbe;

fn search(transport: Transport) -> Action {
    Action::Ldap(LdapProbe {
        transport,
        login: String::new(),
        passwd: Secret::default(),
        base: "dc=x".to_owned(),
        receive: None,
    })
}

/// The monitor file has the original's word.
#[tokio::test]
async fn a_silent_directory_is_down() {
    for loopback in LOOPBACKS {
        let server = Server::silent(loopback).await;
        let verdict = run(&probe(server.address, IMPATIENCE, search(Transport::Plain))).await;
        assert_says(&verdict, Outcome::Down, "waiting for the answer to Bind)");
        assert_eq!(verdict.monitor.as_deref(), Some("No answer received"));
    }
}

/// What is no LDAP, what is the end, and what the TLS library has to say are told apart.
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
        // Without a farewell of TLS.
        let gone = Server::tls(loopback, |mut stream| async move {
            drop(stream.read(&mut [0; 1024]).await);
        })
        .await;
        ask(&gone, Transport::Tls(Tls::default()), "Bind: the server closed the connection").await;
        let strict = Server::tls_by(loopback, own.good().acceptor(Some(&own)), |_| async {}).await;
        let words = "Bind: the server demands a client certificate: give tlscert and tlskey";
        ask(&strict, Transport::Tls(Tls::default()), words).await;
    }
}
