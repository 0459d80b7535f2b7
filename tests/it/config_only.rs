//! `-t` and `check --config-only`: a file is checked on its own, and a program can read the findings.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use serde_json::Value;

use crate::sandbox::Sandbox;

/// Valid, and full of names that only a name server or the list of services knows.
const NAMES: &str = "virtual=www.example.net:https\n\treal=web1.example.net:https masq\n\treal=web2.example.net:8443 masq\n\
                     \tfallback=sorry.example.net:http masq\n\tsmtp=relay.example.net\n";

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Neither the directory in which the configuration is searched nor settings may matter.
#[test]
fn any_path_is_judged_with_0_or_2() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=192.0.2.2:80 masq\n");
    let staged = sandbox.path("staged");
    fs::create_dir(&staged).unwrap();
    let (good, bad) = (staged.join(".ansible-x.cf.tmp"), staged.join("bad"));
    fs::write(&good, "virtual=192.0.2.1:80\n\treal=192.0.2.2:80 masq\n").unwrap();
    fs::write(&bad, "virtual=192.0.2.1:80\n\treel=192.0.2.2:80 masq\n").unwrap();
    fs::write(sandbox.path("ha.d/web.cf"), "nonsense\n").unwrap();
    let code = |words: &[&str]| sandbox.run(words).status.code();
    assert_eq!(code(&["-t", good.to_str().unwrap()]), Some(0));
    assert_eq!(code(&["check", "--config-only", good.to_str().unwrap()]), Some(0));
    assert_eq!(code(&["-t", "web.cf"]), Some(0), "-t takes the file as it is named");
    assert_eq!(code(&["check", "--config-only", "web.cf"]), Some(2), "check looks where start does");
    for words in [["-t", bad.to_str().unwrap()], ["-t", "missing.cf"], ["-t", "staged"]] {
        assert_eq!(code(&words), Some(2), "{words:?}");
    }
    let told = sandbox.run(&["-t", bad.to_str().unwrap()]);
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("at line 2") && told.contains("did you mean real?"), "{told}");
    let wrong_settings =
        sandbox.command(&["-t", "web.cf"]).env("LDIRECTORD_RS_STOP__GRACE", "-1").output().unwrap();
    assert_eq!(wrong_settings.status.code(), Some(0), "{wrong_settings:?}");
    assert!(!sandbox.pid_file().exists() && sandbox.log().is_empty(), "-t wrote something");
}

#[test]
fn json_has_line_column_code_and_help() {
    let sandbox =
        Sandbox::new("checkinterval=none\nvirtual=192.0.2.1:80\n\treel=192.0.2.2:80 masq\n\tpersistent=0\n");
    for words in [&["-t", "web.cf", "--json"] as &[&str], &["check", "web.cf", "--json"]] {
        let output = sandbox.run(words);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let judged = json(&output);
        assert_eq!(judged["usable"], false);
        let found = judged["diagnostics"].as_array().unwrap();
        let row = |found: &Value| {
            let text = |key: &str| found[key].as_str().unwrap_or("-").to_owned();
            let place = format!("{}:{}", found["line"], found["column"]);
            [text("severity"), text("code"), place, text("directive"), text("original")].join(" ")
        };
        // The first line of the site is its log file.
        assert_eq!(
            found.iter().map(row).collect::<Vec<_>>(),
            [
                "error invalid-value 2:15 checkinterval refuses",
                "error unknown-directive 4:2 - refuses",
                "warning odd-value 5:13 persistent accepts",
            ]
        );
        assert_eq!(found[1]["help"], "did you mean real?");
    }
    let good = sandbox.path("good.cf");
    fs::write(&good, "virtual=192.0.2.1:80\n\treal=192.0.2.2:80 masq\n").unwrap();
    let judged = json(&sandbox.run(&["--json", "-t", "good.cf"]));
    assert_eq!((&judged["usable"], &judged["diagnostics"]), (&Value::Bool(true), &Value::Array(Vec::new())));
    let missing = json(&sandbox.run(&["check", "missing.cf", "--json"]));
    assert_eq!(
        (&missing["diagnostics"][0]["code"], &missing["diagnostics"][0]["line"]),
        (&"not-found".into(), &Value::Null)
    );
}

#[test]
fn strict_makes_warnings_fail() {
    let sandbox =
        Sandbox::new("virtual=192.0.2.1:80\n\treal=192.0.2.2:80 masq\n\tchecktype=on\n\tpersistent=0\n");
    for words in [&["-t", "web.cf"] as &[&str], &["check", "web.cf"], &["check", "--config-only", "web.cf"]] {
        assert_eq!(sandbox.run(words).status.code(), Some(0), "{words:?}");
        let strict = [words, &["--strict"]].concat();
        let output = sandbox.run(&strict);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{strict:?}: {told}");
        assert!(told.contains("1 warning, and --strict allows none"), "{strict:?}: {told}");
    }
    let judged = json(&sandbox.run(&["-t", "web.cf", "--strict", "--json"]));
    assert_eq!(
        (&judged["usable"], &judged["diagnostics"][0]["code"]),
        (&Value::Bool(false), &"odd-value".into())
    );
}

