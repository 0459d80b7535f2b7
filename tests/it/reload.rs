//! Changes of the file while the daemon runs.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::sandbox::{Sandbox, WebServer, two_servers};

#[test]
fn every_way_to_change_the_file_is_seen() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let config =
        |weight: u32| two_servers(&one, &two, "autoreload=yes").replace("masq 1", &format!("masq {weight}"));
    let sandbox = Sandbox::new(&config(1));
    assert_eq!(sandbox.act("start"), 0);
    let expect = |what: &str, weight: u64| sandbox.expect(what, &[(one.address, weight), (two.address, 3)]);
    expect("at the start", 1);
    sandbox.write(&config(2));
    expect("written in place", 2);
    for weight in [3, 4] {
        fs::write(sandbox.path("new"), sandbox.text(&config(weight))).unwrap();
        fs::rename(sandbox.path("new"), sandbox.path("web.cf")).unwrap();
        expect("renamed over", weight.into());
    }
    for weight in [5, 6] {
        let target = format!("target-{weight}");
        fs::write(sandbox.path(&target), sandbox.text(&config(weight))).unwrap();
        symlink(&target, sandbox.path("new")).unwrap();
        fs::rename(sandbox.path("new"), sandbox.path("web.cf")).unwrap();
        expect("a link in its place", weight.into());
    }
    fs::write(sandbox.path("target-6"), sandbox.text(&config(7))).unwrap();
    expect("the target of the link written", 7);
    assert!(sandbox.log().contains(" - reread new configuration"));
}

#[test]
fn without_autoreload_a_change_is_only_told() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.write(&two_servers(&one, &two, "").replace("masq 1", "masq 9"));
    sandbox.expect_log(" - ignore new configuration");
    sandbox.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
    // A reload on demand applies it.
    assert_eq!(sandbox.act("reload"), 0);
    sandbox.expect("applied", &[(one.address, 9), (two.address, 3)]);
}

#[test]
fn a_failed_reload_keeps_the_running_state_to_the_last_detail() {
    // B03: the original lost its globals and stopped changing the table.
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, "autoreload=yes"));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    sandbox.write("checkinterval=3600\nquiescent=no\nbogus\n");
    sandbox.expect_log("The configuration was not reloaded");
    // The running daemon keeps its own interval, and quiescent as it was.
    one.stop();
    sandbox.expect("the first is down", &[(one.address, 0), (two.address, 3)]);
    one.serve("I am fine");
    sandbox.expect("the first is up again", &[(one.address, 1), (two.address, 3)]);
    // B01: the pid file still exists, and the daemon still runs.
    assert_eq!(sandbox.told("status").0, 0);
    sandbox.write(&two_servers(&one, &two, "autoreload=yes").replace("masq 1", "masq 8"));
    sandbox.expect("fixed", &[(one.address, 8), (two.address, 3)]);
}

#[test]
fn a_file_that_vanishes_changes_nothing() {
    // The file is missing for a while.
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let config = two_servers(&one, &two, "autoreload=yes");
    let sandbox = Sandbox::new(&config);
    assert_eq!(sandbox.act("start"), 0);
    fs::remove_file(sandbox.path("web.cf")).unwrap();
    sandbox.expect_log("can not open file");
    sandbox.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
    sandbox.write(&config);
    sandbox.signal(Signal::SIGHUP);
    sandbox.expect_log("Reloading Linux Director Daemon config on signal");
    sandbox.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
    assert!(!sandbox.log().contains("has changed on disk"), "{}", sandbox.log());
}

#[test]
fn an_empty_file_is_not_taken_for_a_wish() {
    // R03: a file that is half-written, or emptied by accident, would remove every service.
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, "autoreload=yes"));
    assert_eq!(sandbox.act("start"), 0);
    fs::write(sandbox.path("web.cf"), "").unwrap();
    sandbox.expect_log("has no virtual service");
    sandbox.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
}

