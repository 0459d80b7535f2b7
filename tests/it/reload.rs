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
    let site = Sandbox::new(&config(1));
    assert_eq!(site.act("start"), 0);
    let expect = |what: &str, weight: u64| site.expect(what, &[(one.address, weight), (two.address, 3)]);
    expect("at the start", 1);
    site.write(&config(2));
    expect("written in place", 2);
    for weight in [3, 4] {
        fs::write(site.path("new"), site.text(&config(weight))).unwrap();
        fs::rename(site.path("new"), site.path("web.cf")).unwrap();
        expect("renamed over", weight.into());
    }
    for weight in [5, 6] {
        let target = format!("target-{weight}");
        fs::write(site.path(&target), site.text(&config(weight))).unwrap();
        symlink(&target, site.path("new")).unwrap();
        fs::rename(site.path("new"), site.path("web.cf")).unwrap();
        expect("a link in its place", weight.into());
    }
    fs::write(site.path("target-6"), site.text(&config(7))).unwrap();
    expect("the target of the link written", 7);
    assert!(site.log().contains(" - reread new configuration"));
}

#[test]
fn without_autoreload_a_change_is_only_told() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(site.act("start"), 0);
    site.write(&two_servers(&one, &two, "").replace("masq 1", "masq 9"));
    site.expect_log(" - ignore new configuration");
    site.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
    // A reload on demand applies it.
    assert_eq!(site.act("reload"), 0);
    site.expect("applied", &[(one.address, 9), (two.address, 3)]);
}

#[test]
fn a_failed_reload_keeps_the_running_state_to_the_last_detail() {
    // B03: the original lost its globals and stopped changing the table.
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new(&two_servers(&one, &two, "autoreload=yes"));
    assert_eq!(site.act("start"), 0);
    site.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    site.write("checkinterval=3600\nquiescent=no\nbogus\n");
    site.expect_log("The configuration was not reloaded");
    // The running daemon keeps its own interval, and quiescent as it was.
    one.stop();
    site.expect("the first is down", &[(one.address, 0), (two.address, 3)]);
    one.serve("I am fine");
    site.expect("the first is up again", &[(one.address, 1), (two.address, 3)]);
    // B01: the pid file still exists, and the daemon still runs.
    assert_eq!(site.told("status").0, 0);
    site.write(&two_servers(&one, &two, "autoreload=yes").replace("masq 1", "masq 8"));
    site.expect("fixed", &[(one.address, 8), (two.address, 3)]);
}

#[test]
fn a_file_that_vanishes_changes_nothing() {
    // The file is missing for a while.
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let config = two_servers(&one, &two, "autoreload=yes");
    let site = Sandbox::new(&config);
    assert_eq!(site.act("start"), 0);
    fs::remove_file(site.path("web.cf")).unwrap();
    site.expect_log("can not open file");
    site.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
    site.write(&config);
    site.signal(Signal::SIGHUP);
    site.expect_log("Reloading Linux Director Daemon config on signal");
    site.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
    assert!(!site.log().contains("has changed on disk"), "{}", site.log());
}

#[test]
fn an_empty_file_is_not_taken_for_a_wish() {
    // R03: a file that is half-written, or emptied by accident, would remove every service.
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new(&two_servers(&one, &two, "autoreload=yes"));
    assert_eq!(site.act("start"), 0);
    fs::write(site.path("web.cf"), "").unwrap();
    site.expect_log("has no virtual service");
    site.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
}

