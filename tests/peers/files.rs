//! vsftpd and ProFTPD.

use crate::asking::{Case, with_starttls};
use crate::life::Life;
use ldirectord_rs::value::Outcome;

fn ask(login: &str, passwd: &str, file: &str, receive: &str) -> String {
    format!("service=ftp; login=\"{login}\"; passwd=\"{passwd}\"; request=\"{file}\"; receive=\"{receive}\"")
}

fn try_out(name: &'static str, recipe: &str, port: u16, file: &str, starttls: impl Fn(&[Case]) -> Vec<Case>) {
    let fine = ask("checker", "right", file, "all is fine");
    let good =
        ["127.0.0.1", "[::1]"].map(|address| Case::up(&format!("{address}:{port}"), &fine, "12 bytes"));
    let real = format!("127.0.0.1:{port}");
    let mut cases = Vec::new();
    for real in [real.clone(), format!("[::1]:{port}")] {
        cases.extend([
            Case::down(
                &real,
                &ask("checker", "right", file, "broken"),
                "the file does not match /broken/; it begins with \"all is fine",
            ),
            Case::down(&real, &ask("checker", "right", "/none.txt", "fine"), "RETR answered \"550"),
        ]);
    }
    cases.extend([
        Case::up(&real, &ask("checker", "right", "", ""), "login 230"),
        // Nobody logs in as anonymous here.
        Case::down(&real, "service=ftp; request=\"/x\"; receive=\"y\"", "login answered \"530"),
        Case::up(&real, &ask("checker", "right", file, ""), "12 bytes"),
        Case::down(&real, &ask("checker", "wrong", file, "fine"), "login answered \"530"),
        Case::down(&real, &ask("nobody", "right", file, "fine"), "login answered \"530"),
    ]);
    Life::begin(name, &[recipe], &good)
        .expect(&cases)
        .expect(&starttls(&good))
        .through(&good, "waiting for the greeting", "refused")
        .end();
}

#[test]
fn vsftpd() {
    try_out("ftp (vsftpd)", "vsftpd", 21, "/home/checker/health.txt", |good| with_starttls(good, "12 bytes"));
}

#[test]
fn proftpd() {
    try_out("ftp (proftpd)", "proftpd", 2121, "/run/peers/proftpd/home/health.txt", |good| {
        // Its TLS comes in another package.
        let case =
            Case { directives: format!("{}; #rs: starttls=yes", good[0].directives), ..good[0].clone() };
        vec![case.but(Outcome::Down, "the server does not offer TLS here: AUTH TLS answered \"5")]
    });
}
