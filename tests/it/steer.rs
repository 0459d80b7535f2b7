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
