//! Dovecot, Exim, Postfix and OpenSMTPD.

use ldirectord_rs::value::Outcome;

use crate::asking::{Case, with_starttls};
use crate::life::Life;

fn login(service: &str, login: &str, passwd: &str) -> String {
    format!("service={service}; login=\"{login}\"; passwd=\"{passwd}\"")
}

#[test]
fn dovecot() {
    let ports = [("imap", 143), ("imaps", 993), ("pop", 110), ("pops", 995)];
    let case = |service: &str, address: &str, port: u16, said: &str| {
        Case::up(&format!("{address}:{port}"), &login(service, "checker", "right"), said)
    };
    let mut all = Vec::new();
    let mut cases = Vec::new();
    for (service, port) in ports {
        let said = if service.starts_with("imap") { "LOGIN OK" } else { "PASS +OK" };
        all.extend(["127.0.0.1", "[::1]"].map(|address| case(service, address, port, said)));
        let real = format!("127.0.0.1:{port}");
        let answer = if service.starts_with("imap") { "LOGIN answered" } else { "PASS answered" };
        cases.extend([
            Case::up(&real, &format!("service={service}"), "greeting"),
            Case::down(&real, &login(service, "checker", "wrong"), answer),
            Case::down(&real, &login(service, "nobody", "right"), answer),
        ]);
    }
    for (service, port) in [("imap", 143), ("pop", 110)] {
        let said = if service == "imap" { "LOGIN OK" } else { "PASS +OK" };
        cases.extend(with_starttls(
            &["127.0.0.1", "[::1]"].map(|address| case(service, address, port, said)),
            said,
        ));
    }
    cases.push(case("imaps", "127.0.0.1", 143, "").but(Outcome::Down, "imaps 127.0.0.1:143: connected"));
    cases.push(case("pops", "127.0.0.1", 110, "").but(Outcome::Down, "pops 127.0.0.1:110: connected"));
    let mut life = Life::begin("imap (dovecot)", &["dovecot", "plain", "127.0.0.1,::1"], &all).expect(&cases);
    for (pair, (name, step)) in all.chunks(2).zip([
        ("imap (dovecot)", "waiting for the greeting"),
        ("imaps (dovecot)", "in the TLS handshake"),
        ("pop (dovecot)", "waiting for the greeting"),
        ("pops (dovecot)", "in the TLS handshake"),
    ]) {
        life = life.renamed(name).through(pair, step, "refused");
    }
    life.end();
}

#[test]
fn dovecot_with_secrets_that_are_not_sent() {
    for (mechanism, address, said) in
        [("plain,cram-md5", "127.0.0.2", "AUTH CRAM-MD5"), ("plain,apop", "127.0.0.3", "APOP")]
    {
        let mut good = Vec::new();
        let mut bad = Vec::new();
        for (service, port) in [("pop", 110), ("pops", 995)] {
            let real = format!("{address}:{port}");
            good.push(Case::up(&real, &login(service, "checker", "right"), &format!("{said} +OK")));
            bad.push(Case::down(&real, &login(service, "checker", "wrong"), &format!("{said} answered")));
        }
        Life::begin("pop (dovecot, other logins)", &["dovecot", mechanism, address], &good)
            .expect(&bad)
            .end();
    }
}

fn smtp(addresses: &[&str]) -> Vec<Case> {
    let mut good = Vec::new();
    for address in addresses {
        good.push(Case::up(&format!("{address}:25"), "service=smtp", "greeting 220"));
        good.push(Case::up(&format!("{address}:587"), "service=submission", "EHLO 250"));
    }
    good
}

#[test]
fn exim() {
    let good = smtp(&["127.0.0.1", "[::1]"]);
    Life::begin("smtp (exim)", &["exim"], &good)
        .expect(&[
            Case::down("127.0.0.4:25", "service=smtp", "greeting \"550 no mail today\""),
            Case::down("127.0.0.5:25", "service=smtp", "HELO answered \"550 unwelcome\""),
        ])
        .expect(&with_starttls(&good, "STARTTLS 220"))
        .through(&good, "waiting for the greeting", "refused")
        .end();
}

#[test]
fn postfix() {
    let good = smtp(&["127.0.0.2"]);
    Life::begin("smtp (postfix)", &["postfix"], &good)
        .expect(&with_starttls(&good, "STARTTLS 220"))
        .through(&good, "waiting for the greeting", "refused")
        .end();
}

#[test]
fn opensmtpd() {
    let good = smtp(&["127.0.0.3"]);
    Life::begin("smtp (opensmtpd)", &["opensmtpd"], &good)
        .expect(&[Case::down(
            "127.0.0.3:25",
            "service=smtp; #rs: starttls=yes",
            "the server does not offer TLS here: STARTTLS answered \"5",
        )])
        .through(&good, "waiting for the greeting", "refused")
        .end();
}
