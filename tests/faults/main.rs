//! Faults of the director itself, tested on the program as a process with its table in memory: `make faults`.
//!
//! In each trial many servers are healthy and one really fails. The fault must not cause a transition of a healthy
//! server, and the failed server must be out of rotation in time. `make test` runs short versions; `FAULTS=full`,
//! which `make faults` sets, runs the long ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may fail by panic, and runs by the clock"
)]

mod crowd;
#[path = "../lab/netns.rs"]
#[expect(dead_code, reason = "only a part is needed here")]
mod netns;
mod restart;
#[path = "../it/sandbox.rs"]
#[expect(dead_code, reason = "only the program's own part is needed here")]
mod sandbox;
mod trial;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crowd::{Crowd, endless, page, redirect};
use netns::NetNs;
use restart::Resident;
use sandbox::Foreground;
use trial::{Shown, Trial, wait};

/// The check of a healthy server.
const HTTP: &str = "service=http\n\trequest=\"health\"\n\treceive=\"fine\"";
const HTTPS: &str = "service=https\n\trequest=\"health\"\n\treceive=\"fine\"";

/// The first value in `make faults`, the second in `make test`.
fn full_or<T>(full: T, short: T) -> T {
    if std::env::var_os("FAULTS").is_some_and(|value| value == "full") { full } else { short }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whether this process may create namespaces. Prints a notice if not.
fn may_make_namespaces(test: &str) -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        println!("{test} is skipped: network namespaces need root");
    }
    root
}

/// A daemon that was stopped for a while has sent no checks, so no server has failed to answer it.
#[test]
fn a1_a_stopped_daemon_blames_no_server() {
    // Each answer takes a while, so that many checks are in flight at any moment.
    let crowd = Crowd::http_after(Duration::from_millis(300), page(b"I am fine"));
    let servers = crowd.on_loopback(full_or(500, 200));
    let mut trial = Trial::new("checkinterval=1\nchecktimeout=2", HTTP, servers, "127.0.0.1");
    trial.start(seconds(60));
    for _ in 0..3 {
        trial.sandbox.signal(Signal::SIGSTOP);
        thread::sleep(seconds(full_or(60, 5)));
        trial.sandbox.signal(Signal::SIGCONT);
        thread::sleep(seconds(3));
    }
    trial.assert_calm();
    trial.sandbox.signal(Signal::SIGSTOP);
    thread::sleep(seconds(5));
    let killed = trial.kill_victim();
    trial.sandbox.signal(Signal::SIGCONT);
    trial.expect_victim_out(killed, seconds(10));
    thread::sleep(seconds(4));
    trial.assert_calm();
}

/// A reload that changes the check of every server spreads the new checks over the time that they take.
#[test]
fn a2_a_changed_timeout_of_all_is_not_a_burst() {
    if !full_or(true, false) {
        println!(
            "a2_a_changed_timeout_of_all_is_not_a_burst is skipped: its servers need most of a core; make faults runs it"
        );
        return;
    }
    let crowd = Crowd::https(page(b"I am fine"));
    let count = full_or(8000, 1500);
    let servers = crowd.on_loopback(count);
    let (interval, longer, shorter) = full_or((60, 6, 3), (20, 6, 2));
    let globals = |timeout: u32| format!("checkinterval={interval}\nchecktimeout={timeout}");
    let mut trial = Trial::new(&globals(longer), HTTPS, servers, "127.0.0.1");
    trial.start(seconds(4 * interval + 30));
    trial.sandbox.write(&trial.config(&globals(shorter), HTTPS));
    trial.sandbox.signal(Signal::SIGHUP);
    trial.sandbox.expect_log("Reloading Linux Director Daemon config");
    let before = crowd.answered();
    wait("every server checked after the reload", seconds(3 * interval), || {
        let done = crowd.answered() - before;
        if done >= usize::from(count) { Ok(()) } else { Err(format!("{done} checks")) }
    });
    trial.assert_calm();
    let killed = trial.kill_victim();
    trial.expect_victim_out(killed, seconds(2 * interval + 6));
    trial.assert_calm();
}

