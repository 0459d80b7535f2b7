//! Files for keepalived's `track_file`, as `docs/keepalived.md` describes them.

use std::fs;
use std::path::PathBuf;

use crate::sandbox::{Sandbox, WebServer, two_servers};

const SERVICE: &str = "tcp:192.0.2.1:80";

fn run(sandbox: &Sandbox, words: &[&str]) -> i32 {
    let settings = sandbox.path("settings.toml");
    let words = [&["--settings", settings.to_str().unwrap()], words].concat();
    sandbox.run(&words).status.code().unwrap()
}

fn track(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("run/ldirectord-rs/track")
}

fn expect(sandbox: &Sandbox, what: &str, content: &str) {
    let read = || fs::read_to_string(track(sandbox).join(SERVICE)).unwrap_or_default();
    sandbox.wait_for(what, || read() == content, &read);
}

#[test]
fn a_file_has_the_state_of_a_service_for_keepalived() {
    let (mut one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let setting = format!("[paths]\ntrack = {:?}\n", track(&sandbox).to_str().unwrap());
    fs::write(sandbox.path("settings.toml"), setting).unwrap();
    assert_eq!(run(&sandbox, &["web.cf", "start"]), 0);
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    expect(&sandbox, "the service is up", "0\n");
    two.stop();
    one.stop();
    expect(&sandbox, "no server is left, only the fallback", "1\n");
    one.serve("I am fine");
    expect(&sandbox, "one server is back", "0\n");
    // Another service instead of this one.
    sandbox.write(&two_servers(&one, &two, "").replace("192.0.2.1:80", "192.0.2.1:81"));
    assert_eq!(run(&sandbox, &["web.cf", "reload"]), 0);
    let names = || {
        let names = fs::read_dir(track(&sandbox)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    let other = "tcp:192.0.2.1:81";
    sandbox
        .wait_for("only the file of the other service", || names() == [other], &|| format!("{:?}", names()));
    assert_eq!(run(&sandbox, &["web.cf", "stop"]), 0);
    assert_eq!(fs::read_to_string(track(&sandbox).join(other)).unwrap(), "1\n");
}

/// The daemon runs in `/`.
#[test]
fn a_relative_directory_for_track_files_is_refused() {
    let sandbox = Sandbox::new("");
    fs::write(sandbox.path("settings.toml"), "[paths]\ntrack = \"track\"\n").unwrap();
    let settings = sandbox.path("settings.toml");
    let output = sandbox.run(&["--settings", settings.to_str().unwrap(), "web.cf", "start"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("must be an absolute path"), "{said}");
}
