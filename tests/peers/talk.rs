//! INN and Kamailio.

use crate::asking::{Case, with_starttls};
use crate::life::Life;

#[test]
fn inn() {
    let good = ["127.0.0.1:119", "[::1]:119"].map(|real| Case::up(real, "service=nntp", "greeting 200"));
    Life::begin("nntp (inn)", &["inn"], &good)
        // Who comes from there is let in nowhere.
        .expect(
            &["192.0.2.9:119", "[2001:db8::9]:119"]
                .map(|real| Case::down(real, "service=nntp", "greeting \"502")),
        )
        .expect(&with_starttls(&good, "MODE READER 200"))
        .through(&good, "waiting for the greeting", "refused")
        .end();
}

#[test]
fn kamailio() {
    let fine = "service=sip; login=\"health@127.0.0.1\"";
    let four = Case::up("127.0.0.1:5060", fine, "OPTIONS");
    let six = Case::up("[::1]:5060", fine, "OPTIONS");
    let tcp = [four.clone(), six.clone()];
    let udp = [four.udp(), six.udp()];
    let all: Vec<Case> = tcp.iter().chain(&udp).cloned().collect();
    let nobody = "service=sip; login=\"nobody@127.0.0.1\"";
    let bad = Case::down("127.0.0.1:5060", nobody, "OPTIONS answered \"SIP/2.0 404");
    Life::begin("sip tcp (kamailio)", &["kamailio"], &all)
        .expect(&[bad.clone(), bad.udp()])
        .through(&tcp, "waiting for the answer to OPTIONS", "refused")
        .renamed("sip udp (kamailio)")
        .through(&udp, "waiting for the answer to OPTIONS", "refused")
        .end();
}
