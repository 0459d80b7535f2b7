//! start, stop, restart, status: exit codes, messages, files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::sandbox::{FALLBACK, Foreground, Sandbox, WebServer, two_servers};

#[test]
fn a_life_from_start_to_stop() {
    let (mut one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let fallback = FALLBACK.parse().unwrap();
    assert_eq!(sandbox.told("status").0, 3);
    assert_eq!(sandbox.act("start"), 0);
    // It is ready: the servers are in the table already.
    let both = [(one.address, 1), (two.address, 3)];
    sandbox.expect("both are up", &both);
    let (code, out, err) = sandbox.told("status");
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains(&format!("is running with pid: {}", sandbox.pid().unwrap())), "{err}");

    one.stop();
    sandbox.expect("the first is down", &[(one.address, 0), (two.address, 3)]);
    sandbox.expect_log(&format!("Quiescent real server: {} (192.0.2.1:80) (Weight set to 0)", one.address));
    two.stop();
    sandbox.expect("all are down", &[(one.address, 0), (two.address, 0), (fallback, 1)]);
    sandbox.expect_log("Added fallback server: 127.0.0.9:80 (192.0.2.1:80) (Weight set to 1)");
    one.serve("I am fine");
    two.serve("I am fine");
    sandbox.expect("all are up again", &both);
    sandbox.expect_log("Deleted fallback server: 127.0.0.9:80 (192.0.2.1:80)");

    assert_eq!(sandbox.told("stop"), (0, String::new(), String::new()));
    assert!(!sandbox.pid_file().exists());
    let left = |folder: &str| fs::read_dir(sandbox.path(folder)).unwrap().count();
    assert_eq!((left("run"), left("run/ldirectord-rs")), (1, 0), "files are left behind");
    assert!(sandbox.log().contains("Purged virtual server (stop): 192.0.2.1:80"));
    assert!(sandbox.log().contains("Linux Director Daemon terminated on signal: TERM"));
    assert_eq!(sandbox.act("stop"), 0);
}

/// A dry run needs neither the directories of its files nor the right to drop privileges.
#[test]
fn a_dry_run_needs_no_directory_of_its_own() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:80 masq\n\tchecktype=on\n");
    let said = fs::File::create(sandbox.path("said")).unwrap();
    let mut child = sandbox
        .command(&["-d", "web.cf", "start"])
        .env("LDIRECTORD_RS_PATHS__RUN", "/proc/nowhere")
        .stderr(said)
        .spawn()
        .unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(sandbox.path("said")).unwrap();
        if text.contains("Added virtual server") {
            assert!(text.contains("/proc/nowhere/ldirectord-rs cannot be created"), "{text}");
            break;
        }
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < limit, "{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_wrong_file_is_told_whole_and_touches_nothing() {
    let sandbox = Sandbox::new("checkinterval=0\nnonsense=1\nvirtual=10.0.0.1:80\n\treal=10.0.0.2 gat\n");
    let (code, out, err) = sandbox.told("start");
    assert_eq!((code, out.as_str()), (2, ""));
    for line in [2, 3, 5] {
        assert!(err.contains(&format!("web.cf at line {line}: ")), "line {line} is missing in\n{err}");
    }
    assert_eq!(fs::read_dir(sandbox.path("run")).unwrap().count(), 0);
    assert_eq!(sandbox.told("reload").0, 2);
    assert_eq!(sandbox.told("restart").0, 2);
}

#[test]
fn a_log_that_cannot_be_written_is_told_at_the_start() {
    // R17
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    fs::create_dir(sandbox.path("log")).unwrap();
    let (code, _, err) = sandbox.told("start");
    assert_eq!(code, 0);
    assert!(err.starts_with("unable to open logfile: "), "{err}");
    fs::remove_dir(sandbox.path("log")).unwrap();
    assert_eq!(sandbox.act("stop"), 0);
    assert!(sandbox.log().contains("terminated on signal"), "it writes as soon as it can");
}

#[test]
fn the_log_is_the_daemons_alone_and_survives_rotation() {
    // L02, L03
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect_log("Added real server");
    assert!(sandbox.log().contains("Starting Linux Director (ldirectord-rs "), "{}", sandbox.log());
    let before = sandbox.log();
    assert_eq!(sandbox.told("status").0, 0);
    assert_eq!(sandbox.log(), before);
    fs::rename(sandbox.path("log"), sandbox.path("log.1")).unwrap();
    sandbox.signal(Signal::SIGHUP);
    sandbox.expect_log("Reloading Linux Director Daemon config on signal");
    assert_eq!(sandbox.act("stop"), 0);
    assert!(sandbox.log().contains("terminated on signal: TERM"));
}

