//! `check` and the command line.

use serde_json::Value;

use crate::site::{Site, WebServer, two_servers};

#[test]
fn check_judges_file_and_servers() {
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let site = Site::new(&two_servers(&one, &two, ""));
    let output = site.run(&["check", "web.cf"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    one.stop();
    let output = site.run(&["check", "web.cf"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains(&one.address.to_string())).unwrap();
    assert!(line.contains("DOWN") && text.contains("refused"), "{text}");

    let output = site.run(&["check", "web.cf", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let states: Vec<&str> = json["virtuals"][0]["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| server["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["down", "up"]);
    assert!(json["virtuals"][0]["servers"][0]["last_check"]["reason"].as_str().unwrap().contains("refused"));
    assert!(!site.pid_file().exists() && site.log().is_empty(), "check wrote something");
}

#[test]
fn a_body_that_does_not_match_says_what_it_is() {
    let (one, two) = (WebServer::start("I am ill"), WebServer::start("I am fine"));
    let site = Site::new(&two_servers(&one, &two, ""));
    let output = site.run(&["check", "web.cf"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("/fine/") && text.contains("I am ill"), "{text}");
}

#[test]
fn an_unusable_file_is_2() {
    let site = Site::new("nonsense\n");
    assert_eq!(site.run(&["check", "web.cf"]).status.code(), Some(2));
    assert_eq!(site.run(&["check", "missing.cf"]).status.code(), Some(2));
}

#[test]
fn the_usage_goes_to_standard_output_with_255() {
    let site = Site::new("");
    for words in [&[] as &[&str], &["web.cf"], &["web.cf", "nonsense"], &["--nosuch", "start"]] {
        let output = site.run(words);
        assert_eq!(output.status.code(), Some(255), "{words:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("Usage:"), "{words:?}");
    }
    for words in [["-h"], ["-v"]] {
        assert_eq!(site.run(&words).status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn the_directories_of_heartbeat_come_first() {
    let site = Site::new("nonsense\n");
    std::fs::write(site.path("ha.d/web.cf"), "# fine, and empty\n").unwrap();
    assert_eq!(site.run(&["check", "web.cf"]).status.code(), Some(0));
    std::fs::rename(site.path("ha.d/web.cf"), site.path("ha.d/ldirectord.cf")).unwrap();
    assert_eq!(site.run(&["check"]).status.code(), Some(0));
    assert_eq!(site.run(&["check", "web.cf"]).status.code(), Some(2));
}
