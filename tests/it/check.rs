//! `check` and the command line.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{Sandbox, WebServer, two_servers};

#[test]
fn check_judges_file_and_servers() {
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let output = sandbox.run(&["check", "web.cf"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    one.stop();
    let output = sandbox.run(&["check", "web.cf"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains(&one.address.to_string())).unwrap();
    assert!(line.contains("DOWN") && text.contains("refused"), "{text}");

    let output = sandbox.run(&["check", "web.cf", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let states: Vec<&str> = json["virtuals"][0]["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| server["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["down", "up"]);
    assert!(json["virtuals"][0]["servers"][0]["last_check"]["reason"].as_str().unwrap().contains("refused"));
    assert!(!sandbox.pid_file().exists() && sandbox.log().is_empty(), "check wrote something");
}

#[test]
fn a_body_that_does_not_match_says_what_it_is() {
    let (one, two) = (WebServer::start("I am ill"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let output = sandbox.run(&["check", "web.cf"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("/fine/") && text.contains("I am ill"), "{text}");
}

#[test]
fn an_unusable_file_is_2() {
    let sandbox = Sandbox::new("nonsense\n");
    assert_eq!(sandbox.run(&["check", "web.cf"]).status.code(), Some(2));
    assert_eq!(sandbox.run(&["check", "missing.cf"]).status.code(), Some(2));
}

#[test]
fn the_usage_goes_to_standard_output_with_255() {
    let sandbox = Sandbox::new("");
    for words in [&[] as &[&str], &["web.cf"], &["web.cf", "nonsense"], &["--nosuch", "start"]] {
        let output = sandbox.run(words);
        assert_eq!(output.status.code(), Some(255), "{words:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("Usage:"), "{words:?}");
    }
    for words in [["-h"], ["-v"]] {
        assert_eq!(sandbox.run(&words).status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn the_directories_of_heartbeat_come_first() {
    let sandbox = Sandbox::new("nonsense\n");
    std::fs::write(sandbox.path("ha.d/web.cf"), "# fine, and empty\n").unwrap();
    assert_eq!(sandbox.run(&["check", "web.cf"]).status.code(), Some(0));
    std::fs::rename(sandbox.path("ha.d/web.cf"), sandbox.path("ha.d/ldirectord.cf")).unwrap();
    assert_eq!(sandbox.run(&["check"]).status.code(), Some(0));
    assert_eq!(sandbox.run(&["check", "web.cf"]).status.code(), Some(2));
}

/// The topics of the output, with the level of each finding.
fn topics(json: &Value) -> Vec<(&str, &str)> {
    let findings = json["findings"].as_array().unwrap().iter();
    findings.map(|one| (one["topic"].as_str().unwrap(), one["level"].as_str().unwrap())).collect()
}

#[test]
fn check_diagnoses_the_machine() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new(&two_servers(&one, &two, "emailalert=ops@example.net\nsmtp=relay.example.net\n"));
    let run = |words: &[&str], backend: &str| {
        let mut command = site.command(words);
        command.env("LDIRECTORD_RS_TABLE__BACKEND", backend).env("LC_ALL", "C").env("COLUMNS", "80");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&["check", "web.cf"], "memory");
    assert_eq!(code, Some(0), "{text}");
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("ldirectord-rs ") && text.contains("web.cf"), "{text}");
    for row in [
        "+ file          1 virtual service, 2 real servers, no warning",
        "+ mail          relay relay.example.net",
    ] {
        assert!(text.lines().any(|line| line.starts_with(row)), "{row}\n{text}");
    }
    assert!(text.contains("\n  2 probed in ") && text.contains(" s: 2 up, 0 down\n"), "{text}");
    // Each step of each probe has its time.
    let steps =
        text.lines().filter(|line| line.starts_with("      connect ") && line.contains(" ms   answer "));
    assert_eq!(steps.count(), 2, "{text}");
    assert!(text.ends_with("\n+ no error, no warning, no server not up\n"), "{text}");

    // What is right here depends on the machine, but each topic has a finding.
    let (code, text) = run(&["check", "web.cf", "--json"], "kernel");
    let json: Value = serde_json::from_str(&text).unwrap();
    let found = topics(&json);
    for topic in
        ["file", "kernel", "privileges", "daemon", "table", "addresses", "sysctl", "descriptors", "mail"]
    {
        assert!(found.iter().any(|(found, _)| *found == topic), "{topic}: {found:?}");
    }
    let has_error = found.iter().any(|(_, level)| *level == "error");
    assert_eq!(code, Some(i32::from(has_error)), "{text}");
    assert_eq!(json["virtuals"][0]["servers"][0]["state"], "up");
}

#[test]
fn a_running_daemon_is_found() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new(&two_servers(&one, &two, ""));
    let about = || {
        let output = site.run(&["check", "web.cf", "--json"]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = json["findings"].as_array().unwrap().clone();
        let of_daemon = findings.into_iter().find(|one| one["topic"] == "daemon").unwrap();
        of_daemon["what"].as_str().unwrap().to_owned()
    };
    assert_eq!(about(), "none runs for this file");
    assert_eq!(site.act("start"), 0);
    assert_eq!(about(), format!("one, process {}, this file", site.pid().unwrap()));
    assert_eq!(site.act("stop"), 0);
}

#[test]
fn errors_of_the_machine_are_1_and_warnings_with_strict() {
    let one = WebServer::start("I am fine");
    let config = |method: &str, more: &str| {
        let port = one.address.port();
        format!(
            "virtual=192.0.2.1:80\n\treal={} {method}\n\tchecktype=connect\n\tcheckport={port}\n{more}",
            one.address
        )
    };
    let site = Sandbox::new(&config("gate", ""));
    let output = site.run(&["check", "web.cf"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("gate cannot change the port"), "{text}");
    // A warning about the machine: the program of sendmail does not exist.
    site.write(&config("masq", "\temailalert=ops@example.net\n"));
    for (words, code) in [(&["check", "web.cf"][..], 0), (&["check", "web.cf", "--strict"], 1)] {
        let output =
            site.command(words).env("LDIRECTORD_RS_MAIL__SENDMAIL", "/no/such/sendmail").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("/no/such/sendmail cannot be run") && text.contains("1 warning"), "{text}");
        assert_eq!(output.status.code(), Some(code), "{words:?}");
    }
}

#[test]
fn one_service_or_one_server_can_be_probed_alone() {
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Sandbox::new(&two_servers(&one, &two, ""));
    one.stop();
    let two_alone = format!("--server={}", two.address);
    let output = site.run(&["check", "web.cf", "--json", "--service", "tcp:192.0.2.1:80", &two_alone]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let servers = json["virtuals"][0]["servers"].as_array().unwrap();
    assert_eq!((servers.len(), output.status.code()), (1, Some(0)), "{json}");
    assert_eq!(servers[0]["address"], two.address.to_string());
    // The diagnosis is that of the whole file.
    assert_eq!(json["findings"][0]["what"], "1 virtual service, 2 real servers, no warning");
    for (words, code, part) in [
        (&["check", "web.cf", "--service", "fwm:7"][..], 1, "fwm:7 is not in "),
        (&["check", "web.cf", "--server", "192.0.2.9:80"], 1, "192.0.2.9:80 is not in "),
        (&["check", "web.cf", "--server", "nonsense"], 255, "--server nonsense: "),
        (&["check", "web.cf", "--service"], 255, "--service: its value is missing"),
        (&["check", "web.cf", "--config-only", "--service=fwm:7"], 255, "--config-only probes no server"),
    ] {
        let output = site.run(words);
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && err.contains(part), "{words:?}: {err}");
    }
}

/// The daemon raises its own limit of descriptors. A command gets the limit with which the daemon was started, and
/// writes no core file.
#[test]
fn a_command_has_the_limits_that_the_program_was_started_with() {
    let sandbox = Sandbox::new(
        "checktimeout=10\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=external\n\tcheckcommand=./limits\n",
    );
    // The limits are set shortly after the start of the command.
    let script = "#!/bin/sh\nuntil [ \"$(ulimit -Sn) $(ulimit -Sc)\" = '300 0' ]; do sleep 0.01; done\n";
    std::fs::write(sandbox.path("limits"), script).unwrap();
    std::fs::set_permissions(sandbox.path("limits"), PermissionsExt::from_mode(0o755)).unwrap();
    let program = sandbox.command(&["check", "web.cf"]);
    let limited = "ulimit -Sc unlimited 2>/dev/null; ulimit -Sn 300 && exec \"$0\" \"$@\"";
    let output = Command::new("/bin/sh")
        .args(["-c", limited])
        .arg(program.get_program())
        .args(program.get_args())
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(sandbox.path(""))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