/// Without any network and without a single socket: it asks neither a name server nor anything else.
#[test]
fn a_file_is_judged_without_network_or_socket() {
    let sandbox = Sandbox::new(NAMES);
    let judge = |before: &[&str]| {
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).arg(env!("CARGO_BIN_EXE_ldirectord-rs"));
        command.args(["-t", "web.cf"]).current_dir(sandbox.path("")).output()
    };
    let alone = ["unshare", "--user", "--map-root-user", "--net"];
    match Command::new(alone[0]).args(&alone[1..]).arg("true").status() {
        Ok(status) if status.success() => {
            let output = judge(&alone).unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
        _ => println!("skipped in part: no network namespace can be made here"),
    }
    let trace = sandbox.path("trace");
    match judge(&["strace", "-f", "-e", "trace=socket,socketpair", "-o", trace.to_str().unwrap()]) {
        Ok(output) if output.status.code() == Some(0) => {
            let calls = fs::read_to_string(&trace).unwrap();
            assert!(!calls.contains("socket("), "{calls}");
        }
        other => println!("skipped in part: no strace here: {other:?}"),
    }
}

/// Only the daemon's unit has credentials, so a pipeline cannot check them. The message tells how to get one.
#[test]
fn credentials_are_judged_where_they_are() {
    let sandbox = Sandbox::new(
        "virtual=192.0.2.1:443\n\treal=192.0.2.2:443 masq\n\tchecktype=on\n\t#rs: passwdfile=\"credential:ldap\"\n\
         #rs: tlscert=\"credential:cert\"\n#rs: tlskey=\"credential:key\"\n",
    );
    assert_eq!(sandbox.run(&["-t", "web.cf"]).status.code(), Some(0));
    let told = sandbox.run(&["check", "web.cf"]);
    let text = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(2), "{text}");
    assert!(text.contains("LoadCredential=ldap:"), "{text}");
    let directory = sandbox.path("credentials");
    fs::create_dir(&directory).unwrap();
    let within =
        |words: &[&str]| sandbox.command(words).env("CREDENTIALS_DIRECTORY", &directory).output().unwrap();
    let judged = json(&within(&["-t", "web.cf", "--json"]));
    let codes: Vec<&str> = judged["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["unreadable-file"; 3], "{judged}");
    for (name, content) in [("ldap", "hidden word\n"), ("cert", "no certificate"), ("key", "no key")] {
        fs::write(directory.join(name), content).unwrap();
    }
    let judged = json(&within(&["-t", "web.cf", "--json"]));
    assert_eq!(judged["diagnostics"][0]["code"], "unusable-tls-file", "{judged}");
    let (code, _, said) = sandbox.told("reload");
    assert_eq!(
        (code, said.as_str()),
        (1, ""),
        "no daemon runs, and the file is valid for a daemon with credentials"
    );
    as_nobody(&sandbox);
}

/// The process of `ExecReload=` knows the directory and may not read it.
fn as_nobody(sandbox: &Sandbox) {
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped in part: only root can become another user");
    }
    let directory = sandbox.path("credentials");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(sandbox.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    // A place that everybody can read.
    let own = sandbox.path("ldirectord-rs");
    sandbox.copy_program(&own);
    let mut command = Command::new(&own);
    command.args(["-t", "web.cf"]).current_dir(sandbox.path(".")).env("CREDENTIALS_DIRECTORY", &directory);
    let judged = command.uid(65534).gid(65534).output().unwrap();
    assert_eq!(judged.status.code(), Some(0), "{}", String::from_utf8_lossy(&judged.stderr));
}

fn repository(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The manual's commands for Ansible and Puppet, each with a good and a bad file in place of its placeholder.
#[test]
fn validation_commands_of_the_manual_work() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=192.0.2.2:80 masq\n");
    fs::write(sandbox.path("bad.cf"), "nonsense\n").unwrap();
    let manual = fs::read_to_string(repository("docs/man/ldirectord-rs.md")).unwrap();
    for (key, sign) in [("    validate: ", "%s"), ("    validate_cmd => ", "%")] {
        let line = manual.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let words: Vec<&str> = line.trim_matches('\'').split(' ').collect();
        assert_eq!((words[0], words.last()), ("/usr/sbin/ldirectord-rs", Some(&sign)), "{line}");
        for (file, code) in [("web.cf", 0), ("bad.cf", 2)] {
            let path = sandbox.path(file);
            let with_file = |word: &&str| {
                if *word == sign { path.to_str().unwrap().to_owned() } else { (*word).to_owned() }
            };
            let words: Vec<String> = words[1..].iter().map(with_file).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(sandbox.run(&words).status.code(), Some(code), "{words:?}");
        }
    }
}

/// Codes are an interface: the manual lists each printed code.
#[test]
fn every_code_is_in_the_manual() {
    let sandbox = Sandbox::new("");
    let manual = fs::read_to_string(repository("docs/man/ldirectord-rs.md")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for file in fs::read_dir(repository("tests/data/config")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "cf") {
            for found in json(&sandbox.run(&["-t", path.to_str().unwrap(), "--json"]))["diagnostics"]
                .as_array()
                .unwrap()
            {
                let code = found["code"].as_str().unwrap().to_owned();
                assert!(manual.contains(&format!("`{code}`")), "{code} is not in the manual: {found}");
                seen.insert(code);
            }
        }
    }
    assert!(seen.len() >= 10, "{seen:?}");
}