/// A program that records the content of the file at each call.
fn callback(site: &Sandbox) -> String {
    let (path, seen) = (site.path("callback"), site.path("seen"));
    fs::write(&path, format!("#!/bin/sh\ncat \"$1\" >> {0}; echo END >> {0}\n", seen.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("autoreload=yes\ncallback=\"{}\"", path.display())
}

/// Writes a file in place with a pause in the middle, as scp and template engines do.
fn write_slowly(site: &Sandbox, text: &str, pause: Duration) {
    let text = site.text(text);
    let (one, two) = text.split_at(text.find("\treal=").unwrap());
    let mut file = File::create(site.path("web.cf")).unwrap();
    file.write_all(one.as_bytes()).unwrap();
    thread::sleep(pause);
    file.write_all(two.as_bytes()).unwrap();
}

#[test]
fn a6_slow_rewrites_never_show_half_a_file() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new("");
    let more = callback(&site);
    let config = |weight: u32| two_servers(&one, &two, &more).replace("masq 1", &format!("masq {weight}"));
    site.write(&config(1));
    assert_eq!(site.act("start"), 0);
    site.expect("at the start", &[(one.address, 1), (two.address, 3)]);
    let before = site.log().len();
    // Pauses of 0.1 to 0.35 s.
    for round in 0..100 {
        let weight = if round == 99 { 1 } else { round };
        write_slowly(&site, &config(weight), Duration::from_millis(u64::from(100 + round * 250 / 99)));
    }
    // The content is the same in the end, which is not a change. The rename into place is the only change.
    fs::write(site.path("new"), site.text(&config(7))).unwrap();
    fs::rename(site.path("new"), site.path("web.cf")).unwrap();
    site.expect("renamed", &[(one.address, 7), (two.address, 3)]);
    let seen = || fs::read_to_string(site.path("seen")).unwrap_or_default();
    let calls = |weights: &[u32]| -> String {
        weights.iter().map(|weight| format!("{}END\n", site.text(&config(*weight)))).collect()
    };
    // The command reads the file, which must still have this content.
    site.wait_for("one call", || seen() == calls(&[7]), &seen);
    // A slow write is one change.
    write_slowly(&site, &config(8), Duration::from_millis(300));
    site.expect("written slowly", &[(one.address, 8), (two.address, 3)]);
    let log = site.log()[before..].to_owned();
    assert_eq!(log.matches("has changed on disk").count(), 2, "{log}");
    for never in ["Purged", "Deleted", "Error"] {
        assert!(!log.contains(never), "{never}: {log}");
    }
    site.wait_for("two calls", || seen() == calls(&[7, 8]), &seen);
}

#[test]
fn a6_what_a_reload_applied_is_not_ignored() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(site.act("start"), 0);
    let config = |weight: u32| two_servers(&one, &two, "").replace("masq 1", &format!("masq {weight}"));
    site.write(&config(4));
    site.signal(Signal::SIGHUP);
    site.expect("applied at once", &[(one.address, 4), (two.address, 3)]);
    // Written in place, the same content is seen 2 s later; the next change is seen after it.
    thread::sleep(Duration::from_millis(2500));
    let before = site.log().len();
    fs::write(site.path("new"), site.text(&config(5))).unwrap();
    fs::rename(site.path("new"), site.path("web.cf")).unwrap();
    site.wait_for("the next one", || site.log()[before..].contains(" - ignore new"), &String::new);
    assert_eq!(site.log().matches("has changed on disk").count(), 1, "{}", site.log());
}

#[test]
fn b2_a_device_in_the_file_s_place_is_not_read() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new(&two_servers(&one, &two, "autoreload=yes"));
    assert_eq!(site.act("start"), 0);
    symlink("/dev/zero", site.path("new")).unwrap();
    fs::rename(site.path("new"), site.path("web.cf")).unwrap();
    site.expect_log("can not open file");
    site.signal(Signal::SIGHUP);
    site.expect_log("web.cf: not a regular file");
    let config = two_servers(&one, &two, "autoreload=yes").replace("masq 1", "masq 2");
    fs::write(site.path("new"), site.text(&config)).unwrap();
    fs::rename(site.path("new"), site.path("web.cf")).unwrap();
    site.expect("the next file is applied", &[(one.address, 2), (two.address, 3)]);
}

#[test]
fn b2_status_counts_the_errors_of_a_long_file() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(site.act("start"), 0);
    site.write(&"a line of a log that was copied over it\n".repeat(20_000));
    let before = Instant::now();
    let (code, _, told) = site.told("status");
    // Without optimisation, and next to other tests.
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    assert!(
        code == 0 && told.contains("the configuration file is now invalid (errors: 20000)"),
        "{code} {told}"
    );
    assert_eq!(told.lines().count(), 2, "{told}");
    let output = site.run(&["check", "web.cf"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("19900 more findings are not shown"), "{text}");
    assert!(text.len() < 100_000, "{} bytes", text.len());
    let output = site.run(&["check", "web.cf", "--json"]);
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = all["diagnostics"].as_array().unwrap();
    assert_eq!((findings.len(), findings[0]["line"].as_u64()), (20_000, Some(2)));
    // The log has a line for each of the first errors, and loses no line after them.
    site.signal(Signal::SIGHUP);
    site.expect_log("The configuration was not reloaded");
    let log = site.log();
    assert_eq!(log.matches(" reading file ").count(), 1000);
    assert!(log.contains("19000 more errors: ldirectord-rs check --json lists all"));
}
