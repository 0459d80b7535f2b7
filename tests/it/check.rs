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
