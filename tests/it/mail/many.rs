//! Many alerts at once, odd addresses, a fallback server that is active for a moment.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::Ordering;

use super::{Mood, Relay, act};
use crate::sandbox::{FALLBACK, WebServer, two_servers};

/// `count` servers at which no process listens.
fn dead_servers(count: usize, directives: &str) -> String {
    let mut config = format!("{directives}\nvirtual=192.0.2.1:80\n\tchecktype=connect\n");
    for number in 0..count {
        let (high, low) = (number / 250, number % 250 + 1);
        writeln!(config, "\treal=127.1.{high}.{low}:1 masq").unwrap();
    }
    config
}

#[test]
fn b8_each_of_1413_dead_servers_gives_a_mail() {
    let relay = Relay::start(Mood::Good);
    let sandbox = relay.sandbox(&dead_servers(1413, "smtp=127.0.0.1\nemailalert=a@one.example"));
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    let count = || {
        let subject = "Log-Message: Inaccessible real server: ";
        relay.taken().iter().filter(|(_, text)| text.contains(subject)).count()
    };
    sandbox.wait_for("1,413 mails", || count() >= 1413, &|| count().to_string());
    assert_eq!(count(), 1413);
    let sessions = relay.sessions.load(Ordering::Relaxed);
    assert!(sessions <= 5, "{sessions} sessions");
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
    assert!(!sandbox.log().contains("lost"), "{}", sandbox.log());
}

#[test]
fn b8_dropped_alerts_are_reported_and_counted() {
    let relay = Relay::start(Mood::Silent);
    let sandbox = relay.sandbox(&dead_servers(50, "smtp=127.0.0.1\nemailalert=a@one.example"));
    let settings = format!("[mail]\nport = {}\nqueue = 10\n", relay.address.port());
    fs::write(sandbox.path("settings.toml"), settings).unwrap();
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    sandbox.expect_log("the oldest are dropped from now on");
    sandbox.wait_for("all down", || sandbox.log().matches("Real server is down").count() == 50, &String::new);
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
    assert_eq!(sandbox.log().matches("the oldest are dropped from now on").count(), 1);
    assert!(sandbox.log().contains(" lost since the daemon started"), "{}", sandbox.log());
}

/// R88
#[test]
fn b8_no_mail_about_a_fallback_of_a_moment() {
    let relay = Relay::start(Mood::Good);
    let (mut one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = relay.sandbox(&two_servers(&one, &two, "smtp=127.0.0.1\nemailalert=a@one.example"));
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    sandbox.expect_log(&format!("Added fallback server: {FALLBACK}"));
    sandbox.expect_log(&format!("Deleted fallback server: {FALLBACK}"));
    one.stop();
    two.stop();
    sandbox.wait_for("the fallback", || relay.has("Log-Message: Added fallback server: "), &String::new);
    let about =
        |(_, text): &&super::Taken| text.contains("Log-Message: ") && text.contains(" fallback server: ");
    let mails: Vec<super::Taken> = relay.taken().iter().filter(about).cloned().collect();
    assert!(mails.len() == 1 && mails[0].1.contains("Daemon-Status: running"), "{mails:?}");
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
}

#[test]
fn b8_a_fallback_that_stays_after_the_start_is_mailed_about() {
    let relay = Relay::start(Mood::Good);
    let (mut one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    one.stop();
    two.stop();
    let sandbox = relay.sandbox(&two_servers(&one, &two, "smtp=127.0.0.1\nemailalert=a@one.example"));
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    sandbox.wait_for("the fallback", || relay.has("Log-Message: Added fallback server: "), &String::new);
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
}

/// The forms of a sender that reach a relay of the original. The recipients next to an invalid one receive the
/// message.
#[test]
fn b7_odd_addresses_keep_no_alert() {
    for (sender, expected) in [
        ("\"ld@here.example\"", "MAIL FROM:<ld@here.example>"),
        ("Load Balancer <ld@here.example>", "MAIL FROM:<ld@here.example>"),
        ("ld@here.example (the balancer)", "MAIL FROM:<ld@here.example>"),
        ("ld@[192.0.2.1]", "MAIL FROM:<ld@[192.0.2.1]>"),
        ("no address", "MAIL FROM:<root@"),
    ] {
        let relay = Relay::start(Mood::Good);
        let sandbox = relay.sandbox(&format!(
            "smtp=127.0.0.1\nemailalert=Operator <a@one.example>, b@[192.0.2.2], c d@two.example\nemailalertfrom={sender}\n\
             virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n"
        ));
        let started = act(&sandbox, &["web.cf", "start"]);
        let errors = String::from_utf8(started.stderr).unwrap();
        let line = |line: &str, words: &str| errors.lines().any(|e| e.contains(line) && e.contains(words));
        assert!(line("at line 3", "c d@two.example is not a mail address"), "{errors}");
        let warned = line("at line 4", "is not a mail address");
        assert_eq!(warned, sender == "no address", "{errors}");
        sandbox.wait_for("the mail", || !relay.taken().is_empty(), &|| sender.to_owned());
        let (to, _) = relay.taken().remove(0);
        assert_eq!(to, ["RCPT TO:<a@one.example>", "RCPT TO:<b@[192.0.2.2]>"]);
        let from = relay.senders.lock().unwrap().first().cloned().unwrap();
        assert!(from.starts_with(expected), "{from}");
        let tried = act(&sandbox, &["alert-test", "web.cf"]);
        let out = String::from_utf8(tried.stdout).unwrap();
        assert_eq!(tried.status.code(), Some(1), "{out}");
        assert!(
            out.contains("accepted by") && out.contains("c d@two.example is not a mail address"),
            "{out}"
        );
        assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
    }
}

/// R87
#[test]
fn b7_the_port_of_smtp_counts() {
    let relay = Relay::start(Mood::Picky);
    let sandbox = relay.sandbox(&format!(
        "smtp=127.0.0.1:{}\nemailalert=a@one.example, x@bad.example\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\t\
         checktype=on\n",
        relay.address.port()
    ));
    fs::write(sandbox.path("settings.toml"), "[mail]\nport = 1\n").unwrap();
    let output = act(&sandbox, &["alert-test", "web.cf"]);
    let out = String::from_utf8(output.stdout).unwrap();
    let port = relay.address.port();
    assert!(out.contains(&format!("accepted by relay 127.0.0.1 port {port} for a@one.example\n")), "{out}");
    // The refused recipient is named, and no other.
    assert!(
        out.contains(&format!("not accepted by relay 127.0.0.1 port {port} for x@bad.example: ")),
        "{out}"
    );
    assert_eq!(output.status.code(), Some(1));
}
