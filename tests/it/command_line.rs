//! Command lines that the original would refuse or ignore: what they mean here, and what the operator reads.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use nix::pty::openpty;

use crate::sandbox::Sandbox;

const CONFIG: &str = "virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n";

/// Exit code, standard output and standard error.
fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn settings_count_after_the_action() {
    let sandbox = Sandbox::new(CONFIG);
    let settings = sandbox.path("other.toml");
    fs::write(&settings, "[nonsense]\n").unwrap();
    let settings = settings.to_str().unwrap();
    for words in [["web.cf", "status", "--settings", settings], ["web.cf", "--settings", settings, "status"]]
    {
        // The site would add its own settings, which clap does not accept twice.
        let mut command = Command::new(env!("CARGO_BIN_EXE_ldirectord-rs"));
        command
            .args(words)
            .current_dir(sandbox.path(""))
            .env("LDIRECTORD_RS_PATHS__RUN", sandbox.path("run"));
        let (code, _, err) = told(command.output().unwrap());
        assert_eq!(code, 3, "{words:?}: {err}");
        assert!(err.contains("other.toml"), "{words:?}: {err}");
    }
}

/// R81
#[test]
fn words_after_the_action_are_a_warning() {
    let sandbox = Sandbox::new(CONFIG);
    let (code, out, err) = told(sandbox.run(&["web.cf", "status", "-d", "again"]));
    assert_eq!(code, 3);
    assert!(out.starts_with("ldirectord is stopped for "), "{out}");
    assert_eq!(
        err,
        "Warning: ignored: -d again; only --table, --settings, --foreground and --run-commands are accepted after the action\n"
    );
}

/// R81
#[test]
fn stop_of_what_does_not_run_is_0_and_says_so() {
    let sandbox = Sandbox::new(CONFIG);
    let config = sandbox.path("web.cf").display().to_string();
    let nothing = |err: String| (0, String::new(), err);
    let expected = format!("ldirectord for {config} is not running; nothing to stop\n");
    assert_eq!(sandbox.told("stop"), nothing(expected.clone()));
    // A stale pid file stays, as with the original.
    fs::write(sandbox.pid_file(), "1\n").unwrap();
    assert_eq!(sandbox.told("stop"), nothing(expected));
    assert!(sandbox.pid_file().exists());
    let expected =
        "ldirectord for wbe.cf is not running; nothing to stop, and there is no such configuration file\n";
    assert_eq!(told(sandbox.run(&["wbe.cf", "stop"])), nothing(expected.to_owned()));
}

#[test]
fn the_last_line_of_the_usage_names_the_nearest_action() {
    let sandbox = Sandbox::new(CONFIG);
    for (words, last) in [
        (&["web.cf", "restrat"][..], "Did you mean `restart`?"),
        (&["web.cf", "sotp"], "Did you mean `stop`?"),
        (&["relaod"], "Did you mean `reload`?"),
        (&["web.cf", "chek"], "Did you mean `check`?"),
        (&["start", "web.cf"], "Did you mean `ldirectord-rs web.cf start`?"),
        (&["drian", "10.0.0.2:80"], "Did you mean `drain`?"),
        (&["web.cf", "drian", "10.0.0.2:80"], "Did you mean `drain`?"),
    ] {
        let (code, out, err) = told(sandbox.run(words));
        assert_eq!((code, out.lines().last()), (255, Some(last)), "{words:?}");
        assert!(out.contains("Usage:") && err.ends_with(": no such action\n"), "{words:?}: {err}");
        assert!(!words.contains(&"drian") || err == "drian: no such action\n", "{words:?}: {err}");
    }
    let (code, out, _) = told(sandbox.run(&["web.cf", "frobnicate"]));
    assert!(code == 255 && !out.contains("Did you mean"), "{out}");
}

