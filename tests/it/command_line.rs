//! What a command line means where the original would refuse or ignore it, and what the operator is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::site::Site;

const CONFIG: &str = "virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n";

/// Exit code, standard output and standard error.
fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_daemon_of_any_program_name_is_found() {
    let site = Site::new(CONFIG);
    let program = site.path("lvsd");
    fs::copy(env!("CARGO_BIN_EXE_ldirectord-rs"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let settings = site.path("settings-of-none.toml");
    let run = |action: &str| {
        let like = site.command(&[]);
        let mut command = Command::new(&program);
        command.arg("--settings").arg(&settings).args(["web.cf", action]).current_dir(site.path(""));
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        told(command.output().unwrap())
    };
    assert_eq!(run("start").0, 0);
    let pid = site.pid().unwrap();
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!line.contains("ldirectord"), "{line}: the words must not give it away");
    assert_eq!(run("status").0, 0);
    assert_eq!((run("start").0, site.pid()), (0, Some(pid)));
    // An upgrade puts another file in its place.
    let copy = site.path("lvsd.new");
    fs::copy(&program, &copy).unwrap();
    fs::rename(&copy, &program).unwrap();
    assert_eq!(run("status").0, 0);
    assert_eq!(run("restart").0, 0);
    assert_ne!(site.pid(), Some(pid));
    let pid = site.pid().unwrap();
    assert_eq!(run("stop"), (0, String::new(), String::new()));
    // A zombie has no program any more.
    assert!(fs::read_link(format!("/proc/{pid}/exe")).is_err(), "it is gone");
}