/// A program that records the content of the file at each call.
fn callback(sandbox: &Sandbox) -> String {
    let (path, seen) = (sandbox.path("callback"), sandbox.path("seen"));
    fs::write(&path, format!("#!/bin/sh\ncat \"$1\" >> {0}; echo END >> {0}\n", seen.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("autoreload=yes\ncallback=\"{}\"", path.display())
}

/// Writes a file in place with a pause in the middle, as scp and template engines do.
fn write_slowly(sandbox: &Sandbox, text: &str, pause: Duration) {
    let text = sandbox.text(text);
    let (one, two) = text.split_at(text.find("\treal=").unwrap());
    let mut file = File::create(sandbox.path("web.cf")).unwrap();
    file.write_all(one.as_bytes()).unwrap();
    thread::sleep(pause);
    file.write_all(two.as_bytes()).unwrap();
}

#[test]
fn a6_slow_rewrites_never_show_half_a_file() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new("");
    let more = callback(&sandbox);
    let config = |weight: u32| two_servers(&one, &two, &more).replace("masq 1", &format!("masq {weight}"));
    sandbox.write(&config(1));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("at the start", &[(one.address, 1), (two.address, 3)]);
    let before = sandbox.log().len();
    // Pauses of 0.1 to 0.35 s.
    for round in 0..100 {
        let weight = if round == 99 { 1 } else { round };
        write_slowly(&sandbox, &config(weight), Duration::from_millis(u64::from(100 + round * 250 / 99)));
    }
    // The content is the same in the end, which is not a change. The rename into place is the only change.
    fs::write(sandbox.path("new"), sandbox.text(&config(7))).unwrap();
    fs::rename(sandbox.path("new"), sandbox.path("web.cf")).unwrap();
    sandbox.expect("renamed", &[(one.address, 7), (two.address, 3)]);
    let seen = || fs::read_to_string(sandbox.path("seen")).unwrap_or_default();
    let calls = |weights: &[u32]| -> String {
        weights.iter().map(|weight| format!("{}END\n", sandbox.text(&config(*weight)))).collect()
    };
    // The command reads the file, which must still have this content.
    sandbox.wait_for("one call", || seen() == calls(&[7]), &seen);
    // A slow write is one change.
    write_slowly(&sandbox, &config(8), Duration::from_millis(300));
    sandbox.expect("written slowly", &[(one.address, 8), (two.address, 3)]);
    let log = sandbox.log()[before..].to_owned();
    assert_eq!(log.matches("has changed on disk").count(), 2, "{log}");
    for never in ["Purged", "Deleted", "Error"] {
        assert!(!log.contains(never), "{never}: {log}");
    }
    sandbox.wait_for("two calls", || seen() == calls(&[7, 8]), &seen);
}

#[test]
fn a6_what_a_reload_applied_is_not_ignored() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    let config = |weight: u32| two_servers(&one, &two, "").replace("masq 1", &format!("masq {weight}"));
    sandbox.write(&config(4));
    sandbox.signal(Signal::SIGHUP);
    sandbox.expect("applied at once", &[(one.address, 4), (two.address, 3)]);
    // Written in place, the same content is seen 2 s later; the next change is seen after it.
    thread::sleep(Duration::from_millis(2500));
    let before = sandbox.log().len();
    fs::write(sandbox.path("new"), sandbox.text(&config(5))).unwrap();
    fs::rename(sandbox.path("new"), sandbox.path("web.cf")).unwrap();
    sandbox.wait_for("the next one", || sandbox.log()[before..].contains(" - ignore new"), &String::new);
    assert_eq!(sandbox.log().matches("has changed on disk").count(), 1, "{}", sandbox.log());
}

#[test]
fn b2_a_device_in_the_file_s_place_is_not_read() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, "autoreload=yes"));
    assert_eq!(sandbox.act("start"), 0);
    symlink("/dev/zero", sandbox.path("new")).unwrap();
    fs::rename(sandbox.path("new"), sandbox.path("web.cf")).unwrap();
    sandbox.expect_log("can not open file");
    sandbox.signal(Signal::SIGHUP);
    sandbox.expect_log("web.cf: not a regular file");
    let config = two_servers(&one, &two, "autoreload=yes").replace("masq 1", "masq 2");
    fs::write(sandbox.path("new"), sandbox.text(&config)).unwrap();
    fs::rename(sandbox.path("new"), sandbox.path("web.cf")).unwrap();
    sandbox.expect("the next file is applied", &[(one.address, 2), (two.address, 3)]);
}

#[test]
fn b2_status_counts_the_errors_of_a_long_file() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.write(&"a line of a log that was copied over it\n".repeat(20_000));
    let before = Instant::now();
    let (code, _, told) = sandbox.told("status");
    // Without optimisation, and next to other tests.
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    assert!(
        code == 0 && told.contains("the configuration file is now invalid (errors: 20000)"),
        "{code} {told}"
    );
    assert_eq!(told.lines().count(), 2, "{told}");
    let output = sandbox.run(&["check", "web.cf"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("19900 more findings are not shown"), "{text}");
    assert!(text.len() < 100_000, "{} bytes", text.len());
    let output = sandbox.run(&["check", "web.cf", "--json"]);
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = all["diagnostics"].as_array().unwrap();
    assert_eq!((findings.len(), findings[0]["line"].as_u64()), (20_000, Some(2)));
    // The log has a line for each of the first errors, and loses no line after them.
    sandbox.signal(Signal::SIGHUP);
    sandbox.expect_log("The configuration was not reloaded");
    let log = sandbox.log();
    assert_eq!(log.matches(" reading file ").count(), 1000);
    assert!(log.contains("19000 more errors: ldirectord-rs check --json lists all"));
}
