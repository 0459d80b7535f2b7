//! `show`: what it prints besides the listing of all servers.

use crate::sandbox::{Sandbox, WebServer, two_servers};

/// Two servers of which the first is down.
fn half() -> (Sandbox, WebServer, WebServer) {
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    one.stop();
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("one is up", &[(one.address, 0), (two.address, 3)]);
    (sandbox, one, two)
}

fn show(sandbox: &Sandbox, words: &[&str]) -> (i32, String) {
    // The marks are ASCII, whatever the locale of the machine is.
    let output = sandbox.command(&[&["web.cf", "show"], words].concat()).env("LC_ALL", "C").output().unwrap();
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_server_has_its_whole_story() {
    let (sandbox, one, _) = half();
    let (code, text) = show(&sandbox, &[&one.address.to_string()]);
    assert_eq!(code, 0);
    let first = text.lines().next().unwrap();
    assert!(first.starts_with(&format!("x {}   DOWN for ", one.address)), "{text}");
    for words in [
        "\n  tcp:192.0.2.1:80   1 of 2 up   fallback standby\n",
        "\n  table     masq, weight 0 of 1\n",
        "\n  phases    connect x ",
        "\n  times     x",
        "no check succeeded\n",
        "  down once\n",
        "Real server is down: ",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(
        text.contains(&format!("\n  result    connect to {}: connection refused\n", one.address)),
        "{text}"
    );
    let none = format!("{} in tcp:192.0.2.1:80: no connection\n", one.address);
    assert_eq!(show(&sandbox, &[&one.address.to_string(), "--connections"]), (0, none));
}

#[test]
fn a_listing_can_be_limited() {
    let (sandbox, one, two) = half();
    let (code, text) = show(&sandbox, &["--down"]);
    assert!(code == 0 && text.contains(&one.address.to_string()), "{text}");
    assert!(!text.contains(&two.address.to_string()) && !text.contains("--all"), "{text}");
    assert!(show(&sandbox, &["--service", "tcp:192.0.2.1:80"]).1.contains(&two.address.to_string()));
    let json = show(&sandbox, &["--service", "tcp:192.0.2.1:80", "--json"]).1;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["virtuals"].as_array().unwrap().len(), 1, "{json}");
    assert!(json["virtuals"][0]["destinations"][0].get("active").is_none(), "a table in memory: {json}");
}

#[test]
fn what_cannot_be_shown_has_a_reason() {
    let (sandbox, ..) = half();
    for (words, expected) in [
        (&["192.0.2.77:80"][..], "no virtual service has the real server 192.0.2.77:80"),
        (&["--service", "fwm:7"], "has no virtual service fwm:7"),
        (&["--stats"], "has no traffic to show: its table is in memory"),
        (&["--watch"], "--watch needs a terminal"),
    ] {
        let (code, text) = show(&sandbox, words);
        assert!(code == 1 && text.contains(expected), "{words:?}: {code} {text}");
    }
    assert_eq!(sandbox.run(&["show", "nowhere.cf", "192.0.2.77:80"]).status.code(), Some(3));
}
