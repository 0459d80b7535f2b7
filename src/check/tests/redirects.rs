//! Redirects: names that cannot be resolved, other hosts, and the limits that `redirects` sets.

use std::net::IpAddr;
use std::path::Path;

use super::servers::Server;
use super::*;
use crate::net::lookup::Lookups;
use crate::net::resolve::ResolveError;
use crate::value::UnknownCause;

/// A server that redirects `/` to a location, and answers all other requests with a page.
async fn redirecting(bind: &str, location: &'static str) -> Server {
    Server::answering(bind, move |request| match request.split(' ').nth(1) {
        Some("/") => format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n").into_bytes(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine".to_vec(),
    })
    .await
}

/// A checker whose resolver knows three names.
fn checker() -> Checker {
    let ask = |name: &str| match name {
        "missing.example" => Err(ResolveError::NotFound(name.to_owned())),
        "silent.example" => {
            std::thread::sleep(Duration::from_secs(2));
            Err(ResolveError::NotFound(name.to_owned()))
        }
        _ => Err(ResolveError::Failed { name: name.to_owned(), cause: "try again".to_owned() }),
    };
    let lookups = Lookups::new(Box::new(ask), Path::new("/nonexistent/hosts"));
    Checker { lookups, ..Checker::new().unwrap() }
}

/// R77
#[tokio::test]
async fn a3_a_failed_resolver_is_not_the_servers_fault() {
    let missing = redirecting(LOOPBACKS[0], "http://missing.example/x").await;
    let failed = redirecting(LOOPBACKS[0], "http://failed.example/x").await;
    let silent = redirecting(LOOPBACKS[0], "http://silent.example/x").await;
    let check = async |server: &Server, deadline| {
        checker().run(&probe(server.address, deadline, ProbeAction::Http(get("/", None)))).await
    };
    let verdict = check(&missing, PATIENCE).await;
    assert_says(&verdict, Outcome::Down, "no such name: missing.example");
    let verdict = check(&failed, PATIENCE).await;
    let unknown = Outcome::Unknown(UnknownCause::Resolver);
    assert_says(&verdict, unknown, "cannot resolve failed.example: try again");
    let verdict = check(&silent, IMPATIENCE).await;
    assert_says(&verdict, unknown, "resolve silent.example: no answer within 200 ms");
}

#[tokio::test]
async fn a3_the_last_good_answer_is_used_and_said() {
    let gone = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let own = Arc::clone(&gone);
    let ask = move |name: &str| match own.load(std::sync::atomic::Ordering::Relaxed) {
        false => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
        true => Err(ResolveError::NotFound(name.to_owned())),
    };
    let lookups = Lookups::new(Box::new(ask), Path::new("/nonexistent/hosts"));
    let checker = Checker { lookups, ..Checker::new().unwrap() };
    let server = Server::answering(LOOPBACKS[0], |request| {
        let port = request.lines().find_map(|line| line.strip_prefix("Host: 127.0.0.1:"));
        match (request.split(' ').nth(1), port) {
            (Some("/"), Some(port)) => {
                format!("HTTP/1.1 302 Found\r\nLocation: http://web.example:{port}/x\r\n\r\n").into_bytes()
            }
            _ => b"HTTP/1.1 200 OK\r\n\r\nfine".to_vec(),
        }
    })
    .await;
    let http = HttpProbe { host: Some(server.address.to_string()), ..get("/", Some("fine")) };
    let check = probe(server.address, PATIENCE, ProbeAction::Http(http));
    assert_eq!(checker.run(&check).await.warning, None);
    gone.store(true, std::sync::atomic::Ordering::Relaxed);
    let words = "the resolver reports that web.example does not exist; using its last answer, less than 5 minutes old";
    assert_says(&checker.run(&check).await, Outcome::Up, words);
}

#[tokio::test]
async fn c4_redirects_to_another_host_are_said() {
    let other = Server::answering("127.0.0.2:0", |_| b"HTTP/1.1 200 OK\r\n\r\nfine".to_vec()).await;
    let location: &'static str = Box::leak(format!("http://{}/y", other.address).into_boxed_str());
    let away = redirecting(LOOPBACKS[0], location).await;
    let home = redirecting(LOOPBACKS[0], "/y").await;
    let named = redirecting(LOOPBACKS[0], "http://www.example.net/y").await;
    let check = async |server: &Server, redirects| {
        let http = HttpProbe { redirects, ..get("/", Some("fine")) };
        run(&probe(server.address, PATIENCE, ProbeAction::Http(http))).await
    };
    let verdict = check(&away, Redirects::Any).await;
    assert_says(&verdict, Outcome::Up, "/y (after 1 redirect, by another host): 200 OK");
    let verdict = check(&home, Redirects::Any).await;
    assert_says(&verdict, Outcome::Up, "/y (after 1 redirect): 200 OK");
    let verdict = check(&away, Redirects::SameHost).await;
    let words = format!("302 Found to {location}, not followed (redirects=same-host)");
    assert_says(&verdict, Outcome::Down, &words);
    let verdict = check(&home, Redirects::SameHost).await;
    assert_says(&verdict, Outcome::Up, "/y (after 1 redirect): 200 OK");
    // The name in the Host header means this server, at the port of the URL.
    let verdict = check(&named, Redirects::SameHost).await;
    assert!(!verdict.reason.contains("resolve"), "{verdict:?}");
    assert!(verdict.reason.contains("127.0.0.1:80"), "{verdict:?}");
    for server in [&away, &home] {
        let verdict = check(server, Redirects::No).await;
        assert_says(&verdict, Outcome::Down, "GET /: 302 Found, not followed (redirects=no)");
        assert_eq!(verdict.monitor.as_deref(), Some("302 Found"));
    }
}
