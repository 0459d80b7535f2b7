//! nginx, tinyproxy and Squid.

use ldirectord_rs::value::Outcome;

use crate::asking::Case;
use crate::life::Life;
use crate::server::Server;

fn ask(service: &str, request: &str, receive: &str) -> String {
    format!("service={service}; request=\"{request}\"; receive=\"{receive}\"")
}

#[test]
fn nginx() {
    let mut all = Vec::new();
    let mut cases = Vec::new();
    for (service, port) in [("http", 80), ("https", 443)] {
        all.extend(["127.0.0.1", "[::1]"].map(|address| {
            Case::up(&format!("{address}:{port}"), &ask(service, "health", "all is fine"), "200")
        }));
        let real = format!("127.0.0.1:{port}");
        cases.extend([
            Case::up(&real, &ask(service, "moved", "fine"), "(after 1 redirect)"),
            Case::up(&real, &format!("{}; httpmethod=HEAD", ask(service, "health", "")), "HEAD /health"),
            Case::up(&real, &format!("{}; virtualhost=www.example.org", ask(service, "health", "")), "200"),
            Case::down(&real, &ask(service, "health", "broken"), "does not match /broken/"),
            Case::down(&real, &ask(service, "broken", ""), "503 Service"),
            Case::down(&real, &ask(service, "none", ""), "404 Not Found"),
            Case::down(&real, &ask(service, "round", ""), "no more than 7 redirects"),
        ]);
    }
    // Spoken to in the wrong way.
    cases.push(Case::down("127.0.0.1:443", &ask("http", "health", ""), "400 Bad Request"));
    cases.push(Case::down("127.0.0.1:80", &ask("https", "health", ""), "TLS"));
    Life::begin("http (nginx)", &["nginx", "127.0.0.1", "[::1]"], &all)
        .expect(&cases)
        .through(&all[..2], "waiting for the status line", "refused")
        .renamed("https (nginx)")
        .through(&all[2..], "in the TLS handshake", "refused")
        .end();
}

/// A proxy, and behind it a web server of its own, which goes away.
fn proxy(name: &'static str, recipe: &str, origin: &str, reals: &[&str], without_origin: &str) {
    let mut web = Server::start(&["nginx", origin]);
    let fine = ask("http_proxy", &format!("http://{origin}/health"), "all is fine");
    let good: Vec<Case> = reals.iter().map(|real| Case::up(real, &fine, "through the proxy")).collect();
    let real = reals[0];
    let life = Life::begin(name, &[recipe], &good).expect(&[
        Case::down(real, &ask("http_proxy", &format!("http://{origin}/health"), "broken"), "/broken/"),
        Case::down(real, &ask("http_proxy", &format!("http://{origin}/none"), ""), "404 Not Found"),
        Case::up(real, &ask("http_proxy", &format!("http://{origin}/moved"), "fine"), "(after 1 redirect)"),
    ]);
    let life = life.through(&good, "waiting for the status line", "refused");
    web.stop();
    life.expect(&[good[0].but(Outcome::Down, without_origin)]).end();
}

#[test]
fn tinyproxy() {
    proxy("http_proxy (tinyproxy)", "tinyproxy", "127.0.0.6", &["127.0.0.1:8888"], "500 Unable to connect");
}

#[test]
fn squid() {
    let reals = ["127.0.0.1:3128", "[::1]:3128"];
    proxy("http_proxy (squid)", "squid", "127.0.0.7", &reals, "503 Service Unavailable");
}
