//! TLS: verification of certificates, client certificates, and warnings.

use std::time::SystemTime;

use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::authority::{Authority, Certificate, DAY, NAME};
use super::servers::{Server, read_request};
use super::*;
use crate::value::{ClientIdentity, Phase, Roots, TlsPolicy};

/// A web server whose page contains the requested server name.
async fn web(acceptor: TlsAcceptor) -> Server {
    Server::tls_by(LOOPBACKS[0], acceptor, |mut stream| async move {
        read_request(&mut stream).await;
        let name = stream.get_ref().1.server_name().unwrap_or("no-name").to_owned();
        drop(stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\nasked for {name}").as_bytes()).await);
        drop(stream.shutdown().await);
    })
    .await
}

fn tls(verify: Option<Roots>, identity: Option<ClientIdentity>, name: Option<&str>) -> Tls {
    let policy = Arc::new(TlsPolicy { verify, identity, legacy: false });
    Tls { policy, server_name: name.map(str::to_owned), ..Tls::default() }
}

async fn ask(server: &Server, tls: Tls, receive: &str) -> Verdict {
    let http = HttpProbe { scheme: Scheme::Https, tls, ..get("/", Some(receive)) };
    run(&probe(server.address, PATIENCE, ProbeAction::Http(http))).await
}

#[tokio::test]
async fn a_certificate_is_believed_for_its_name_its_time_and_its_root() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let now = SystemTime::now();
    let self_signed = Certificate::signed_by_itself();
    let (expired, early) =
        (own.certificate(now - 9 * DAY, now - 2 * DAY), own.certificate(now + 2 * DAY, now + 99 * DAY));
    let good = own.good();
    let no_root = "the certificate is not signed by a trusted CA";
    for (certificate, roots, name, outcome, words) in [
        (&good, own.roots(), Some(NAME), Outcome::Up, "matches /asked for www.example.net/"),
        // The address of the server: no SNI is sent.
        (&good, own.roots(), None, Outcome::Up, "matches /asked for no-name/"),
        (&good, own.roots(), Some("127.0.0.1"), Outcome::Up, "matches /asked for no-name/"),
        (
            &good,
            own.roots(),
            Some("mail.example.net"),
            Outcome::Down,
            "not valid for name \"mail.example.net\"",
        ),
        (&good, own.roots(), Some("127.0.0.2"), Outcome::Down, "not valid for name \"127.0.0.2\""),
        (&good, other.roots(), Some(NAME), Outcome::Down, no_root),
        (&good, Roots::System, Some(NAME), Outcome::Down, " trusted CA "),
        (&expired, own.roots(), Some(NAME), Outcome::Down, "the certificate expired on 20"),
        (&early, own.roots(), Some(NAME), Outcome::Down, "the certificate is not valid before 20"),
        (&self_signed, own.roots(), Some(NAME), Outcome::Down, no_root),
        // A self-signed certificate in tlsca is accepted, but for its own names only.
        (&self_signed, self_signed.roots(), Some(NAME), Outcome::Up, "matches"),
        (&self_signed, self_signed.roots(), Some("mail.example.net"), Outcome::Down, "not valid for name"),
        // It must be within its validity as well.
        (&expired, expired.roots(), Some(NAME), Outcome::Down, "the certificate expired on 20"),
        (&early, early.roots(), Some(NAME), Outcome::Down, "the certificate is not valid before 20"),
    ] {
        let server = web(certificate.acceptor(None)).await;
        let sent = name.filter(|name| !name.starts_with("127")).unwrap_or("no-name");
        let verdict = ask(&server, tls(Some(roots), None, name), &format!("asked for {sent}")).await;
        assert_says(&verdict, outcome, words);
        // By default nothing is verified.
        let verdict = ask(&server, tls(None, None, name), &format!("asked for {sent}")).await;
        assert_says(&verdict, Outcome::Up, "matches");
    }
}

