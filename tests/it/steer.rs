//! Overrides of operators, as `docs/drain.md` describes them.

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, WebServer, two_servers};

/// Runs a command. Returns its exit code, and its output with the errors after it.
fn run(sandbox: &Sandbox, words: &[&str]) -> (i32, String) {
    let output = sandbox.run(words);
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

/// What `show --json` prints.
fn show(sandbox: &Sandbox) -> Value {
    let (code, text) = run(sandbox, &["show", "web.cf", "--json"]);
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn an_operator_changes_the_weight_of_a_server() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let second = two.address.to_string();
    assert_eq!(run(&sandbox, &["weight", &second, "50%", "-c", "web.cf"]).0, 3);
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    let (code, said) = run(&sandbox, &["weight", &second, "200%", "-c", "web.cf", "--note", "faster disk"]);
    assert!(code == 0 && said.starts_with(&format!("weight {second} 200%: done in ")), "{said}");
    sandbox.expect("one has more", &[(one.address, 1), (two.address, 6)]);
    let (_, listing) = run(&sandbox, &["show", "web.cf"]);
    assert!(listing.contains("6/3") && listing.contains("weight 200% by "), "{listing}");
    assert!(listing.contains("(faster disk); its check: "), "{listing}");
    let server = &show(&sandbox)["virtuals"][0]["servers"][1];
    let given = &server["override"];
    assert_eq!((&server["state"], &given["what"]), (&json!("up"), &json!("weight")), "{server}");
    assert_eq!(given["weight"], "200%");
    let (_, metrics) = run(&sandbox, &["metrics", "-c", "web.cf"]);
    assert!(metrics.contains("ldirectord_overrides{what=\"weight\"} 1.0"), "{metrics}");
    let (code, said) = run(&sandbox, &["weight", &second, "0", "-c", "web.cf"]);
    assert!(code == 255 && said.contains("use drain"), "{said}");
    assert_eq!(run(&sandbox, &["weight", &second, "7", "-c", "web.cf"]).0, 0);
    sandbox.expect("another weight", &[(one.address, 1), (two.address, 7)]);
    sandbox
        .expect_log(&format!("Override weight 200% of real server ended: {second} (tcp:192.0.2.1:80): by "));
    assert_eq!(run(&sandbox, &["undo", &second, "-c", "web.cf"]).0, 0);
    sandbox.expect("as configured", &[(one.address, 1), (two.address, 3)]);
}

#[test]
fn saved_overrides_are_restored() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    let (first, second) = (one.address.to_string(), two.address.to_string());
    let drain = ["drain", &first, "-c", "web.cf", "--for", "2h", "--note", "new kernel"];
    assert_eq!(run(&sandbox, &drain).0, 0);
    assert_eq!(run(&sandbox, &["weight", &second, "200%", "-c", "web.cf"]).0, 0);
    let saved = sandbox.path("saved.json");
    let text = show(&sandbox).to_string();
    std::fs::write(&saved, &text).unwrap();
    let import = |sandbox: &Sandbox, more: &[&str]| {
        run(sandbox, &[&["override", "import", saved.to_str().unwrap(), "-c", "web.cf"], more].concat())
    };
    for server in [&first, &second] {
        assert_eq!(run(&sandbox, &["undo", server, "-c", "web.cf"]).0, 0);
    }
    sandbox.expect("both are as configured", &[(one.address, 1), (two.address, 3)]);
    let (code, said) = import(&sandbox, &[]);
    let of = "of tcp:192.0.2.1:80";
    let mut lines = said.lines();
    assert_eq!((code, lines.next()), (0, Some(&*format!("weight {second} 200% {of}: done"))), "{said}");
    let line = lines.next().unwrap();
    assert!(line.starts_with(&format!("drain {first} {of} for ")) && line.ends_with(" s: done"), "{said}");
    sandbox.expect("as saved", &[(one.address, 0), (two.address, 6)]);
    let given = &show(&sandbox)["virtuals"][0]["servers"][0]["override"];
    let before: Value = serde_json::from_str(&text).unwrap();
    let saved_one = &before["virtuals"][0]["servers"][0]["override"];
    assert_eq!((&given["note"], &given["owner"]), (&json!("new kernel"), &saved_one["owner"]), "{given}");
    // Another user, and the last server in rotation.
    let owner = saved_one["owner"].to_string();
    let other = text
        .replace(&owner, "\"berta\"")
        .replace("\"weight\":\"200%\",", "")
        .replace("\"what\":\"weight\"", "\"what\":\"down\"");
    std::fs::write(&saved, &other).unwrap();
    let (code, said) = import(&sandbox, &[]);
    assert!(
        code == 1 && said.contains(&format!("down {second} {of}: refused: tcp:192.0.2.1:80 would have")),
        "{said}"
    );
    assert_eq!(import(&sandbox, &["--force"]).0, 0);
    let fallback = "127.0.0.9:80".parse().unwrap();
    sandbox.expect("both are out", &[(one.address, 0), (two.address, 0), (fallback, 1)]);
    let given = &show(&sandbox)["virtuals"][0]["servers"][0]["override"];
    assert_eq!(given["note"], "new kernel (set by berta)");
    // Expired, and in maintenance.
    let old = r#"{"what":"down","owner":"a","note":"","since":"2020-01-01T00:00:00Z","until":"2020-01-02T00:00:00Z"}"#;
    let old = format!(
        r#"{{"virtuals":[{{"id":"tcp:192.0.2.1:80","servers":[{{"address":"{first}","override":{old}}}]}}]}}"#
    );
    std::fs::write(&saved, old).unwrap();
    let (code, said) = import(&sandbox, &[]);
    assert!(
        code == 0
            && said.contains("not restored: it expired at 2020-01-02")
            && said.ends_with("no override to restore\n"),
        "{said}"
    );
    std::fs::write(&saved, "virtual=10.0.0.1:80\n").unwrap();
    let (code, said) = import(&sandbox, &[]);
    assert!(code == 1 && said.contains("not the output of `show --json`"), "{said}");
    std::fs::write(&saved, &text).unwrap();
    assert_eq!(sandbox.act("stop"), 0);
    assert_eq!(import(&sandbox, &[]).0, 3);
    std::fs::remove_file(&saved).unwrap();
    assert_eq!(import(&sandbox, &[]).0, 1);
}

/// A table in memory has no connections.
#[test]
fn a_wait_without_connections_ends_at_once() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    let first = one.address.to_string();
    let (code, said) = run(&sandbox, &["drain", &first, "-c", "web.cf", "--wait", "--timeout", "1m"]);
    let expected = format!("{first}: the table is in memory and has no connections\n");
    assert!(code == 0 && said.contains(&expected), "{code} {said}");
    let (code, said) = run(&sandbox, &["undo", &first, "-c", "web.cf", "--wait"]);
    assert!(code == 255 && said.contains("apply to drain and down"), "{code} {said}");
}