#[test]
fn without_a_file() {
    let sandbox = Sandbox::new("");
    fs::remove_file(sandbox.path("web.cf")).unwrap();
    for action in ["start", "restart", "try-restart", "reload"] {
        let (code, _, err) = sandbox.told(action);
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!((code, &lines[..2]), (1, &["Config file web.cf not found", ""][..]), "{action}");
        let places = ["ha.d/web.cf", "ha.d/conf/web.cf", "web.cf"]
            .map(|place| sandbox.path(place).display().to_string());
        assert_eq!(lines[2], format!("searched: {}", places.join(", ")), "{action}");
        assert!(lines[3].contains("/usr/share/doc/ldirectord-rs/examples/ldirectord.cf"), "{action}: {err}");
    }
    // B02: a running daemon can be queried and stopped, whatever happened to its file.
    assert_eq!(sandbox.told("status"), (3, "ldirectord is stopped for web.cf\n".to_owned(), String::new()));
    assert_eq!(sandbox.act("stop"), 0);
}

#[test]
fn exit_codes_while_stopped() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    assert_eq!(sandbox.told("reload").0, 1);
    assert_eq!(sandbox.told("force-reload").0, 1);
    assert_eq!(sandbox.told("try-restart").0, 0);
    assert!(!sandbox.pid_file().exists());
    // A pid file of an ended process, of another program, and an empty pid file.
    fs::write(sandbox.pid_file(), "1\n").unwrap();
    let (code, out, err) = sandbox.told("status");
    assert_eq!(code, 1);
    assert!(out.starts_with("ldirectord is stopped for "), "{out}");
    assert!(err.starts_with("ldirectord stale pid file "), "{err}");
    fs::write(sandbox.pid_file(), "").unwrap();
    assert_eq!(sandbox.told("status").0, 3);
    assert_eq!(sandbox.act("start"), 0);
    assert_eq!(sandbox.told("status").0, 0);
    assert_eq!(sandbox.act("stop"), 0);
}

/// The fastest of many runs, because the machine may be busy. The content of the file does not matter.
#[test]
fn status_answers_at_once() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    let check = |what: &str, code: i32| {
        let mut times: Vec<Duration> = (0..15)
            .map(|_| {
                let begin = Instant::now();
                assert_eq!(sandbox.told("status").0, code, "{what}");
                begin.elapsed()
            })
            .collect();
        times.sort();
        assert!(times[0] < Duration::from_millis(100), "{what}: {times:?}");
    };
    check("stopped", 3);
    assert_eq!(sandbox.act("start"), 0);
    check("running", 0);
    sandbox.write("nonsense\n");
    check("running with a broken file", 0);
    // A name that only a name server could know.
    sandbox.write(
        "virtual=192.0.2.1:80\n\treal=a.server.invalid:80 masq\n\treal=another.server.invalid:80 masq\n",
    );
    check("running with names", 0);
    assert!(!sandbox.told("status").2.contains("now invalid"), "{:?}", sandbox.told("status"));
    fs::remove_file(sandbox.path("web.cf")).unwrap();
    check("running without a file", 0);
    assert_eq!(sandbox.act("stop"), 0);
    check("stopped, without a file", 3);
}

#[test]
fn a_killed_daemon_is_started_again() {
    let server = WebServer::start("I am fine");
    let sandbox = Sandbox::new(&two_servers(&server, &server, ""));
    assert_eq!(sandbox.act("start"), 0);
    let killed = sandbox.pid().unwrap();
    sandbox.signal(Signal::SIGKILL);
    sandbox.wait_for("it is gone", || sandbox.told("status").0 == 1, &String::new);
    assert_eq!(sandbox.act("start"), 0);
    assert_ne!(sandbox.pid().unwrap(), killed);
    assert_eq!(sandbox.told("status").0, 0);
}

