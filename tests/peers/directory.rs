//! OpenLDAP and FreeRADIUS.

use crate::asking::{Case, with_starttls};
use crate::life::Life;

fn ldap(service: &str, login: &str, passwd: &str, base: &str, receive: &str) -> String {
    format!(
        "service={service}; login=\"{login}\"; passwd=\"{passwd}\"; request=\"{base}\"; receive=\"{receive}\""
    )
}

#[test]
fn openldap() {
    const ADMIN: &str = "cn=admin,dc=example,dc=org";
    const SECRET: &str = "cn=secret,dc=example,dc=org";
    let case = |real, service| {
        Case::up(real, &ldap(service, "", "", "dc=example,dc=org", "example"), "matches /example/")
    };
    let plain = [case("127.0.0.1:389", "ldap"), case("[::1]:389", "ldap")];
    let tls = [case("127.0.0.1:636", "ldaps"), case("[::1]:636", "ldaps")];
    let all: Vec<Case> = plain.iter().chain(&tls).cloned().collect();
    let mut cases = Vec::new();
    for (real, service) in [("127.0.0.1:389", "ldap"), ("127.0.0.1:636", "ldaps")] {
        let ask = |login, passwd, base, receive| ldap(service, login, passwd, base, receive);
        cases.extend([
            Case::up(real, &ask(ADMIN, "right", SECRET, ""), "found \"cn=secret"),
            Case::down(real, &ask("", "", SECRET, ""), "Search for \"cn=secret"),
            Case::down(real, &ask(ADMIN, "wrong", SECRET, ""), "Bind: result code 49 (invalidCredentials)"),
            Case::down(real, &ask("nobody", "right", SECRET, ""), "Bind: result code 34 (invalidDNSyntax)"),
            Case::down(real, &ask("", "", "dc=example,dc=org", "acme"), "does not match /acme/"),
            Case::down(real, &ask("", "", "cn=none,dc=example,dc=org", ""), "result code 32 (noSuchObject)"),
            Case::down(real, &ask("", "", "dc=other", ""), "result code 32 (noSuchObject)"),
        ]);
    }
    // Spoken to in the wrong way.
    cases
        .push(case("127.0.0.1:389", "ldaps").but(ldirectord_rs::value::Outcome::Down, "ldaps 127.0.0.1:389"));
    cases.push(case("127.0.0.1:636", "ldap").but(ldirectord_rs::value::Outcome::Down, "ldap 127.0.0.1:636"));
    Life::begin("ldap (openldap)", &["slapd"], &all)
        .expect(&cases)
        .expect(&with_starttls(&plain, "matches /example/"))
        .through(&plain, "waiting for the answer to Bind", "refused")
        .renamed("ldaps (openldap)")
        .through(&tls, "in the TLS handshake", "refused")
        .end();
}

#[test]
fn freeradius() {
    let ask = |login: &str, passwd: &str, secret: &str| {
        format!("service=radius; login=\"{login}\"; passwd=\"{passwd}\"; secret=\"{secret}\"")
    };
    let fine = ask("checker", "right", "shared");
    let good =
        ["127.0.0.1:1812", "[::1]:1812"].map(|real| Case::up(real, &fine, "Access-Accept \"welcome\"").udp());
    let long = "x".repeat(100);
    Life::begin("radius (freeradius)", &["freeradius"], &good)
        .expect(&[
            Case::down("127.0.0.1:1812", &ask("checker", "wrong", "shared"), "Access-Reject").udp(),
            Case::down("127.0.0.1:1812", &ask("checker", &long, "shared"), "Access-Reject").udp(),
            Case::down("127.0.0.1:1812", &ask("nobody", "right", "shared"), "Access-Reject").udp(),
            Case::down("[::1]:1812", &ask("checker", "wrong", "shared"), "Access-Reject").udp(),
        ])
        // A server that another secret is shared with says nothing.
        .expect_short(&[Case::down(
            "127.0.0.1:1812",
            &ask("checker", "right", "other"),
            "waiting for the answer to Access-Request",
        )
        .udp()])
        .through(&good, "waiting for the answer to Access-Request", "refused")
        .end();
}