#[test]
fn a_file_before_check_is_checked() {
    let sandbox = Sandbox::new(CONFIG);
    for words in
        [&["web.cf", "check"][..], &["web.cf", "check", "--json"], &["web.cf", "check", "--config-only"]]
    {
        assert_eq!(sandbox.run(words).status.code(), Some(0), "{words:?}");
    }
    let (code, out, _) = told(sandbox.run(&["web.cf", "alert-test"]));
    assert!(code == 0 && out.contains("no virtual service has emailalert"), "{out}");
    assert_eq!(sandbox.act("start"), 0);
    let (code, out, err) = told(sandbox.run(&["web.cf", "show", "--json"]));
    assert!(code == 0 && out.contains("192.0.2.1:80"), "{out}{err}");
    assert_eq!(sandbox.act("stop"), 0);
}

#[test]
fn a_daemon_of_any_program_name_is_found() {
    let sandbox = Sandbox::new(CONFIG);
    let program = sandbox.path("lvsd");
    sandbox.copy_program(&program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let settings = sandbox.path("settings-of-none.toml");
    let run = |action: &str| {
        let like = sandbox.command(&[]);
        let mut command = Command::new(&program);
        command.arg("--settings").arg(&settings).args(["web.cf", action]).current_dir(sandbox.path(""));
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        told(command.output().unwrap())
    };
    assert_eq!(run("start").0, 0);
    let pid = sandbox.pid().unwrap();
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!line.contains("ldirectord"), "{line}: must not contain the name of the original");
    assert_eq!(run("status").0, 0);
    assert_eq!((run("start").0, sandbox.pid()), (0, Some(pid)));
    // An upgrade replaces the file.
    let copy = sandbox.path("lvsd.new");
    sandbox.copy_program(&copy);
    fs::rename(&copy, &program).unwrap();
    assert_eq!(run("status").0, 0);
    assert_eq!(run("restart").0, 0);
    assert_ne!(sandbox.pid(), Some(pid));
    let pid = sandbox.pid().unwrap();
    assert_eq!(run("stop"), (0, String::new(), String::new()));
    // A zombie has no program.
    assert!(fs::read_link(format!("/proc/{pid}/exe")).is_err(), "it is gone");
}

#[test]
fn a_start_in_the_foreground_says_that_a_daemon_runs() {
    let sandbox = Sandbox::new(CONFIG);
    assert_eq!(sandbox.act("start"), 0);
    let (pid, config) = (sandbox.pid().unwrap(), sandbox.path("web.cf").display().to_string());
    let (code, out, err) = told(sandbox.run(&["-d", "web.cf", "start"]));
    let expected = format!(
        "ldirectord for {config} is already running with pid {pid}; nothing was started in the foreground\n"
    );
    assert_eq!((code, out, err), (0, String::new(), expected));
    // As the original: no output without -d.
    assert_eq!(sandbox.told("start"), (0, String::new(), String::new()));
    assert_eq!(sandbox.act("stop"), 0);
}

#[test]
fn a_word_that_is_not_utf_8_is_refused() {
    let sandbox = Sandbox::new("");
    let mut command = sandbox.command(&["web.cf", "stop"]);
    let refused = command.arg(OsStr::from_bytes(b"\xff")).output().unwrap();
    assert_eq!(refused.status.code(), Some(255), "{refused:?}");
}

#[test]
fn wrong_and_renamed_variables_are_named() {
    let sandbox = Sandbox::new(CONFIG);
    let check = |variables: &[(&str, &str)]| {
        told(sandbox.command(&["web.cf", "check"]).envs(variables.iter().copied()).output().unwrap())
    };
    for (name, value, words) in [
        ("LDIRECTORD_RS_STOP__GRACE", "4 parsecs", "must be a time from 0 s to 1 h"),
        ("LDIRECTORD_RS_MAIL__QUEUE", "0", "must be a number from 1 to 1000000"),
        ("LDIRECTORD_RS_TABLE__BACKEND", "kernal", "`kernel` or `memory`"),
        ("LDIRECTORD_RS_TABEL__BACKEND", "kernel", "`table`"),
    ] {
        let (code, _, err) = check(&[("LDIRECTORD_RS_LOG__LEVEL", "info"), (name, value)]);
        assert_eq!(code, 2, "{err}");
        assert!(err.starts_with(&format!("{name}: ")) && err.contains(words), "{err}");
    }
    let (code, _, err) =
        check(&[("LDIRECTORD_RS_MAIL__HELLO", "mx"), ("LDIRECTORD_RS_STOP__GRACE", "500ms")]);
    assert_eq!(code, 0, "{err}");
    let warning =
        "Warning: LDIRECTORD_RS_MAIL__HELLO is now LDIRECTORD_RS_MAIL__HELO_NAME; the old name still works\n";
    assert!(err.starts_with(warning), "{err}");
    // Cluster managers run it every few seconds.
    let status = sandbox.command(&["web.cf", "status"]).env("LDIRECTORD_RS_MAIL__HELLO", "mx").output();
    assert_eq!(told(status.unwrap()).2, "");
}