#[test]
fn restart_changes_the_process_and_needs_a_good_file() {
    let server = WebServer::start("I am fine");
    let sandbox = Sandbox::new(&two_servers(&server, &server, ""));
    assert_eq!(sandbox.act("start"), 0);
    let first = sandbox.pid().unwrap();
    assert_eq!(sandbox.act("restart"), 0);
    let second = sandbox.pid().unwrap();
    assert_ne!(first, second);
    // The table is handed over, not cleaned up.
    let log = sandbox.log();
    assert!(
        log.contains("terminated for a handover; the table stays as it is") && !log.contains("Purged"),
        "{log}"
    );
    // B01, B02: a wrong file neither ends the daemon nor costs it its pid file.
    sandbox.write("nonsense\n");
    assert_eq!(sandbox.told("restart").0, 2);
    let (code, _, err) = sandbox.told("status");
    assert_eq!((code, sandbox.pid()), (0, Some(second)));
    assert!(err.contains("errors: 1"), "{err}");
    assert_eq!(sandbox.act("stop"), 0);
    assert_eq!(sandbox.told("status").0, 3);
}

#[test]
fn restart_leaves_the_daemon_where_the_new_one_could_not_start() {
    let good = "virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n";
    let sandbox = Sandbox::new(good);
    assert_eq!(sandbox.act("start"), 0);
    let pid = sandbox.pid();
    let refused = |user: &str, words: &str| {
        for action in ["restart", "try-restart"] {
            let output = sandbox
                .command(&["web.cf", action])
                .env("LDIRECTORD_RS_PRIVILEGES__USER", user)
                .output()
                .unwrap();
            let err = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{err}");
            assert!(err.contains(words), "{err}");
            assert_eq!((sandbox.told("status").0, sandbox.pid()), (0, pid), "{words}");
        }
    };
    refused("no-such-user", "there is no such user");
    let us = nix::unistd::geteuid();
    if us.is_root() {
        fs::set_permissions(sandbox.path("web.cf"), fs::Permissions::from_mode(0o600)).unwrap();
        refused("nobody", "web.cf cannot be read by nobody");
    } else {
        println!("skipped in part: only root can become another user");
    }
    sandbox.write(&format!("execute=other.cf\n{good}"));
    let own = nix::unistd::User::from_uid(us).unwrap().unwrap().name;
    refused(&own, "execute= starts daemons that need root");
    let nowhere = sandbox.path("nowhere/log").display().to_string();
    fs::write(sandbox.path("web.cf"), format!("logfile=\"{nowhere}\"\n{good}")).unwrap();
    refused(&own, &format!("{nowhere}: its directory does not exist"));
    assert!(!sandbox.log().contains("terminated for a handover"), "{}", sandbox.log());
    assert_eq!(sandbox.act("stop"), 0);
}

#[test]
fn nothing_is_started_beside_the_original() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    // Its pid is in the file, but it holds no lock on it.
    let mut original =
        Foreground(Command::new("perl").args(["-e", "sleep 60", "/usr/sbin/ldirectord"]).spawn().unwrap());
    let pid = i32::try_from(original.0.id()).unwrap();
    fs::write(sandbox.pid_file(), format!("{pid}\n")).unwrap();
    let refused = || {
        let said = fs::File::create(sandbox.path("said")).unwrap();
        let mut start =
            Foreground(sandbox.command(&["--foreground", "web.cf", "start"]).stderr(said).spawn().unwrap());
        sandbox.wait_for("its end", || start.0.try_wait().unwrap().is_some(), &String::new);
        assert_eq!(start.0.wait().unwrap().code(), Some(1));
        fs::read_to_string(sandbox.path("said")).unwrap()
    };
    let err = refused();
    assert!(
        err.contains(&format!("is already running with pid {pid};"))
            && err.contains("ldirectord-rs-switch to-rs"),
        "{err}"
    );
    assert_eq!(sandbox.pid(), Some(pid), "its pid file is as it was");
    assert_eq!(sandbox.act("start"), 0);
    assert!(original.0.try_wait().unwrap().is_none());
    original.0.kill().unwrap();
    original.0.wait().unwrap();
    let ours = Foreground(sandbox.command(&["--foreground", "web.cf", "start"]).spawn().unwrap());
    sandbox.wait_for("ours", || sandbox.told("status").0 == 0, &String::new);
    assert_eq!(sandbox.pid(), i32::try_from(ours.0.id()).ok());
    let err = refused();
    assert!(err.trim_end().ends_with("; stop it first"), "{err}");
    assert_eq!(sandbox.act("stop"), 0);
}