/// A restart, a handover and an upgrade find all servers in rotation, and spread their first checks.
#[test]
fn a2_a_restart_is_not_a_burst() {
    if !full_or(true, false) {
        println!(
            "a2_a_restart_is_not_a_burst is skipped: its servers need most of a core; make faults runs it"
        );
        return;
    }
    let (count, interval) = (8000, 60);
    let crowd = Crowd::https(page(b"I am fine"));
    let servers = crowd.on_loopback(count);
    let globals = format!("checkinterval={interval}\nchecktimeout=3\nnegotiatetimeout=3");
    let mut trial = Trial::new(&globals, HTTPS, servers, "127.0.0.1");
    let mut resident = Resident::all_in_rotation(&trial);
    for start in ["after the end of an earlier daemon", "after a handover"] {
        let first = resident.start(&crowd, usize::from(count), seconds(2 * interval));
        println!(
            "  {count} https servers in rotation, start {start}: all checked within {:.1} s, {} at most within a second",
            first.all.as_secs_f64(),
            first.most_in_a_second
        );
        assert!(first.most_in_a_second < usize::from(count) / 3, "{first:?}");
        if start == "after a handover" {
            let killed = trial.kill_victim();
            resident.expect_only_victim_out(killed, seconds(2 * interval + 6));
        } else {
            // By now a check that was too slow would have a verdict.
            thread::sleep(seconds(4));
            resident.assert_untouched();
        }
        resident.hand_over();
    }
}

/// A name server that does not answer is the director's fault, not that of the servers that redirect to a name.
#[test]
fn a3_a_silent_resolver_blames_no_server() {
    if !may_make_namespaces("a3_a_silent_resolver_blames_no_server") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let (hosts, resolv) = (files.path().join("hosts"), files.path().join("resolv.conf"));
    let known = "127.0.0.1 localhost\n127.1.0.1 target.example\n";
    fs::write(&hosts, known).unwrap();
    fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n").unwrap();
    let netns = NetNs::with_mounts(
        "director",
        &[(&hosts, Path::new("/etc/hosts")), (&resolv, Path::new("/etc/resolv.conf"))],
    );
    // Receives queries and never answers.
    let _name_server = netns.run(|| std::net::UdpSocket::bind("127.0.0.1:53").unwrap());
    netns.run(|| {
        let target = Crowd::http(page(b"I am fine"));
        let redirecting = Crowd::http(redirect(&format!("http://target.example:{}/", target.port())));
        let globals = "checkinterval=1\nchecktimeout=3";
        let servers = redirecting.on_loopback(100);
        let mut trial = Trial::new(globals, HTTP, servers, "127.0.0.1");
        trial.start(seconds(60));
        fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
        thread::sleep(seconds(full_or(60, 12)));
        trial.assert_calm();
        let killed = trial.kill_victim();
        trial.expect_victim_out(killed, seconds(10));
        trial.assert_calm();
    });
}

/// The director's own link goes away for less than a check's deadline.
#[test]
fn a4_a_link_bounce_blames_no_server() {
    if !may_make_namespaces("a4_a_link_bounce_blames_no_server") {
        return;
    }
    let (director, network) = (NetNs::new("director"), NetNs::new("servers"));
    director.ip(&format!("link add wire type veth peer name wire netns {}", network.path()));
    director.ip("addr add 10.77.0.254/24 dev wire\nlink set wire up");
    let addresses = |host: u8| format!("addr add 10.77.0.{host}/24 dev wire\n");
    network.ip(&format!("{}link set wire up", (1..=81).map(addresses).collect::<String>()));
    let crowd = network.run(|| Crowd::http(page(b"I am fine")));
    let servers = (1..=80).map(|host| format!("10.77.0.{host}:{}", crowd.port()).parse().unwrap()).collect();
    let globals = "checkinterval=1\nchecktimeout=5";
    let mut trial = network.run(|| Trial::new(globals, HTTP, servers, "10.77.0.81"));
    director.run(|| trial.start(seconds(60)));
    for _ in 0..full_or(10, 2) {
        director.ip("link set wire down");
        thread::sleep(seconds(2));
        director.ip("link set wire up");
        thread::sleep(seconds(3));
    }
    trial.assert_calm();
    let killed = trial.kill_victim();
    trial.expect_victim_out(killed, seconds(15));
    trial.assert_calm();
}

