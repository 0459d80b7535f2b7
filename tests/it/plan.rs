//! `plan`: what it prints is what the reload then does, and it changes nothing.

use std::fs;

use crate::sandbox::{Sandbox, WebServer, two_servers};

/// Exit code, standard output and standard error of `plan`.
fn plan(sandbox: &Sandbox, more: &[&str]) -> (i32, String, String) {
    let output = sandbox.run(&[&["plan", "-c", "web.cf"], more].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_plan_is_what_the_next_reload_does() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    // Without a daemon: the start, which has not checked any server yet.
    let (code, out, err) = plan(&sandbox, &[]);
    let mut servers = [(one.address, 1), (two.address, 3)];
    servers.sort();
    let added: String = servers
        .iter()
        .map(|(address, _)| format!("-a -t 192.0.2.1:80 -r {address} -m -w 0\n"))
        .chain(["-a -t 192.0.2.1:80 -r 127.0.0.9:80 -m -w 1\n".to_owned()])
        .collect();
    let mut lines: Vec<&str> = out.lines().collect();
    lines[1..].sort_unstable();
    let mut expected: Vec<&str> = added.lines().collect();
    expected.sort_unstable();
    assert_eq!((code, lines[0], &lines[1..]), (2, "-A -t 192.0.2.1:80 -s wrr", &expected[..]), "{err}");
    assert!(err.lines().all(|line| line.starts_with('#')), "{err}");
    assert!(
        err.contains("what a start would change now. Nothing written.\n# 4 operations, 0 dangerous."),
        "{err}"
    );
    assert!(!sandbox.log().contains("Added"), "{}", sandbox.log());

    assert_eq!(sandbox.act("start"), 0);
    let both = [(one.address, 1), (two.address, 3)];
    sandbox.expect("both are up", &both);
    let (code, out, err) = plan(&sandbox, &[]);
    assert!(code == 0 && out.is_empty() && err.contains("# No operation"), "{code} {out}{err}");
    assert_eq!(plan(&sandbox, &["--diff"]).0, 0);

    let new = two_servers(&one, &two, "").replace("masq 1", "masq 7");
    sandbox.write(&format!("{new}\tscheduler=sh\n"));
    let (code, out, err) = plan(&sandbox, &[]);
    let weight = format!("-e -t 192.0.2.1:80 -r {} -m -w 7\n", one.address);
    assert_eq!((code, out), (2, format!("-E -t 192.0.2.1:80 -s sh\n{weight}")), "{err}");
    assert!(err.contains("what a reload would change now"), "{err}");
    assert!(err.contains("# 2 operations, 1 dangerous."), "{err}");
    assert!(
        err.contains("# DANGER tcp:192.0.2.1:80: scheduler wrr -> sh, clients change servers\n"),
        "{err}"
    );
    assert!(err.contains(&format!("# tcp:192.0.2.1:80: weight of {}, 1 -> 7\n", one.address)), "{err}");
    let (code, out, _) = plan(&sandbox, &["--diff"]);
    let changed = format!("~   real {}   weight 1 (masquerade) -> weight 7 (masquerade)\n", one.address);
    assert!(code == 2 && out.starts_with("  tcp:192.0.2.1:80\n~   scheduler wrr -> scheduler sh\n"), "{out}");
    assert!(out.ends_with(&changed), "{out}");
    sandbox.expect("a plan changes nothing", &both);

    assert_eq!(sandbox.act("reload"), 0);
    sandbox.expect("the reload does it", &[(one.address, 7), (two.address, 3)]);
    sandbox.wait_for("nothing is left to do", || plan(&sandbox, &[]).0 == 0, &String::new);
    // The plans left nothing in the log.
    assert_eq!(sandbox.log().matches("Changed virtual server").count(), 1, "{}", sandbox.log());
}

#[test]
fn a_file_without_a_plan_is_1() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let text = two_servers(&one, &two, "");
    let sandbox = Sandbox::new(&text);
    let settings = sandbox.path("wrong.toml");
    fs::write(&settings, "[nonsense]\n").unwrap();
    let (code, out, err) = plan(&sandbox, &["--settings", settings.to_str().unwrap()]);
    assert!(code == 1 && out.is_empty() && err.contains("wrong.toml"), "{code} {out}{err}");
    for daemon in [false, true] {
        if daemon {
            sandbox.write(&text);
            assert_eq!(sandbox.act("start"), 0);
        }
        sandbox.write(&text.replace("fallback=127.0.0.9:80", "fallback=nonsense:x:y"));
        let (code, out, err) = plan(&sandbox, &[]);
        assert!(code == 1 && out.is_empty() && err.contains("fallback"), "{daemon} {code} {out}{err}");
        fs::remove_file(sandbox.path("web.cf")).unwrap();
        let (code, _, err) = plan(&sandbox, &[]);
        assert!(code == 1 && err.starts_with("Config file web.cf not found"), "{daemon} {code} {err}");
    }
}

#[test]
fn another_file_of_the_name_is_planned_as_a_start() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let text = two_servers(&one, &two, "");
    let sandbox = Sandbox::new(&text);
    assert_eq!(sandbox.act("start"), 0);
    fs::create_dir(sandbox.path("other")).unwrap();
    fs::write(sandbox.path("other/web.cf"), sandbox.text(&text.replace("192.0.2.1:80", "192.0.2.2:80")))
        .unwrap();
    let output = sandbox.run(&["other/web.cf", "plan"]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(out.starts_with("-A -t 192.0.2.2:80 -s wrr\n"), "{out}");
    let runs = format!(" runs for {}\n", sandbox.path("web.cf").canonicalize().unwrap().display());
    assert!(err.contains("what a start would change now") && err.contains(&runs), "{err}");
}
