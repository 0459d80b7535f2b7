//! Commands that ask a daemon and change nothing, as scripts and monitoring systems use them.

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::sandbox::{Foreground, Sandbox, WebServer, two_servers};

/// Exit code, standard output and standard error.
fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const SERVICE: &str = "tcp:192.0.2.1:80";

#[test]
fn is_up_has_an_exit_code_for_each_answer() {
    let (one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let is_up = |more: &[&str]| told(sandbox.run(&[&["is-up", SERVICE, "-c", "web.cf"], more].concat()));
    let (code, out, err) = is_up(&[]);
    assert!(code == 3 && out.is_empty() && err.starts_with("no daemon for "), "{code} {out}{err}");
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    let line = |text: &str| format!("{SERVICE} {text}\n");
    assert_eq!(is_up(&["--min", "2"]), (0, line("is up: 2 of 2 servers in rotation"), String::new()));
    let many = line("is not up: 2 of 2 servers in rotation, 3 needed");
    assert_eq!(is_up(&["--min=3"]), (1, many, String::new()));
    let (code, out, err) = is_up(&["udp:192.0.2.9:53", "nonsense"]);
    assert!(code == 2 && out.matches('\n').count() == 1 && err.is_empty(), "{code} {out}{err}");
    assert!(out.contains("udp:192.0.2.9:53 is unknown") && out.contains("nonsense is unknown"), "{out}");
    // The configuration may come first, as with the other commands.
    assert_eq!(told(sandbox.run(&["web.cf", "is-up", SERVICE])).0, 0);
    two.stop();
    sandbox.expect("one is down", &[(one.address, 1), (two.address, 0)]);
    assert_eq!(is_up(&["--min", "50%"]).0, 0);
    let few = line("is not up: 1 of 2 servers in rotation, 2 needed");
    assert_eq!(is_up(&["--min", "51%"]), (1, few, String::new()));
    assert_eq!(told(sandbox.run(&["is-up", "-c", "web.cf"])).0, 255);
    assert_eq!(told(sandbox.run(&["is-up", SERVICE, "--min", "all"])).0, 255);
}

/// A cluster manager must not move the address to another machine because of a restart.
#[test]
fn is_up_and_show_wait_for_the_next_daemon() {
    static COUNTS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = |words: &'static [&'static str], count: &'static AtomicUsize| {
            let (sandbox, done) = (&sandbox, &done);
            move || {
                while !done.load(Ordering::SeqCst) {
                    let (code, out, err) = told(sandbox.run(words));
                    // The table in memory of the new daemon is empty until its first checks.
                    assert!(code == 0 || code == 1 && out.contains("is not up"), "{code} {out}{err}");
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        let threads = [
            scope.spawn(asking(&["is-up", SERVICE, "-c", "web.cf"], &COUNTS[0])),
            scope.spawn(asking(&["show", "web.cf", "--json"], &COUNTS[1])),
        ];
        // A command that waits may need more than one restart.
        let is_enough = || COUNTS.iter().all(|count| count.load(Ordering::SeqCst) > 5);
        while !is_enough() && !threads.iter().any(ScopedJoinHandle::is_finished) {
            assert_eq!(sandbox.act("restart"), 0);
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn plugin_is_a_line_with_performance_data() {
    let (one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let plugin = |more: &[&str]| {
        let (code, out, err) = told(sandbox.run(&[&["web.cf", "plugin"], more].concat()));
        assert!(out.matches('\n').count() == 1 && err.is_empty(), "{out}{err}");
        (code, out)
    };
    let (code, out) = plugin(&[]);
    assert!(code == 2 && out.starts_with("LDIRECTORD CRITICAL: no daemon for "), "{code} {out}");
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    let good =
        format!("LDIRECTORD OK: 2 of 2 servers in rotation in 1 virtual service | '{SERVICE}'=2;2:;1:;0;2\n");
    assert_eq!(plugin(&[]), (0, good));
    two.stop();
    sandbox.expect("one is down", &[(one.address, 1), (two.address, 0)]);
    let (code, out) = plugin(&[]);
    let down =
        format!("LDIRECTORD WARNING: {SERVICE} has 1 of 2 servers in rotation ({} down) | ", two.address);
    assert!(code == 1 && out.starts_with(&down), "{code} {out}");
    assert_eq!(plugin(&["-w", "1"]).0, 0);
    assert_eq!(plugin(&["-w", "1", "-c", "51%", SERVICE]).0, 2);
    let (code, out) = plugin(&["tcp:192.0.2.9:80"]);
    let unknown = "LDIRECTORD UNKNOWN: the daemon has no virtual service tcp:192.0.2.9:80\n";
    assert_eq!((code, out.as_str()), (3, unknown));
    let (code, out) = plugin(&["-w", "all"]);
    assert!(code == 3 && out.starts_with("LDIRECTORD UNKNOWN: plugin: invalid value 'all'"), "{code} {out}");
}

#[test]
fn events_follow_the_daemon_until_the_reader_ends() {
    let (one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(told(sandbox.run(&["events", "-c", "web.cf"])).0, 3);
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    let follow = |words: &[&str]| {
        let mut child = Foreground(sandbox.command(words).stdout(Stdio::piped()).spawn().unwrap());
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let (mut text, mut text_lines) = follow(&["events", "-c", "web.cf"]);
    let (mut json, mut json_lines) = follow(&["web.cf", "events", "--json"]);
    // The reader of this one goes away before an event comes.
    let (mut closed, lines) = follow(&["web.cf", "events"]);
    drop(lines);
    assert_eq!(closed.0.wait().unwrap().code(), Some(0));
    let address = two.address;
    // A process may not follow yet: the server goes down again and again until both have printed it.
    let down = format!(" Real server is down: {address} ({SERVICE}): ");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let found = scope.spawn(|| {
            let found = (
                text_lines.any(|line| line.unwrap().contains(&down)),
                json_lines.any(|line| {
                    let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
                    event["event"] == "down" && event["server"] == address.to_string()
                }),
            );
            done.store(true, Ordering::SeqCst);
            found
        });
        while !done.load(Ordering::SeqCst) {
            two.stop();
            sandbox.expect("one is down", &[(one.address, 1), (address, 0)]);
            two.serve("I am fine");
            sandbox.expect("both are up", &[(one.address, 1), (address, 3)]);
        }
        assert_eq!(found.join().unwrap(), (true, true));
    });
    kill(Pid::from_raw(text.0.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(text.0.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.act("stop"), 0);
    assert_eq!(json.0.wait().unwrap().code(), Some(3));
}