/// The configuration is rewritten again and again, slowly and in place. Its content is the same in the end.
#[test]
fn a6_slow_rewrites_change_nothing() {
    let crowd = Crowd::http(page(b"I am fine"));
    let servers = crowd.on_loopback(20);
    let callback = tempfile::tempdir().unwrap();
    let (script, calls) = (callback.path().join("callback"), callback.path().join("calls"));
    fs::write(&script, format!("#!/bin/sh\necho called >>{}\n", calls.display())).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let globals =
        format!("checkinterval=1\nchecktimeout=2\nautoreload=yes\ncallback=\"{}\"", script.display());
    let mut trial = Trial::new(&globals, HTTP, servers, "127.0.0.1");
    trial.start(seconds(60));
    let text = trial.sandbox.text(&trial.config(&globals, HTTP));
    let half = text.len() / 2;
    let half = half + text[half..].find('\n').unwrap() + 1;
    for round in 0..full_or(100_u64, 8) {
        let mut file = fs::File::create(trial.sandbox.path("web.cf")).unwrap();
        file.write_all(&text.as_bytes()[..half]).unwrap();
        file.sync_all().unwrap();
        thread::sleep(Duration::from_millis(100 + round * 70 % 250));
        file.write_all(&text.as_bytes()[half..]).unwrap();
        drop(file);
        thread::sleep(Duration::from_millis(round * 130 % 400));
    }
    thread::sleep(seconds(4));
    trial.assert_calm();
    assert!(!trial.sandbox.log().contains("has changed on disk"), "{}", trial.sandbox.log());
    assert!(!calls.exists(), "{}", fs::read_to_string(&calls).unwrap());
    // A real change is still detected.
    trial.sandbox.write(&trial.config(&format!("{globals}\nfailurecount=1"), HTTP));
    trial.sandbox.expect_log("has changed on disk");
    let killed = trial.kill_victim();
    trial.expect_victim_out(killed, seconds(10));
    trial.assert_calm();
}

/// The log is a full pipe that no process reads.
#[test]
fn b3_a_frozen_log_stops_no_check() {
    let crowd = Crowd::http(page(b"I am fine"));
    let servers = crowd.on_loopback(20);
    let mut trial = Trial::new("checkinterval=1\nchecktimeout=2", HTTP, servers, "127.0.0.1");
    let pipe = trial.sandbox.path("log");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let non_blocking = nix::libc::O_NONBLOCK;
    let mut full = OpenOptions::new().read(true).write(true).custom_flags(non_blocking).open(&pipe).unwrap();
    assert!(full.as_raw_fd() > 2);
    while full.write(&[b'x'; 4096]).is_ok() {}
    act_within(&trial, "start", seconds(15));
    trial.settle(seconds(20));
    let before = crowd.answered();
    thread::sleep(seconds(full_or(40, 5)));
    let rounds = (crowd.answered() - before) / 20;
    assert!(rounds >= full_or(30, 3), "{rounds} rounds of checks while the log was frozen");
    trial.assert_calm();
    let killed = trial.kill_victim();
    trial.expect_victim_out(killed, seconds(10));
    trial.assert_calm();
    act_within(&trial, "stop", seconds(15));
}

/// Runs an action that must succeed within the limit. Kills it otherwise.
fn act_within(trial: &Trial, action: &str, limit: Duration) {
    let mut running = Foreground(trial.sandbox.command(&["web.cf", action]).spawn().unwrap());
    wait(&format!("the end of {action}"), limit, || match running.0.try_wait().unwrap() {
        Some(status) => {
            assert!(status.success(), "{action}: {status}");
            Ok(())
        }
        None => Err("still running".to_owned()),
    });
}

/// Servers with large and wrong answers cost little memory.
#[test]
fn b4_large_wrong_answers_cost_little_memory() {
    let crowd = Crowd::http(page(b"I am fine"));
    let count = full_or(300, 100);
    let servers = crowd.on_loopback(count);
    let mut trial = Trial::new("checkinterval=4\nchecktimeout=20", HTTP, servers, "127.0.0.1");
    trial.start(seconds(60));
    let before = resident_kilobytes(&trial);
    // Not UTF-8, so that a lossy conversion makes three bytes of each.
    crowd.reply(page(&vec![0xFF; 1024 * 1024]));
    let answered = crowd.answered();
    wait("four rounds of large answers", seconds(180), || {
        let rounds = (crowd.answered() - answered) / usize::from(count);
        if rounds >= 4 { Ok(()) } else { Err(format!("{rounds} rounds")) }
    });
    let growth = resident_kilobytes(&trial).saturating_sub(before);
    println!("  {count} servers answer 1 MiB each: {growth} kB more resident memory");
    assert!(growth < 30 * 1024, "{growth} kB more than {before} kB");
    crowd.reply(page(b"I am fine"));
    trial.settle(seconds(60));
    let killed = trial.kill_victim();
    trial.expect_victim_out(killed, seconds(30));
    trial.assert_calm();
}