#[test]
fn restart_ends_what_the_original_has_forked() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    let script = "sub child {\n\
                      my ($file, $called) = @_; my $pid = fork;\n\
                      exec { 'sleep' } $called, '60' if !$pid;\n\
                      open my $out, '>', $file; print $out $pid; close $out;\n\
                  }\n\
                  child('checker', 'ldirectord tcp:192.0.2.1:80'); child('other', 'sleep'); wait; wait;";
    let perl = Command::new("perl")
        .args(["-e", script, "/usr/sbin/ldirectord"])
        .current_dir(sandbox.path(""))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut original = Foreground(perl);
    fs::write(sandbox.pid_file(), format!("{}\n", original.0.id())).unwrap();
    let line = |name: &str| {
        let pid = fs::read_to_string(sandbox.path(name)).unwrap_or_default();
        fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default()
    };
    sandbox.wait_for(
        "the children",
        || line("checker").contains("tcp") && line("other").contains("sleep"),
        &|| line("checker") + &line("other"),
    );
    assert_eq!(sandbox.act("restart"), 0);
    sandbox.wait_for("the end of the checker", || line("checker").is_empty(), &|| line("checker"));
    assert!(line("other").starts_with("sleep"), "a process that is not a checker stays");
    let other = fs::read_to_string(sandbox.path("other")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(other), Signal::SIGKILL).unwrap();
    assert!(!original.0.wait().unwrap().success());
    assert_eq!(sandbox.told("status").0, 0);
    assert_eq!(sandbox.act("stop"), 0);
}

/// R55
#[test]
fn a_pid_file_that_cannot_be_read_is_not_taken_for_none() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    // Root can read any file, but cannot read a directory as a file.
    fs::create_dir(sandbox.pid_file()).unwrap();
    let check = |action: &str, code: i32| {
        let (found, out, err) = sandbox.told(action);
        assert_eq!((found, out.as_str()), (code, ""), "{action}: {err}");
        assert!(err.contains("web.cf.pid or its lock cannot be read: is a directory"), "{action}: {err}");
    };
    check("status", 4);
    for action in ["stop", "start", "restart", "try-restart", "reload"] {
        check(action, 1);
    }
}

#[test]
fn what_runs_is_found_and_ended_with_wrong_settings() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    let settings = sandbox.path("settings.toml");
    let told = |words: &[&str]| {
        let mut command = sandbox.command(&[&["--settings", settings.to_str().unwrap()], words].concat());
        let output = command.env_remove("LDIRECTORD_RS_PATHS__RUN").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(sandbox.act("start"), 0);
    let pid = sandbox.pid();
    let run = sandbox.path("run");
    for wrong in ["[stop\ngrace = 1\n", "[tabel]\n", "nonsense\n"] {
        fs::write(&settings, format!("{wrong}[paths]\nrun = \"{}\"\n", run.display())).unwrap();
        for words in [&["web.cf", "status"][..], &["show", "web.cf"]] {
            let (code, err) = told(words);
            assert_eq!(code, 0, "{wrong}: {words:?}: {err}");
            assert!(err.starts_with("Warning: ") && err.contains("settings.toml"), "{err}");
        }
        for action in ["start", "reload", "restart", "try-restart"] {
            assert_eq!(told(&["web.cf", action]).0, 2, "{wrong}: {action}");
        }
        assert_eq!(told(&["check", "web.cf"]).0, 2, "{wrong}");
    }
    // A variable that is not a setting.
    let output =
        sandbox.command(&["web.cf", "status"]).env("LDIRECTORD_RS_TABEL__BACKEND", "kernel").output();
    assert_eq!(output.unwrap().status.code(), Some(0));
    assert_eq!(sandbox.pid(), pid);
    assert_eq!(told(&["web.cf", "stop"]).0, 0);
    assert!(!sandbox.pid_file().exists());
    assert_eq!(told(&["web.cf", "status"]).0, 3);
}

#[test]
fn stop_does_not_wait_for_hung_checks() {
    // A server that accepts and never answers, with a long time-out, and a command that hangs.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sandbox = Sandbox::new(&format!(
        "negotiatetimeout=60\nchecktimeout=60\nvirtual=192.0.2.1:80\n\treal={} masq\n\tservice=http\nvirtual=192.0.2.1:81\n\t\
         real=127.0.0.1:1 masq\n\tchecktype=external\n\tcheckcommand=\"sh -c 'sleep 60'\"\n",
        silent.local_addr().unwrap()
    ));
    let start = Instant::now();
    // The grace period is for work that must finish; a check need not.
    let mut command = sandbox.command(&["web.cf", "start"]);
    assert!(command.env("LDIRECTORD_RS_STOP__GRACE", "60").status().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(10), "start waited for hung checks: {:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(sandbox.act("stop"), 0);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!sandbox.log().contains("is down"), "both checks hung: {}", sandbox.log());
}

