//! The file changes while the daemon runs.

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;

use crate::site::{Site, WebServer, two_servers};

#[test]
fn every_way_to_change_the_file_is_seen() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let config =
        |weight: u32| two_servers(&one, &two, "autoreload=yes").replace("masq 1", &format!("masq {weight}"));
    let site = Site::new(&config(1));
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
    let site = Site::new(&two_servers(&one, &two, ""));
    assert_eq!(site.act("start"), 0);
    site.write(&two_servers(&one, &two, "").replace("masq 1", "masq 9"));
    site.expect_log(" - ignore new configuration");
    site.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
    // A reload on demand takes it.
    assert_eq!(site.act("reload"), 0);
    site.expect("taken up", &[(one.address, 9), (two.address, 3)]);
}

#[test]
fn a_failed_reload_keeps_the_running_state_to_the_last_detail() {
    // B03, S15: the original lost its globals and stopped changing the table.
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Site::new(&two_servers(&one, &two, "autoreload=yes"));
    assert_eq!(site.act("start"), 0);
    site.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    site.write("checkinterval=3600\nquiescent=no\nbogus\n");
    site.expect_log("The configuration was not reloaded");
    // The running daemon goes on with its own interval, and quiescent as it was.
    one.stop();
    site.expect("the first is dead", &[(one.address, 0), (two.address, 3)]);
    one.serve("I am fine");
    site.expect("the first is back", &[(one.address, 1), (two.address, 3)]);
    // B01: the pid file is still there, and so is the daemon.
    assert_eq!(site.told("status").0, 0);
    site.write(&two_servers(&one, &two, "autoreload=yes").replace("masq 1", "masq 8"));
    site.expect("mended", &[(one.address, 8), (two.address, 3)]);
}

#[test]
fn a_file_that_vanishes_changes_nothing() {
    // S63.
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let config = two_servers(&one, &two, "autoreload=yes");
    let site = Site::new(&config);
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
    // R03: half-written or emptied by accident, it would take every service away.
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Site::new(&two_servers(&one, &two, "autoreload=yes"));
    assert_eq!(site.act("start"), 0);
    fs::write(site.path("web.cf"), "").unwrap();
    site.expect_log("has no virtual service");
    site.expect("unchanged", &[(one.address, 1), (two.address, 3)]);
}
