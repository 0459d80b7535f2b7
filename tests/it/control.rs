//! The control socket, as `docs/control.md` describes it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, WebServer, two_servers};

const LIMIT: Duration = Duration::from_secs(20);

fn connect(sandbox: &Sandbox) -> UnixStream {
    let stream = UnixStream::connect(sandbox.path("run/ldirectord-rs/web.cf.sock")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Follows the events of the daemon. Returns when the subscription is active: no later event is missed.
fn follow(sandbox: &Sandbox) -> Result<BufReader<UnixStream>, Value> {
    let mut stream = connect(sandbox);
    stream.write_all(b"{\"v\":1,\"request\":\"events\"}\n").unwrap();
    let (mut reader, mut line) = (BufReader::new(stream), String::new());
    reader.read_line(&mut line).unwrap();
    let first: Value = serde_json::from_str(&line).unwrap();
    if first == json!({"v": 1, "answer": {"events": "started"}}) { Ok(reader) } else { Err(first) }
}

/// Sends a line and returns all answers until the daemon closes the connection.
fn ask(sandbox: &Sandbox, line: &str) -> Value {
    let mut stream = connect(sandbox);
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The metrics name the server and what was counted, with the settings of the daemon.
#[test]
fn metrics_are_given_per_server_by_setting() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    std::fs::write(sandbox.path("settings.toml"), "[metrics]\nper_server = true\n").unwrap();
    let settings = sandbox.path("settings.toml");
    let run = |words: &[&str]| sandbox.run(&[&["--settings", settings.to_str().unwrap()], words].concat());
    let refused = run(&["metrics", "-c", "web.cf"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(run(&["web.cf", "start"]).status.success());
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    let output = run(&["metrics", "-c", "web.cf"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let port = one.address.port();
    for line in [
        "ldirectord_virtual_servers{local_address=\"192.0.2.1\",local_port=\"80\",proto=\"TCP\",local_mark=\"\",state=\"up\"} 2.0",
        "ldirectord_config_last_reload_success 1.0",
        "ldirectord_kernel_operations_total{operation=\"add_service\",result=\"ok\"} 1",
    ] {
        assert!(text.lines().any(|given| given == line), "{line}\n{text}");
    }
    let weight = format!("remote_address=\"127.0.0.1\",remote_port=\"{port}\"}} 1.0");
    assert!(
        text.lines().any(|l| l.starts_with("ldirectord_server_weight{") && l.ends_with(&weight)),
        "{weight}\n{text}"
    );
    assert!(text.contains("ldirectord_checks_total{service=\"http\",result=\"up\"} "), "{text}");
    assert!(run(&["web.cf", "stop"]).status.success());
}

#[test]
fn requests_are_answered_as_the_manual_says() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    let version = ask(&sandbox, r#"{"v":1,"request":"version"}"#);
    assert_eq!(version, json!({"v": 1, "answer": {"program": env!("CARGO_PKG_VERSION"), "protocol": 1}}));
    let status = ask(&sandbox, r#"{"v":1,"request":"status"}"#);
    assert_eq!(status["answer"]["status"], "2 of 2 up");
    let show = ask(&sandbox, r#"{"v":1,"request":"show"}"#);
    assert_eq!(show["answer"]["name"], "web.cf");
    let service = ask(&sandbox, r#"{"v":1,"request":"show","service":"tcp:192.0.2.1:80"}"#);
    assert_eq!(service["answer"]["servers"].as_array().unwrap().len(), 2);
    assert_eq!(service["answer"]["destinations"][0]["role"], "server");
    for (line, code) in [
        ("nonsense", "bad-request"),
        (r#"{"v":1,"request":"explode"}"#, "bad-request"),
        (r#"{"v":7,"request":"show"}"#, "bad-version"),
        (r#"{"v":1,"request":"show","service":"tcp:192.0.2.9:80"}"#, "not-found"),
        (r#"{"v":1,"request":"show","service":"nonsense"}"#, "not-found"),
    ] {
        let answer = ask(&sandbox, line);
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
        assert!(answer.get("answer").is_none(), "{answer}");
    }
    // The command line of the previous release sends nothing.
    let mut text = String::new();
    connect(&sandbox).read_to_string(&mut text).unwrap();
    let legacy: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(legacy["virtuals"][0]["id"], show["answer"]["virtuals"][0]["id"]);
    assert_eq!(legacy["name"], "web.cf");
}

#[test]
fn events_come_one_a_line_and_a_reload_is_logged_with_its_user() {
    let (one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    let followed = follow(&sandbox).unwrap();
    // A program that never reads, or that closes its connection, delays nothing.
    let _silent = follow(&sandbox).unwrap();
    drop(follow(&sandbox).unwrap());
    let address = two.address.to_string();
    two.stop();
    let mut lines = followed.lines();
    let mut next = |kind: &str| loop {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["v"], 1);
        if line["event"]["event"] == kind {
            return line["event"].clone();
        }
    };
    let down = next("down");
    assert_eq!((&down["server"], &down["state"]), (&json!(address), &json!("down")));
    assert_eq!(down["service"], "tcp:192.0.2.1:80");
    assert!(down["reason"].as_str().unwrap().contains("refused"), "{down}");
    assert_eq!(next("table-server")["server"], json!(address));
    let started = ask(&sandbox, r#"{"v":1,"request":"reload"}"#);
    assert_eq!(started["answer"]["reload"], "started");
    let uid = nix::unistd::geteuid();
    sandbox.expect_log(&format!("Control: reload, requested by uid {uid} ("));
    sandbox.expect_log("Reloading Linux Director Daemon config on request");
}

#[test]
fn an_operator_drains_a_server_and_ends_that() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    let (first, second) = (one.address.to_string(), two.address.to_string());
    let run = |words: &[&str]| {
        let output = sandbox.run(words);
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    };
    let config = sandbox.path("ha.d/web.cf").display().to_string();
    let done = "done in tcp:192.0.2.1:80\n";
    let in_memory = "the table is in memory: this ends with the daemon, also at a restart\n";
    let drained = run(&["drain", &first, "-c", &config, "--for", "2h", "--note", "new kernel"]);
    let what = format!("drain {first} for 7200 s");
    assert_eq!(drained, (0, format!("{what}: {done}Warning: {what}: {in_memory}")));
    sandbox.expect("one is drained", &[(one.address, 0), (two.address, 3)]);
    let uid = nix::unistd::geteuid();
    sandbox.expect_log(&format!("Control: drain {first} for 7200 s, requested by uid {uid} ("));
    sandbox.expect_log(&format!("Override drain of real server: {first} (tcp:192.0.2.1:80): by "));
    let show = ask(&sandbox, r#"{"v":1,"request":"show"}"#);
    let server = &show["answer"]["virtuals"][0]["servers"][0];
    assert_eq!((&server["state"], &server["override"]["what"]), (&json!("draining"), &json!("drain")));
    assert_eq!(server["override"]["note"], "new kernel");
    assert!(server["override"]["until"].is_string() && server["override"]["since"].is_string(), "{server}");
    // The last server in rotation is taken out by force only, and an unknown server not at all.
    let (code, said) = run(&["down", &second, "-c", &config]);
    assert!(
        code == 1 && said.contains("tcp:192.0.2.1:80 would have no server in rotation; use --force"),
        "{said}"
    );
    let (code, said) = run(&["down", "192.0.2.77:80", "-c", &config]);
    assert!(code == 1 && said.contains("no virtual service has the real server 192.0.2.77:80"), "{said}");
    let (code, said) = run(&["undo", &second, "-c", &config]);
    assert!(code == 1 && said.contains("no drain, down, up or weight to undo"), "{said}");
    let forced = run(&["down", &second, "-c", &config, "--service", "tcp:192.0.2.1:80", "--force"]);
    let what = format!("down {second} of tcp:192.0.2.1:80, forced");
    assert_eq!(forced, (0, format!("{what}: {done}Warning: {what}: {in_memory}")));
    let fallback = "127.0.0.9:80".parse().unwrap();
    sandbox.expect("both are out", &[(one.address, 0), (two.address, 0), (fallback, 1)]);
    for server in [&second, &first] {
        assert_eq!(run(&["undo", server, "-c", &config]), (0, format!("undo {server}: {done}")));
    }
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    for (line, code) in [
        (r#"{"v":1,"request":"override","server":"192.0.2.77:80","what":"drain"}"#, "not-found"),
        (r#"{"v":1,"request":"override","server":"nonsense","what":"drain"}"#, "bad-request"),
        (
            r#"{"v":1,"request":"override","server":"192.0.2.77:80","what":"drain","seconds":0}"#,
            "bad-request",
        ),
        (r#"{"v":1,"request":"undo","server":"192.0.2.77:80","service":"x"}"#, "not-found"),
    ] {
        assert_eq!(ask(&sandbox, line)["error"]["code"], code, "{line}");
    }
    let log = sandbox.log();
    assert!(log.contains(": refused: tcp:192.0.2.1:80 would have no server in rotation"), "{log}");
    assert_eq!(sandbox.act("stop"), 0);
    assert_eq!(run(&["undo", &first, "-c", &config]).0, 3);
}

/// The history of a server: its states, its checks and its events, in one service or in all.
#[test]
fn the_story_of_a_server_is_told() {
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    one.stop();
    sandbox.expect("one is down", &[(one.address, 0), (two.address, 3)]);
    let question =
        |more: &str| format!(r#"{{"v":1,"request":"show-server","server":"{}"{more}}}"#, one.address);
    for more in ["", r#","service":"tcp:192.0.2.1:80""#] {
        let answer = &ask(&sandbox, &question(more))["answer"];
        let servers = answer["servers"].as_array().unwrap();
        assert_eq!((servers.len(), &answer["name"]), (1, &json!("web.cf")), "{answer}");
        let story = &servers[0];
        assert_eq!(story["service"]["id"], "tcp:192.0.2.1:80");
        assert_eq!((&story["service"]["in_rotation"], &story["service"]["servers"]), (&json!(1), &json!(2)));
        assert_eq!(
            (&story["state"], &story["destination"]["weight"]),
            (&json!("down"), &json!(0)),
            "{story}"
        );
        let states: Vec<_> =
            story["states"].as_array().unwrap().iter().map(|begin| &begin["state"]).collect();
        assert_eq!(states, ["up", "down"], "{story}");
        let checks = story["checks"].as_array().unwrap();
        assert!(checks.len() >= 2 && checks[0]["result"] == "up", "{story}");
        assert_eq!(checks.last().unwrap()["result"], "down", "{story}");
        let events = story["events"].as_array().unwrap();
        assert!(events.iter().any(|event| event["event"] == "down" && event["time"].is_string()), "{story}");
        assert_eq!(
            story["last_check"]["phases"].as_array().unwrap().last().unwrap()["phase"],
            "connect",
            "{story}"
        );
    }
    let refused = ask(&sandbox, &question(r#","service":"fwm:5""#));
    assert_eq!(refused["error"]["code"], "not-found", "{refused}");
    let refused = ask(&sandbox, r#"{"v":1,"request":"show-server","server":"192.0.2.77:80"}"#);
    assert_eq!(refused["error"]["code"], "not-found", "{refused}");
}

/// A cluster manager uses the same socket: programs that follow events must not take its place.
#[test]
fn followers_leave_room_for_questions() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    let _followers: Vec<_> = (0..32).map(|_| follow(&sandbox).unwrap()).collect();
    let refused = follow(&sandbox).unwrap_err();
    assert_eq!(refused["error"]["code"], "busy", "{refused}");
    assert_eq!(ask(&sandbox, r#"{"v":1,"request":"status"}"#)["answer"]["status"], "2 of 2 up");
}
