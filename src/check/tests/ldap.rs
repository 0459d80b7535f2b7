//! A directory of the test's own, and what becomes of the checks of it.

use super::servers::Server;
use super::*;
use crate::plan::LdapProbe;

fn search() -> Action {
    Action::Ldap(LdapProbe {
        transport: Transport::Plain,
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
        let verdict = run(&probe(server.address, IMPATIENCE, search())).await;
        assert_says(&verdict, Outcome::Down, "waiting for the answer to Bind)");
        assert_eq!(verdict.monitor.as_deref(), Some("No answer received"));
    }
}