/// B30: more SIGTERMs while the daemon ends change nothing: it ends once, and a check that it cancels does not mark a
/// server down. A command delays the end until the test allows it, so that the later signals surely arrive before it.
#[test]
fn d1_a_second_term_changes_nothing() {
    let sandbox = Sandbox::new("");
    let command = sandbox.path("held");
    let script = format!(
        "#!/bin/sh\necho $1 >>{0}/begun\n[ $1 = start ] || until [ -e {0}/go ]; do sleep 0.02; done\n",
        sandbox.path("").display()
    );
    fs::write(&command, script).unwrap();
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write(&format!(
        "cleanstop=no\nchecktimeout=60\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=off\n\t\
         fallbackcommand=\"{}\"\nvirtual=192.0.2.1:81\n\treal=127.0.0.1:1 masq\n\tchecktype=external\n\t\
         checkcommand=\"sh -c 'sleep 60'\"\n",
        command.display()
    ));
    let start = sandbox
        .command(&["web.cf", "start"])
        .env("LDIRECTORD_RS_COMMANDS__FALLBACKCOMMAND_AT_STOP", "true")
        .env("LDIRECTORD_RS_STOP__GRACE", "60")
        .status()
        .unwrap();
    assert!(start.success());
    let begun = || fs::read_to_string(sandbox.path("begun")).unwrap_or_default();
    sandbox.wait_for("the command of the start", || begun() == "start\n", &begun);
    let daemon = Pid::from_raw(sandbox.pid().unwrap());
    kill(daemon, Signal::SIGTERM).unwrap();
    sandbox.wait_for("the command of the stop", || begun() == "start\nstop\n", &begun);
    for _ in 0..1000 {
        kill(daemon, Signal::SIGTERM).unwrap();
    }
    // A daemon that ends refuses queries instead of delaying them.
    let asked = sandbox.run(&["show", "web.cf"]);
    let told = String::from_utf8(asked.stderr).unwrap();
    assert!(asked.status.code() == Some(3) && !told.contains("no answer within"), "{told}");
    fs::write(sandbox.path("go"), "").unwrap();
    sandbox.wait_for("the end", || !sandbox.pid_file().exists(), &String::new);
    let log = sandbox.log();
    assert_eq!(log.matches("terminated on signal: TERM").count(), 1, "{log}");
    assert!(!log.contains("is down") && !log.contains("Deleted"), "{log}");
}

#[test]
fn supervised_stays_in_the_foreground() {
    let sandbox =
        Sandbox::new("supervised=yes\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    let child = sandbox.command(&["web.cf", "start"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut foreground = Foreground(child);
    sandbox.wait_for("the table", || sandbox.table().is_some(), &String::new);
    // Supervised, there is no pid file, so `status` reports stopped.
    assert!(!sandbox.pid_file().exists());
    assert_eq!(sandbox.told("status").0, 3);
    let pid = Pid::from_raw(i32::try_from(foreground.0.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    assert!(foreground.0.wait().unwrap().success());
    let mut out = String::new();
    std::io::Read::read_to_string(foreground.0.stdout.as_mut().unwrap(), &mut out).unwrap();
    assert!(out.starts_with('[') && out.contains("] Added virtual server: 192.0.2.1:80"), "{out}");
    assert!(out.contains("terminated on signal: INT"), "{out}");
}

#[test]
fn signals_that_ended_the_original_do_not_end_this_one() {
    // B29: SIGUSR1 makes it log a report.
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    assert_eq!(sandbox.act("start"), 0);
    sandbox.signal(Signal::SIGUSR1);
    sandbox.expect_log("tcp:192.0.2.1:80");
    assert_eq!(sandbox.told("status").0, 0);
    // SIGUSR2 is a handover: it ends, and records what it owns.
    sandbox.signal(Signal::SIGUSR2);
    sandbox.expect_log("terminated for a handover; the table stays as it is");
    assert!(!sandbox.log().contains("Purged"));
}
