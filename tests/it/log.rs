//! A hanging log and a full disk: the checks continue.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;

use crate::sandbox::{Foreground, Sandbox, WebServer, two_servers};

/// Far more than anything here takes, and far less than a hanging log.
const PROMPT: Duration = Duration::from_secs(15);

/// R86
#[test]
fn b3_a_log_that_hangs_stops_neither_start_nor_checks_nor_stop() {
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new("");
    let pipe = sandbox.path("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    sandbox.write(&two_servers(&one, &two, &format!("logfile=\"{}\"", pipe.display())));
    let start = Instant::now();
    let (code, out, errors) = sandbox.told("start");
    assert_eq!((code, out.as_str(), errors.as_str()), (0, "", ""));
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    one.stop();
    sandbox.expect("a failed server is out of rotation", &[(one.address, 0), (two.address, 3)]);
    let stop = Instant::now();
    assert_eq!(sandbox.act("stop"), 0);
    assert!(stop.elapsed() < PROMPT, "{:?}", stop.elapsed());
    assert_eq!(sandbox.pid(), None);
}

/// A report, and thus a line in the log of the active configuration.
fn reported(sandbox: &Sandbox) -> bool {
    sandbox.signal(nix::sys::signal::Signal::SIGUSR1);
    false
}

#[test]
fn b3_a_reload_leads_the_log_away_from_a_place_that_hangs() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new("");
    let pipe = sandbox.path("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    sandbox.write(&two_servers(&one, &two, &format!("logfile=\"{}\"", pipe.display())));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    sandbox.write(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("reload"), 0);
    sandbox.wait_for("the new log", || sandbox.path("log").exists() || reported(&sandbox), &String::new);
    assert_eq!(sandbox.act("stop"), 0);
    sandbox.expect_log("terminated on signal: TERM");
}

/// Output is lost, as on a full disk. That matters only for an answer that was asked for.
#[test]
fn b3_what_cannot_be_printed_ends_no_action() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    // Something to warn about.
    fs::set_permissions(sandbox.path("web.cf"), Permissions::from_mode(0o666)).unwrap();
    let unprinted = |words: &[&str]| {
        let full = || File::options().write(true).open("/dev/full").unwrap();
        let status = sandbox.command(words).stdout(full()).stderr(full()).status().unwrap();
        status.code().unwrap()
    };
    assert_eq!(unprinted(&["web.cf", "start"]), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    assert_eq!(unprinted(&["web.cf", "status"]), 0);
    assert_eq!(unprinted(&["web.cf", "reload"]), 0);
    assert_eq!(unprinted(&["show", "web.cf"]), 1);
    assert_eq!(unprinted(&["web.cf", "stop"]), 0);
    assert_eq!(unprinted(&["web.cf", "status"]), 3);
    assert_eq!(unprinted(&["-h"]), 1);
}

/// No file can grow, as on a full disk, and each attempt raises a signal that ends an unprepared process.
#[test]
fn b3_a_full_disk_refuses_no_start() {
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let own = sandbox.command(&["--foreground", "web.cf", "start"]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -f 0; exec \"$0\" \"$@\""]).arg(own.get_program()).args(own.get_args());
    command.current_dir(own.get_current_dir().unwrap_or(Path::new("/")));
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let daemon = Foreground(command.spawn().unwrap());
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    one.stop();
    sandbox.expect("a failed server is out of rotation", &[(one.address, 0), (two.address, 3)]);
    assert_eq!(sandbox.pid(), None);
    // Space is free again.
    let pid = daemon.0.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap().success());
    sandbox.wait_for("the pid file", || sandbox.pid().is_some(), &String::new);
    sandbox.expect_log("log lines before this one could not be written: File too large");
    assert_eq!(sandbox.act("stop"), 0);
}