#[tokio::test]
async fn a_server_may_ask_who_asks() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let server = web(own.good().acceptor(Some(&own))).await;
    let verdict = ask(&server, tls(None, Some(own.good().identity()), None), "asked").await;
    assert_says(&verdict, Outcome::Up, "matches");
    let verdict = ask(&server, tls(None, None, None), "asked").await;
    assert_says(&verdict, Outcome::Down, "the server demands a client certificate: set tlscert and tlskey");
    let verdict = ask(&server, tls(None, Some(other.good().identity()), None), "asked").await;
    assert_says(&verdict, Outcome::Down, "the server rejects our client certificate");
}

#[tokio::test]
async fn the_end_of_a_certificate_is_warned_of_and_changes_nothing() {
    let own = Authority::new("own");
    let now = SystemTime::now();
    let hour = DAY / 24;
    for (end, warn_days, said) in [
        (now + 9 * DAY + hour, 14, Some("the certificate of CN=www.example.net expires in 9 days, on 20")),
        (now + 9 * DAY + hour, 9, None),
        (now + 9 * DAY + hour, 0, None),
        (now - 3 * DAY - hour, 14, Some("the certificate of CN=www.example.net expired 3 days ago, on 20")),
        (now + 99 * DAY, 14, None),
    ] {
        let server = web(own.certificate(now - 99 * DAY, end).acceptor(None)).await;
        let verdict = ask(&server, Tls { warn_days, ..Tls::default() }, "asked").await;
        assert_says(&verdict, Outcome::Up, "matches");
        assert_eq!(verdict.warning.is_some(), said.is_some(), "{verdict:?}");
        assert_says(&verdict, Outcome::Up, said.unwrap_or_default());
        // Also if the check fails.
        let verdict = ask(&server, Tls { warn_days, ..Tls::default() }, "nothing").await;
        assert_says(&verdict, Outcome::Down, said.unwrap_or_default());
    }
}

#[tokio::test]
async fn equal_policies_share_a_client_and_go_with_their_last_user() {
    let clients = super::super::clients::Clients::default();
    let own = Authority::new("own");
    let policy = || Arc::new(TlsPolicy { verify: Some(own.roots()), ..TlsPolicy::default() });
    let (one, equal) = (policy(), policy());
    clients.of(&one).unwrap();
    clients.of(&equal).unwrap();
    clients.of(&one).unwrap();
    assert_eq!(clients.count(), 2);
    drop((one, equal));
    clients.of(&Arc::default()).unwrap();
    assert_eq!(clients.count(), 1);
}

/// The phase in which a check ended, and when the certificate of its server expires.
#[tokio::test]
async fn phases_and_the_certificate_are_in_the_verdict() {
    let own = Authority::new("own");
    let now = SystemTime::now();
    let server = web(own.certificate(now - DAY, now + 9 * DAY).acceptor(None)).await;
    let verdict = ask(&server, tls(None, None, Some(NAME)), "asked").await;
    assert_eq!((verdict.outcome, verdict.phases.last()), (Outcome::Up, Phase::Answer), "{verdict:?}");
    let all: Duration = Phase::ALL.iter().map(|phase| verdict.phases.of(*phase)).sum();
    assert!(!verdict.phases.of(Phase::Tls).is_zero(), "{verdict:?}");
    assert!(all <= verdict.took && all + Duration::from_millis(50) > verdict.took, "{verdict:?}");
    let seconds = (now + 9 * DAY).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let expires = verdict.certificate_expires.unwrap().unsigned_abs();
    assert!(expires.abs_diff(seconds) <= 1, "{expires} {seconds}");

    let silent = Server::silent(LOOPBACKS[0]).await;
    let https = HttpProbe { scheme: Scheme::Https, ..get("/", None) };
    for (target, http, phase) in [
        ("127.0.0.1:1".parse().unwrap(), get("/", None), Phase::Connect),
        (silent.address, https, Phase::Tls),
        (silent.address, get("/", None), Phase::Answer),
    ] {
        let verdict = run(&probe(target, IMPATIENCE, ProbeAction::Http(http))).await;
        assert_eq!((verdict.outcome, verdict.phases.last()), (Outcome::Down, phase), "{verdict:?}");
        assert_eq!(verdict.certificate_expires, None);
        assert!(phase == Phase::Connect || verdict.phases.of(phase) > IMPATIENCE / 2, "{verdict:?}");
    }
}
