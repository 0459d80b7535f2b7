//! Several daemons: reports about all of them, and long names.

use std::fs;
use std::process::Stdio;

use crate::sandbox::{Foreground, Sandbox};

const CONFIG: &str = "virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n";

/// Ends the daemons of other names, too.
struct Others<'a>(&'a Sandbox, Vec<String>);

impl Drop for Others<'_> {
    fn drop(&mut self) {
        for name in &self.1 {
            self.0.run(&[name, "stop"]);
        }
    }
}

fn said(sandbox: &Sandbox, words: &[&str]) -> (i32, String, String) {
    let output = sandbox.run(words);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn all_daemons_are_listed() {
    let sandbox = Sandbox::new(CONFIG);
    assert_eq!(
        said(&sandbox, &["status", "--all"]),
        (3, "no ldirectord is running\n".to_owned(), String::new())
    );
    let (code, _, err) = said(&sandbox, &["show"]);
    assert_eq!(code, 3);
    assert!(err.contains("ldirectord.sock"), "the default one: {err}");
    fs::write(sandbox.path("other.cf"), sandbox.text(CONFIG)).unwrap();
    let _others = Others(&sandbox, vec!["other.cf".to_owned()]);
    assert_eq!((sandbox.act("start"), said(&sandbox, &["other.cf", "start"]).0), (0, 0));
    let pid = |name: &str| {
        let text = fs::read_to_string(sandbox.path(&format!("run/ldirectord.{name}.pid"))).unwrap();
        text.trim().to_owned()
    };
    let line = |name: &str| {
        let file = sandbox.path(name).canonicalize().unwrap();
        format!("{name} is running with pid: {}, for {} (its table is in memory)", pid(name), file.display())
    };
    let expected = format!("{}\n{}\n", line("other.cf"), line("web.cf"));
    assert_eq!(said(&sandbox, &["status", "--all"]), (0, expected, String::new()));
    let (code, out, _) = said(&sandbox, &["show"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("other.cf:\n") && out.contains("\nweb.cf:\n"), "{out}");
    let (code, out, _) = said(&sandbox, &["show", "--json"]);
    assert_eq!((code, out.lines().count()), (0, 2), "one object a line: {out}");
    let name = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].clone();
    assert_eq!(out.lines().map(name).collect::<Vec<_>>(), ["other.cf", "web.cf"]);
    // The default daemon is another one, and does not run.
    assert_eq!(said(&sandbox, &["status"]).0, 3);
    // A crashed daemon is listed, and does not hide the other.
    fs::write(sandbox.path("run/ldirectord.gone.cf.pid"), "1\n").unwrap();
    let (code, out, _) = said(&sandbox, &["status", "--all"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("gone.cf is stopped; stale pid file "), "{out}");
    assert_eq!((sandbox.act("stop"), said(&sandbox, &["other.cf", "stop"]).0), (0, 0));
    assert_eq!(said(&sandbox, &["status", "--all"]).0, 1, "stale");
    let (code, out, _) = said(&sandbox, &["status", "--all", "--json"]);
    assert_eq!(code, 1, "a word too many is a warning: {out}");
}

/// A daemon that has lost its pid file and its socket is found by its lock, a daemon that was started with `-d` only
/// by its socket.
#[test]
fn all_daemons_are_listed_whatever_files_they_have() {
    let sandbox = Sandbox::new(CONFIG);
    assert_eq!(sandbox.act("start"), 0);
    fs::remove_file(sandbox.pid_file()).unwrap();
    fs::remove_file(sandbox.path("run/ldirectord-rs/web.cf.sock")).unwrap();
    fs::write(sandbox.path("debug.cf"), sandbox.text(CONFIG)).unwrap();
    let mut debug = sandbox.command(&["-d", "debug.cf", "start"]);
    let debug = Foreground(debug.stderr(Stdio::null()).spawn().unwrap());
    let listed = || said(&sandbox, &["status", "--all"]).1;
    let line = format!("debug.cf is running with pid: {}\n", debug.0.id());
    sandbox.wait_for("the list", || listed().starts_with(&line), &listed);
    assert!(listed().contains("\nweb.cf is running with pid: "), "{}", listed());
    assert_eq!(sandbox.act("stop"), 0);
    assert_eq!(listed(), line);
}

#[test]
fn the_file_of_a_daemon_is_named_where_another_one_has_its_name() {
    let sandbox = Sandbox::new(CONFIG);
    fs::create_dir(sandbox.path("conf")).unwrap();
    fs::write(sandbox.path("conf/web.cf"), sandbox.text(CONFIG)).unwrap();
    assert_eq!(sandbox.act("start"), 0);
    let file = sandbox.path("web.cf").canonicalize().unwrap().display().to_string();
    for (action, words) in [
        ("start", "was not started"),
        ("status", "runs for"),
        ("reload", "runs for"),
        ("restart", "runs for"),
    ] {
        let (code, _, err) = said(&sandbox, &["conf/web.cf", action]);
        assert_eq!(code, i32::from(action == "start"), "{action}: {err}");
        assert!(err.contains(words) && err.contains(&file), "{action}: {err}");
    }
    let (_, _, err) = said(&sandbox, &["conf/web.cf", "status"]);
    assert!(!err.contains("runs for"), "a restart has the file that was named: {err}");
    assert_eq!(sandbox.act("stop"), 0);
}

/// The path of a socket has at most 107 bytes, a file name 255.
#[test]
fn a_long_name_has_a_socket_and_one_that_is_too_long_is_refused() {
    let sandbox = Sandbox::new(CONFIG);
    let long = format!("{}.cf", "x".repeat(197));
    fs::write(sandbox.path(&long), sandbox.text(CONFIG)).unwrap();
    let _others = Others(&sandbox, vec![long.clone()]);
    assert_eq!(said(&sandbox, &[&long, "start"]).0, 0);
    let (code, out, err) = said(&sandbox, &["show", &long]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(said(&sandbox, &[&long, "status"]).0, 0);
    assert_eq!(said(&sandbox, &[&long, "stop"]).0, 0);
    assert_eq!(said(&sandbox, &["show", &long]).0, 3);
    // The longer name could not even have a pid file.
    for more in [1, 50] {
        let too_long = format!("{}{long}", "x".repeat(more));
        fs::write(sandbox.path(&too_long), sandbox.text(CONFIG)).unwrap();
        for (action, expected) in
            [("start", 1), ("restart", 1), ("try-restart", 1), ("reload", 1), ("status", 3), ("stop", 0)]
        {
            let (code, out, err) = said(&sandbox, &[&too_long, action]);
            assert_eq!(code, expected, "{more}, {action}: {out}{err}");
            let is_named = err.contains("may have 200 bytes");
            assert!(expected != 1 || action == "reload" || is_named, "{more}, {action}: {err}");
        }
    }
}
