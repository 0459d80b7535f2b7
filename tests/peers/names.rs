//! dnsmasq and BIND.

use crate::asking::Case;
use crate::life::Life;

fn ask(name: &str, receive: &str) -> String {
    format!("service=dns; request=\"{name}\"; receive=\"{receive}\"")
}

/// Each case over UDP and over TCP.
fn both(cases: &[Case]) -> Vec<Case> {
    cases.iter().cloned().chain(cases.iter().cloned().map(Case::udp)).collect()
}

fn good(four: &str, six: &str) -> Vec<Case> {
    let fine = ask("www.example.org", "^192\\.0\\.2\\.10$");
    let six = Case::up(six, &fine, "192.0.2.10 matches");
    let four = Case::up(four, &fine, "192.0.2.10 matches");
    vec![four.clone().udp(), six.clone().udp(), four, six]
}

#[test]
fn dnsmasq() {
    let real = "127.0.0.1:53";
    let good = good(real, "[::1]:53");
    Life::begin("dns (dnsmasq)", &["dnsmasq"], &good)
        .expect(&both(&[
            Case::up(real, &ask("www.example.org", ""), "192.0.2.10"),
            Case::up(real, &ask("www.example.org", "2001:db8::10"), "2001:db8::10 matches"),
            Case::up(real, &ask("six.example.org", "::6"), "2001:db8::6 matches"),
            Case::up(real, &ask("alias.example.org", "192.0.2.10"), "192.0.2.10 matches"),
            Case::up(real, &ask("192.0.2.10", "www.example.org"), "www.example.org matches"),
            Case::up(real, &ask("2001:db8::10", "www.example.org"), "www.example.org matches"),
            Case::down(real, &ask("www.example.org", "^10\\."), "of which none matches"),
            Case::down(real, &ask("text.example.org", ""), "there is no such record"),
            Case::down(real, &ask("none.example.org", ""), "Non-Existent Domain"),
            Case::down(real, &ask("www.elsewhere.test", ""), "Query Refused"),
        ]))
        .through(&good, "waiting for the answer", "refused")
        .end();
}

#[test]
fn bind() {
    let real = "127.0.0.1:5300";
    let good = good(real, "[::1]:5300");
    Life::begin("dns (bind)", &["bind"], &good)
        .expect(&both(&[
            // 100 addresses do not fit into a datagram.
            Case::up(real, &ask("many.example.org", "^192\\.0\\.2\\.100$"), "192.0.2.100 matches"),
            Case::down(real, &ask("many.example.org", "^10\\."), "and 97 more, of which none matches"),
            Case::up(real, &ask("192.0.2.10", "www.example.org"), "www.example.org matches"),
            Case::down(real, &ask("none.example.org", ""), "Non-Existent Domain"),
            Case::down(real, &ask("example.org", ""), "there is no such record"),
            Case::down(real, &ask("www.broken.org", ""), "Server Failure"),
            Case::down(real, &ask("www.elsewhere.test", ""), "Query Refused"),
        ]))
        .through(&good, "waiting for the answer", "refused")
        .end();
}
