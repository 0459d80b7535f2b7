//! A dry run on the in-memory table: it logs what it would send and run, and does neither.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::sandbox::{Sandbox, WebServer, two_servers};

/// A script that appends its arguments to a file of its own name.
fn script(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.path(name);
    fs::write(&path, "#!/bin/sh\necho \"$@\" >>\"$0.calls\"\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The program as an operator starts it, without a setting that enables actions.
fn dry(sandbox: &Sandbox, words: &[&str]) -> Command {
    let mut command = sandbox.command(&[&["--table", "memory"], words].concat());
    command.env_remove("LDIRECTORD_RS_TABLE__BACKEND").env_remove("LDIRECTORD_RS_TABLE__ACT");
    command
}

/// A configuration with everything that acts outside the daemon, and two servers.
fn reaching(sandbox: &Sandbox, one: &WebServer, two: &WebServer, relay: &TcpListener) -> String {
    let more = format!(
        "smtp=127.0.0.1:{}\nemailalert=a@one.example\nfallbackcommand={} -p secret\ncallback=\"{}\"\nexecute=other.cf",
        relay.local_addr().unwrap().port(),
        script(sandbox, "fb").display(),
        script(sandbox, "cb").display()
    );
    two_servers(one, two, &more)
}

fn was_called(sandbox: &Sandbox, name: &str) -> bool {
    sandbox.path(&format!("{name}.calls")).exists()
}

#[test]
fn a_dry_run_logs_mail_and_commands_and_does_neither() {
    let (mut one, mut two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = relay.local_addr().unwrap().port();
    let sandbox = Sandbox::new("");
    let config = reaching(&sandbox, &one, &two, &relay);
    sandbox.write(&config);
    fs::write(sandbox.path("ha.d/other.cf"), "").unwrap();
    assert!(dry(&sandbox, &["web.cf", "start"]).status().unwrap().success());
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    sandbox.expect_log("would run ");
    let fb = sandbox.path("fb").display().to_string();
    sandbox
        .expect_log(&format!("fallbackcommand of tcp:192.0.2.1:80: would run {fb} … stop 192.0.2.1:80 tcp"));
    sandbox.expect_log("execute=other.cf: would run ");
    one.stop();
    two.stop();
    sandbox.expect_log(&format!("would run {fb} … start 192.0.2.1:80 tcp"));
    sandbox.expect_log(&format!(
        "would mail to a@one.example (relay 127.0.0.1 port {port}): Quiescent real server: {}",
        one.address
    ));
    sandbox.write(&format!("{config}# changed\n"));
    sandbox.expect_log(&format!(
        "callback: would run {} {}",
        sandbox.path("cb").display(),
        sandbox.path("web.cf").display()
    ));
    sandbox.signal(Signal::SIGHUP);
    assert_eq!(sandbox.act("stop"), 0);
    assert!(!was_called(&sandbox, "fb") && !was_called(&sandbox, "cb"), "{}", sandbox.log());
    assert!(!sandbox.path("run/ldirectord.other.cf.pid").exists());
    relay.set_nonblocking(true).unwrap();
    assert!(relay.accept().is_err(), "a session with the relay");
    assert!(!sandbox.log().contains("secret"), "{}", sandbox.log());
}

#[test]
fn run_commands_runs_them_and_sends_no_mail() {
    let (one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let sandbox = Sandbox::new("");
    sandbox.write(&reaching(&sandbox, &one, &two, &relay).replace("execute=other.cf", ""));
    assert!(dry(&sandbox, &["--run-commands", "web.cf", "start"]).status().unwrap().success());
    sandbox.wait_for("the command", || was_called(&sandbox, "fb"), &|| sandbox.log());
    sandbox.expect_log("would mail to a@one.example");
    assert_eq!(sandbox.act("stop"), 0);
    relay.set_nonblocking(true).unwrap();
    assert!(relay.accept().is_err(), "a session with the relay");
}

#[test]
fn a_dry_run_gives_no_message_to_sendmail() {
    let sandbox = Sandbox::new(
        "emailalert=root@localhost\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n",
    );
    let sendmail = script(&sandbox, "sendmail");
    let mut start = dry(&sandbox, &["web.cf", "start"]);
    assert!(start.env("LDIRECTORD_RS_MAIL__SENDMAIL", &sendmail).status().unwrap().success());
    sandbox
        .expect_log(&format!("would mail to root@localhost ({}): Added real server: ", sendmail.display()));
    assert_eq!(sandbox.act("stop"), 0);
    assert!(!was_called(&sandbox, "sendmail"));
}

#[test]
fn external_checks_of_a_dry_run_are_unknown_until_asked_for() {
    for checktype in ["external", "external-perl"] {
        let sandbox = Sandbox::new("");
        let command = script(&sandbox, "chk");
        fs::write(sandbox.path("chk.pl"), "open(F, '>>', \"$0.calls\"); exit 0;\n").unwrap();
        let command = if checktype == "external" { command } else { sandbox.path("chk.pl") };
        let calls = sandbox.path(&format!("{}.calls", command.file_name().unwrap().to_str().unwrap()));
        sandbox.write(&format!(
            "checkinterval=1\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype={checktype}\n\tcheckcommand={}\n",
            command.display()
        ));
        let reason = "not run: the table is in memory (a dry run); --run-commands runs external checks";
        let output = dry(&sandbox, &["check", "web.cf"]).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{out}");
        assert!(out.contains("UNKNOWN"), "{out}");
        assert!(dry(&sandbox, &["web.cf", "start"]).status().unwrap().success());
        sandbox.expect_log(reason);
        assert!(!sandbox.log().contains("is down"), "{}", sandbox.log());
        assert_eq!(sandbox.act("stop"), 0);
        assert!(!calls.exists(), "{checktype}");
        // With the option they run as usual.
        let output = dry(&sandbox, &["--run-commands", "check", "web.cf"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(calls.exists(), "{checktype}");
    }
}