/// Exit code and standard error of a command whose standard error is a terminal.
fn on_a_terminal(sandbox: &Sandbox, words: &[&str]) -> (i32, String) {
    let terminal = openpty(None, None).unwrap();
    let mut command = sandbox.command(words);
    let mut child = command.stderr(File::from(terminal.slave)).spawn().unwrap();
    // Closes the last copy of the other side in this process.
    drop(command);
    let mut text = Vec::new();
    // Ends with an error when no process has the other side open.
    let _ = File::from(terminal.master).read_to_end(&mut text);
    (child.wait().unwrap().code().unwrap(), String::from_utf8(text).unwrap().replace('\r', ""))
}

/// R99
#[test]
fn r99_start_on_a_terminal_prints_the_state() {
    let up = TcpListener::bind("127.0.0.1:0").unwrap();
    let sandbox = Sandbox::new(&format!(
        "virtual=192.0.2.1:80\n\treal={} masq\n\treal=127.0.0.1:1 masq\n\tchecktype=connect\n",
        up.local_addr().unwrap()
    ));
    let (code, err) = on_a_terminal(&sandbox, &["web.cf", "start"]);
    let pid = sandbox.pid().unwrap();
    assert_eq!((code, err), (0, format!("ldirectord-rs for web.cf started (pid {pid}): 1 of 2 up\n")));
    // It already runs.
    assert_eq!(on_a_terminal(&sandbox, &["web.cf", "start"]), (0, String::new()));
    // As the original for scripts.
    assert_eq!(sandbox.told("restart"), (0, String::new(), String::new()));
    let (code, err) = on_a_terminal(&sandbox, &["web.cf", "restart"]);
    assert!(code == 0 && err.ends_with(": 1 of 2 up\n"), "{err}");
    assert_eq!(on_a_terminal(&sandbox, &["web.cf", "stop"]), (0, String::new()));
    // A server that accepts and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    sandbox.write(&format!(
        "negotiatetimeout=60\nvirtual=192.0.2.1:80\n\treal={} masq\n\tservice=http\n",
        silent.local_addr().unwrap()
    ));
    let (code, err) = on_a_terminal(&sandbox, &["web.cf", "start"]);
    let pid = sandbox.pid().unwrap();
    let expected = format!(
        "ldirectord-rs for web.cf started (pid {pid}): 0 of 1 up, no server left for 192.0.2.1:80; first checks are still running: \
         ldirectord-rs show web.cf\n"
    );
    assert_eq!((code, err), (0, expected));
    assert_eq!(sandbox.act("stop"), 0);
}

/// B11
#[test]
fn b11_start_prints_what_the_kernel_refuses() {
    let sandbox = Sandbox::new(
        "virtual=192.0.2.1:80\n\tscheduler=nonsense\n\treal=127.0.0.1:1 masq\n\tchecktype=on\nvirtual=192.0.2.1:81\n\t\
         real=127.0.0.1:1 masq\n\tchecktype=on\n",
    );
    let (code, out, err) = sandbox.told("start");
    assert_eq!((code, out), (0, String::new()));
    let refused = "Warning: The kernel refused to add service tcp 192.0.2.1:80 nonsense: the kernel has no scheduler `nonsense`; \
                   the table is read back and the operation is retried\n";
    assert_eq!(err, refused);
    assert_eq!(sandbox.act("stop"), 0);
}
