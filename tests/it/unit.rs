//! Commands for a daemon whose systemd unit waits for its next start, with a `systemctl` that records its calls.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::sandbox::Sandbox;

const CONFIG: &str = "virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n";
/// As process 1 of a machine with systemd, in a mount namespace of its own.
const BOOTED: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec \"$@\"";
const SYSTEMCTL: &str = "#!/bin/sh\n\
    echo \"$*\" >>asked\n\
    case \"$1\" in\n\
    list-units) [ ! -e hangs ] || exec sleep 60; [ ! -e waits ] || printf 'cron.service loaded activating auto-restart x\\nlb.service loaded activating auto-restart y\\n' ;;\n\
    show) case \"$*\" in\n\
    *cron.service) echo '{ path=/bin/cron ; argv[]=/bin/cron web.cf start ; pid=0 }' ;;\n\
    *lb.service) echo \"{ path=/usr/sbin/ldirectord-rs ; argv[]=/usr/sbin/ldirectord-rs $(cat options) --foreground web.cf start ; pid=0 }\" ;;\n\
    esac ;;\n\
    *) [ ! -e refuses ] || exit 1 ;;\n\
    esac\n";

/// The exit code, the output, and what systemd was asked to do.
fn act(sandbox: &Sandbox, words: &[&str]) -> (i32, String, Vec<String>) {
    let _ = fs::remove_file(sandbox.path("asked"));
    let program = sandbox.command(words);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", BOOTED, "sh"]).arg(program.get_program()).args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let path = format!("{}:{}", sandbox.path("bin").display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("LDIRECTORD_RS_TABLE__BACKEND", "kernel");
    let output = command.current_dir(sandbox.path("")).stdin(Stdio::null()).output().unwrap();
    let asked = fs::read_to_string(sandbox.path("asked")).unwrap_or_default();
    let orders = asked.lines().filter(|line| line.starts_with("--no-ask-password")).map(str::to_owned);
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said, orders.collect())
}

/// R94
#[test]
fn a_unit_that_waits_for_a_start_is_stopped_and_restarted() {
    let may = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        println!("skipped: unshare(1) may not make a mount namespace here");
        return;
    }
    let sandbox = Sandbox::new(CONFIG);
    fs::create_dir(sandbox.path("bin")).unwrap();
    fs::write(sandbox.path("bin/systemctl"), SYSTEMCTL).unwrap();
    fs::set_permissions(sandbox.path("bin/systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let order = |verb: &str| vec![format!("--no-ask-password {verb} -- lb.service")];
    let (code, said, orders) = act(&sandbox, &["web.cf", "stop"]);
    assert_eq!((code, orders), (0, Vec::new()), "it does not wait: {said}");
    assert!(said.contains("nothing to stop"), "{said}");
    fs::write(sandbox.path("waits"), "").unwrap();
    // The settings are those of the command, see `Sandbox::command`.
    let own = format!("--settings {}", sandbox.path("settings-of-none.toml").display());
    fs::write(sandbox.path("options"), &own).unwrap();
    let (code, said, orders) = act(&sandbox, &["web.cf", "restart"]);
    assert_eq!((code, orders), (0, order("restart")), "{said}");
    let (code, said, orders) = act(&sandbox, &["web.cf", "stop"]);
    assert_eq!((code, orders), (0, order("stop")), "{said}");
    assert!(said.contains("lb.service waits for its next start: systemctl stop lb.service"), "{said}");
    assert!(!said.contains("nothing to stop"), "{said}");
    // The unit of another daemon stays: a unit with other settings, or of another configuration.
    for options in ["--settings /etc/b.toml".to_owned(), format!("{own} --table memory")] {
        fs::write(sandbox.path("options"), &options).unwrap();
        assert_eq!(act(&sandbox, &["web.cf", "stop"]).2, [""; 0], "{options}");
    }
    fs::write(sandbox.path("options"), &own).unwrap();
    fs::write(sandbox.path("other.cf"), sandbox.text(CONFIG)).unwrap();
    assert_eq!(act(&sandbox, &["other.cf", "stop"]).2, [""; 0]);
    // With a wrong file the unit may wait for ever: the command that ends it does not need the file.
    sandbox.write("nonsense\n");
    assert_eq!(
        (act(&sandbox, &["web.cf", "restart"]).2, act(&sandbox, &["web.cf", "stop"]).2),
        (vec![], order("stop"))
    );
    fs::write(sandbox.path("refuses"), "").unwrap();
    assert_eq!(act(&sandbox, &["web.cf", "stop"]).0, 1);
    // A restart that does not know about units changes nothing, and a stop ends although systemd hangs.
    fs::write(sandbox.path("hangs"), "").unwrap();
    sandbox.write(CONFIG);
    let (code, said, _) = act(&sandbox, &["web.cf", "restart"]);
    assert!(
        code == 1 && said.contains("gave no answer within 5 s") && said.contains("nothing was done"),
        "{code} {said}"
    );
    let (code, said, _) = act(&sandbox, &["web.cf", "stop"]);
    assert!(code == 0 && said.contains("gave no answer within 5 s"), "{code} {said}");
}