/// Servers with endless answers get a verdict at their deadline, delay no other check, and cost little memory. Each
/// takes one of the places for middle bodies, and servers with larger bodies still get verdicts.
#[test]
fn b4_a9_dripping_servers_delay_no_other_check() {
    const DRIPPING: u16 = 64;
    let (small, large) = (Crowd::http(page(b"I am fine")), Crowd::http(page(&fine_and(300_000))));
    let dripping = Crowd::http_dripping(endless(&[b'.'; 20_000]));
    let healthy = [small.on_loopback(20), large.on_loopback(4)].concat();
    let globals = "checkinterval=2\nchecktimeout=3\nnegotiatetimeout=3";
    let mut trial = Trial::new(globals, HTTP, healthy, "127.0.0.1");
    trial.start(seconds(60));
    let before = resident_kilobytes(&trial);
    let mut config = trial.config(globals, HTTP) + &format!("virtual=192.0.2.3:80\n\t{HTTP}\n");
    let drippers = dripping.on_loopback(DRIPPING);
    drippers.iter().for_each(|server| config.push_str(&format!("\treal={server} masq 1\n")));
    trial.sandbox.write(&config);
    trial.sandbox.signal(Signal::SIGHUP);
    let judged = |shown: &[Shown]| -> Vec<Duration> {
        let late = |server: &&Shown| server.reason.contains("incomplete after 3 s");
        let of_these = shown.iter().filter(|server| drippers.contains(&server.address));
        of_these.filter(late).map(|server| server.took).collect()
    };
    wait("a verdict on all dripping servers", seconds(20), || match judged(&trial.shown()).len() {
        count if count == usize::from(DRIPPING) => Ok(()),
        count => Err(format!("{count} of {DRIPPING}")),
    });
    let (answered, time) = (small.answered(), seconds(full_or(120, 4)));
    let mut memory = 0;
    for _ in 0..time.as_secs() {
        thread::sleep(seconds(1));
        memory = resident_kilobytes(&trial).max(memory);
    }
    let (rounds, due) = ((small.answered() - answered) / 20, usize::try_from(time.as_secs() / 2).unwrap());
    let (growth, shown) = (memory.saturating_sub(before), trial.shown());
    let took = judged(&shown);
    let slowest = |crowd: &Crowd| {
        shown.iter().filter(|server| server.address.port() == crowd.port()).map(|server| server.took).max()
    };
    println!(
        "  {DRIPPING} dripping servers: {growth} kB more memory; judged after {:?} to {:?}; {rounds} rounds of other checks in {time:?}, \
         the slowest of the last: {:?}, with a large page {:?}",
        took.iter().min(),
        took.iter().max(),
        slowest(&small),
        slowest(&large),
    );
    assert_eq!(took.len(), usize::from(DRIPPING));
    assert!(took.iter().all(|took| *took >= seconds(3)), "{took:?}");
    assert!(rounds + 1 >= due, "{rounds} rounds of checks in {time:?}");
    assert!(slowest(&small) < Some(seconds(1)), "{:?}", slowest(&small));
    let unjudged: Vec<&Shown> = shown.iter().filter(|server| server.reason.contains("no memory")).collect();
    assert!(unjudged.is_empty(), "{} checks, for example {}", unjudged.len(), unjudged[0].reason);
    assert!(growth < 30 * 1024, "{growth} kB more than {before} kB");
    trial.assert_calm();
    let killed = trial.kill_victim();
    trial.expect_victim_out(killed, seconds(10));
    trial.assert_calm();
}

/// A body of this size that matches.
fn fine_and(size: usize) -> Vec<u8> {
    let mut body = vec![b'.'; size];
    body.extend_from_slice(b" I am fine");
    body
}

fn resident_kilobytes(trial: &Trial) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", trial.sandbox.pid().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
