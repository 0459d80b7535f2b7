//! A dry run on the in-memory table: it logs what it would send and run, and does neither.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::sandbox::{Sandbox, WebServer, two_servers};

/// A script that appends its arguments to a file of its own name.
fn script(site: &Sandbox, name: &str) -> PathBuf {
    let path = site.path(name);
    fs::write(&path, "#!/bin/sh\necho \"$@\" >>\"$0.calls\"\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The program as an operator starts it, without a setting that enables actions.
fn dry(site: &Sandbox, words: &[&str]) -> Command {
    let mut command = site.command(&[&["--table", "memory"], words].concat());
    command.env_remove("LDIRECTORD_RS_TABLE__BACKEND").env_remove("LDIRECTORD_RS_TABLE__ACT");
    command
}

/// A configuration with everything that acts outside the daemon, and two servers.
fn reaching(site: &Sandbox, one: &WebServer, two: &WebServer, relay: &TcpListener) -> String {
    let more = format!(
        "smtp=127.0.0.1:{}\nemailalert=a@one.example\nfallbackcommand={} -p secret\ncallback=\"{}\"\nexecute=other.cf",
        relay.local_addr().unwrap().port(),
        script(site, "fb").display(),
        script(site, "cb").display()
    );
    two_servers(one, two, &more)
}

fn was_called(site: &Sandbox, name: &str) -> bool {
    site.path(&format!("{name}.calls")).exists()
}

#[test]
fn a_dry_run_logs_mail_and_commands_and_does_neither() {
    let (mut one, mut two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = relay.local_addr().unwrap().port();
    let site = Sandbox::new("");
    let config = reaching(&site, &one, &two, &relay);
    site.write(&config);
    fs::write(site.path("ha.d/other.cf"), "").unwrap();
    assert!(dry(&site, &["web.cf", "start"]).status().unwrap().success());
    site.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    site.expect_log("would run ");
    let fb = site.path("fb").display().to_string();
    site.expect_log(&format!("fallbackcommand of tcp:192.0.2.1:80: would run {fb} … stop 192.0.2.1:80 tcp"));
    site.expect_log("execute=other.cf: would run ");
    one.stop();
    two.stop();
    site.expect_log(&format!("would run {fb} … start 192.0.2.1:80 tcp"));
    site.expect_log(&format!(
        "would mail to a@one.example (relay 127.0.0.1 port {port}): Quiescent real server: {}",
        one.address
    ));
    site.write(&format!("{config}# changed\n"));
    site.expect_log(&format!(
        "callback: would run {} {}",
        site.path("cb").display(),
        site.path("web.cf").display()
    ));
    site.signal(Signal::SIGHUP);
    assert_eq!(site.act("stop"), 0);
    assert!(!was_called(&site, "fb") && !was_called(&site, "cb"), "{}", site.log());
    assert!(!site.path("run/ldirectord.other.cf.pid").exists());
    relay.set_nonblocking(true).unwrap();
    assert!(relay.accept().is_err(), "a session with the relay");
    assert!(!site.log().contains("secret"), "{}", site.log());
}

#[test]
fn run_commands_runs_them_and_sends_no_mail() {
    let (one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Sandbox::new("");
    site.write(&reaching(&site, &one, &two, &relay).replace("execute=other.cf", ""));
    assert!(dry(&site, &["--run-commands", "web.cf", "start"]).status().unwrap().success());
    site.wait_for("the command", || was_called(&site, "fb"), &|| site.log());
    site.expect_log("would mail to a@one.example");
    assert_eq!(site.act("stop"), 0);
    relay.set_nonblocking(true).unwrap();
    assert!(relay.accept().is_err(), "a session with the relay");
}

#[test]
fn a_dry_run_gives_no_message_to_sendmail() {
    let site = Sandbox::new(
        "emailalert=root@localhost\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n",
    );
    let sendmail = script(&site, "sendmail");
    let mut start = dry(&site, &["web.cf", "start"]);
    assert!(start.env("LDIRECTORD_RS_MAIL__SENDMAIL", &sendmail).status().unwrap().success());
    site.expect_log(&format!("would mail to root@localhost ({}): Added real server: ", sendmail.display()));
    assert_eq!(site.act("stop"), 0);
    assert!(!was_called(&site, "sendmail"));
}

#[test]
fn external_checks_of_a_dry_run_are_unknown_until_asked_for() {
    for checktype in ["external", "external-perl"] {
        let site = Sandbox::new("");
        let command = script(&site, "chk");
        fs::write(site.path("chk.pl"), "open(F, '>>', \"$0.calls\"); exit 0;\n").unwrap();
        let command = if checktype == "external" { command } else { site.path("chk.pl") };
        let calls = site.path(&format!("{}.calls", command.file_name().unwrap().to_str().unwrap()));
        site.write(&format!(
            "checkinterval=1\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype={checktype}\n\tcheckcommand={}\n",
            command.display()
        ));
        let reason = "not run: the table is in memory (a dry run); --run-commands runs external checks";
        let output = dry(&site, &["check", "web.cf"]).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{out}");
        assert!(out.contains("UNKNOWN"), "{out}");
        assert!(dry(&site, &["web.cf", "start"]).status().unwrap().success());
        site.expect_log(reason);
        assert!(!site.log().contains("is down"), "{}", site.log());
        assert_eq!(site.act("stop"), 0);
        assert!(!calls.exists(), "{checktype}");
        // With the option they run as usual.
        let output = dry(&site, &["--run-commands", "check", "web.cf"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(calls.exists(), "{checktype}");
    }
}
