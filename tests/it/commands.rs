//! What an operator connects to the daemon: commands, other configurations, maintenance, monitor files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::signal::Signal;

use crate::sandbox::{FALLBACK, Sandbox, WebServer, two_servers};

/// A script that appends its arguments to a file of its own name.
fn script(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.path(name);
    fs::write(&path, "#!/bin/sh\necho \"$@\" >>\"$0.calls\"\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn calls(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path(&format!("{name}.calls"))).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn expect_calls(sandbox: &Sandbox, name: &str, expected: &[&str]) {
    let found = || calls(sandbox, name);
    sandbox.wait_for(&format!("{name}: {expected:?}"), || found() == expected, &|| format!("{:?}", found()));
}

/// R27: without a shell. Quotes still group words.
#[test]
fn fallback_command_runs_for_the_last_and_the_first_server() {
    let (mut one, mut two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    let command = script(&sandbox, "fb");
    let config = two_servers(&one, &two, &format!("fallbackcommand={} -v 'a b'", command.display()));
    sandbox.write(&config);
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    // A server that comes up after another does not trigger the command.
    expect_calls(&sandbox, "fb", &["-v a b stop 192.0.2.1:80 tcp"]);
    one.stop();
    two.stop();
    let fallback = FALLBACK.parse().unwrap();
    sandbox.expect("the fallback is activated", &[(one.address, 0), (two.address, 0), (fallback, 1)]);
    expect_calls(&sandbox, "fb", &["-v a b stop 192.0.2.1:80 tcp", "-v a b start 192.0.2.1:80 tcp"]);
    assert_eq!(sandbox.act("stop"), 0);
    // B23: as with the original, the end of the daemon does not trigger it.
    assert_eq!(calls(&sandbox, "fb").len(), 2);
}

#[test]
fn b23_fallback_command_runs_at_the_end_if_configured() {
    let sandbox = Sandbox::new("");
    let command = script(&sandbox, "fb");
    sandbox.write(&format!(
        "checkinterval=1\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=connect\n\tfallbackcommand=\"{}\"\n",
        command.display()
    ));
    let start = sandbox
        .command(&["web.cf", "start"])
        .env("LDIRECTORD_RS_COMMANDS__FALLBACKCOMMAND_AT_STOP", "true")
        .output()
        .unwrap();
    assert!(start.status.success());
    expect_calls(&sandbox, "fb", &["start 192.0.2.1:80 tcp"]);
    assert_eq!(sandbox.act("stop"), 0);
    assert_eq!(calls(&sandbox, "fb"), ["start 192.0.2.1:80 tcp", "stop 192.0.2.1:80 tcp"]);
}

/// R26
#[test]
fn a_fallback_command_added_by_reload_gets_the_state() {
    let sandbox = Sandbox::new("");
    let command = script(&sandbox, "fb");
    let config = "checkinterval=1\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=connect\n";
    sandbox.write(config);
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect_log("Real server is down: 127.0.0.1:1");
    sandbox.write(&format!("{config}\tfallbackcommand={}\n", command.display()));
    sandbox.signal(Signal::SIGHUP);
    expect_calls(&sandbox, "fb", &["start 192.0.2.1:80 tcp"]);
}

#[test]
fn a_command_that_fails_or_hangs_delays_nothing_and_is_said() {
    let mut one = WebServer::start("all fine");
    let sandbox = Sandbox::new("");
    let path = sandbox.path("bad");
    fs::write(&path, "#!/bin/sh\n[ \"$1\" = stop ] || { echo no such thing; exit 3; }\nsleep 600\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write(&two_servers(&one, &one, &format!("fallbackcommand={}", path.display())));
    let start =
        sandbox.command(&["web.cf", "start"]).env("LDIRECTORD_RS_COMMANDS__TIMEOUT", "1").output().unwrap();
    assert!(start.status.success());
    sandbox.expect_log("timed out after 1s; killed its process group");
    one.stop();
    sandbox.expect_log(&format!(
        "system({} start 192.0.2.1:80 tcp) failed: exit code 3; its output: \"no such thing\"",
        path.display()
    ));
    assert_eq!(sandbox.act("stop"), 0);
}

#[test]
fn the_callback_runs_for_each_change_applied_or_not() {
    let (one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    for autoreload in ["yes", "no"] {
        let sandbox = Sandbox::new("");
        let callback = script(&sandbox, "cb");
        let more = format!("autoreload={autoreload}\ncallback=\"{}\"", callback.display());
        sandbox.write(&two_servers(&one, &two, &more));
        let told = sandbox.path("web.cf").display().to_string();
        assert_eq!(sandbox.act("start"), 0);
        sandbox.write(&two_servers(&one, &two, &format!("{more}\nchecktimeout=3")));
        expect_calls(&sandbox, "cb", &[&told]);
        // Also for a change to a wrong file.
        sandbox.write("nonsense=yes\n");
        expect_calls(&sandbox, "cb", &[&told, &told]);
        // A reload by signal is not a change.
        let before = sandbox.log().len();
        sandbox.signal(Signal::SIGHUP);
        sandbox.wait_for("a reload", || sandbox.log()[before..].contains("was not reloaded"), &String::new);
        assert_eq!(calls(&sandbox, "cb").len(), 2);
    }
}

#[test]
fn a_callback_that_cannot_be_run_is_said() {
    let (one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    sandbox.write(&two_servers(&one, &two, "callback=\"/etc/passwd\""));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.write(&two_servers(&one, &two, "callback=\"/etc/passwd\"\nchecktimeout=3"));
    sandbox.expect_log("callback /etc/passwd is not run: it is not an executable file");
}

#[test]
fn other_configurations_start_reload_and_stop_with_this_one() {
    let (one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    let child = |name: &str| {
        let text = two_servers(&one, &two, "").replace("192.0.2.1:80", "192.0.2.2:80");
        fs::write(
            sandbox.path(&format!("ha.d/{name}")),
            format!("logfile=\"{}\"\n{text}", sandbox.path(name).display()),
        )
        .unwrap();
    };
    let pid_file = |name: &str| sandbox.path(&format!("run/ldirectord.{name}.pid"));
    let wait = |what: &str, done: &dyn Fn() -> bool| sandbox.wait_for(what, done, &String::new);
    child("first.cf");
    child("second.cf");
    // R28: of configurations that name each other in a circle, each is started once.
    let first = sandbox.path("ha.d/first.cf");
    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, format!("execute=web.cf\n{text}")).unwrap();
    sandbox.write(&two_servers(&one, &two, "execute=first.cf\nexecute=\"web.cf\""));
    assert_eq!(sandbox.act("start"), 0);
    wait("the other daemon", &|| pid_file("first.cf").exists());
    // It does not start itself again.
    sandbox.expect_log("execute=\"web.cf\" is ignored");
    wait("its log", &|| {
        fs::read_to_string(sandbox.path("first.cf")).is_ok_and(|log| log.contains("as daemon"))
    });
    let (code, _, stderr) = sandbox.told("status");
    assert_eq!(code, 0);
    assert!(stderr.contains("first.cf is running with pid"), "{stderr}");

    sandbox.write(&two_servers(&one, &two, "execute=first.cf\nexecute=second.cf"));
    sandbox.signal(Signal::SIGHUP);
    wait("the second daemon", &|| pid_file("second.cf").exists());
    wait("a reload of the first", &|| {
        fs::read_to_string(sandbox.path("first.cf")).is_ok_and(|log| log.contains("config on signal"))
    });

    sandbox.write(&two_servers(&one, &two, "execute=second.cf"));
    sandbox.signal(Signal::SIGHUP);
    wait("the end of the first daemon", &|| !pid_file("first.cf").exists());
    assert_eq!(sandbox.act("stop"), 0);
    assert!(!pid_file("second.cf").exists(), "the end waits for the other daemons");
}

/// R29
#[test]
fn a_server_is_in_maintenance_from_start_until_file_is_gone() {
    let (one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    let directory = sandbox.path("maintenance");
    fs::create_dir(&directory).unwrap();
    let (first, second) = (directory.join(one.address.to_string()), directory.join("127.0.0.1"));
    fs::write(&first, "").unwrap();
    sandbox.write(&two_servers(
        &one,
        &two,
        &format!("failurecount=3\nmaintenancedir={}", directory.display()),
    ));
    assert_eq!(sandbox.run(&["check", "web.cf"]).status.code(), Some(0), "maintenance is not a failure");
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("the other one is up", &[(one.address, 0), (two.address, 3)]);
    fs::write(&second, "").unwrap();
    let fallback = FALLBACK.parse().unwrap();
    sandbox.expect("both are out", &[(one.address, 0), (two.address, 0), (fallback, 1)]);
    fs::remove_file(&second).unwrap();
    sandbox.expect("one is back", &[(one.address, 0), (two.address, 3)]);
    assert!(!sandbox.log().contains(&format!("Real server is up: {}", one.address)));
    fs::remove_file(&first).unwrap();
    sandbox.expect("both are back", &[(one.address, 1), (two.address, 3)]);
    assert!(sandbox.log().contains(&format!("Server in maintenance: {} exists", first.display())));
}

#[test]
fn a_reload_with_unreadable_directory_ends_no_maintenance() {
    let (one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    let directory = sandbox.path("maintenance");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join(one.address.to_string()), "").unwrap();
    let more = format!("maintenancedir={}", directory.display());
    sandbox.write(&two_servers(&one, &two, &more));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("the other one is up", &[(one.address, 0), (two.address, 3)]);
    // A path that is not a directory cannot be read, even by root. Replaced in one step: a missing directory means
    // that no server is in maintenance.
    let file = sandbox.path("file");
    fs::write(&file, "").unwrap();
    renameat2(AT_FDCWD, &directory, AT_FDCWD, &file, RenameFlags::RENAME_EXCHANGE).unwrap();
    let config = two_servers(&one, &two, &more).replace("masq 3", "masq 4");
    sandbox.write(&config);
    sandbox.signal(Signal::SIGHUP);
    sandbox.expect("only the other one has changed", &[(one.address, 0), (two.address, 4)]);
    sandbox.expect_log("cannot be read: not a directory; servers in maintenance stay in maintenance");
    assert!(!sandbox.log().contains(&format!("Real server is up: {}", one.address)), "{}", sandbox.log());
    fs::remove_file(&directory).unwrap();
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 4)]);
}

#[test]
fn b1_start_says_that_maintenancedir_cannot_be_read() {
    let (one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    let directory = sandbox.path("maintenance");
    // What is not a directory cannot be read, even by root.
    fs::write(&directory, "").unwrap();
    sandbox.write(&two_servers(&one, &two, &format!("maintenancedir={}", directory.display())));
    let (code, _, told) = sandbox.told("start");
    let words =
        format!("maintenancedir {} cannot be read: not a directory; 0 real servers", directory.display());
    assert!(code == 0 && told.contains(&words), "{code} {told}");
    sandbox.expect_log(&words);
    fs::remove_file(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("nobody"), "").unwrap();
    sandbox.expect_log("can be read again");
    sandbox.expect_log("the file \"nobody\" has no effect");
    assert_eq!(sandbox.log().matches("cannot be read").count(), 1, "{}", sandbox.log());
}

#[test]
fn r30_unwritable_monitor_file_is_logged_once_stops_nothing() {
    let (one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    let monitor = sandbox.path("absent/monitor");
    sandbox.write(&format!("{}\tmonitorfile={}\n", two_servers(&one, &two, ""), monitor.display()));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    sandbox.expect_log("cannot be written");
    fs::create_dir(sandbox.path("absent")).unwrap();
    sandbox.wait_for("lines", || monitor.exists(), &String::new);
    sandbox.expect_log("can be written again");
    assert_eq!(sandbox.log().matches("cannot be written").count(), 1);
}

#[test]
fn every_check_is_a_line_of_the_monitor_file() {
    let (one, mut two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    let monitor = sandbox.path("monitor");
    let config = format!("{}\tmonitorfile={}\n", two_servers(&one, &two, ""), monitor.display());
    sandbox.write(&config);
    assert_eq!(sandbox.act("start"), 0);
    let has = |line: String| {
        let text = || fs::read_to_string(&monitor).unwrap_or_default();
        sandbox.wait_for(&line, || text().lines().any(|l| l.ends_with(&line)), &|| text());
    };
    let server = |address: std::net::SocketAddr| address.to_string().replace(':', " ");
    has(format!("negotiate http tcp {} 1 masq /health fine [up] 200 OK", server(one.address)));
    has(format!("negotiate http tcp {} 3 masq /health fine [up] 200 OK", server(two.address)));
    two.stop();
    two.serve("all | lost\n");
    has(format!("negotiate http tcp {} 3 masq /health fine [down] all %7c lost%0a", server(two.address)));
    // It may be moved away at any time.
    fs::rename(&monitor, sandbox.path("monitor.1")).unwrap();
    has(format!("negotiate http tcp {} 1 masq /health fine [up] 200 OK", server(one.address)));
    let first = fs::read_to_string(sandbox.path("monitor.1")).unwrap();
    let stamp = first.lines().next().unwrap().split(']').next().unwrap();
    assert!(stamp.starts_with('[') && stamp.len() == "[Mon Nov 23 22:50:55 2026".len(), "{stamp}");
}
