//! The tests' own machine: files of an operator must not change what a test sees (`tests/hide-host-files.sh`), and
//! the repository may be below /var (`tests/overlay-host.sh`). Needs root, for mounts.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const HIDE_FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hide-host-files.sh");
const OVERLAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/overlay-host.sh");

/// Files that an operator may have, and that no test may see.
const PLANTED: [&str; 26] = [
    "etc/cron.d/a job of mine",
    "etc/crontab",
    "etc/default/heartbeat",
    "etc/default/ldirectord-rs",
    "etc/fstab",
    "etc/group",
    "etc/ha.d/haresources",
    "etc/ha.d/ldirectord.cf",
    "etc/init.d/ldirectord",
    "etc/keepalived/keepalived.conf",
    "etc/ldirectord-rs.toml",
    "etc/ldirectord.cf",
    "etc/logrotate.d/ldirectord",
    "etc/mysql/conf.d/own.cnf",
    "etc/passwd",
    "etc/shadow",
    "etc/sysctl.d/90-ip_vs.conf",
    "etc/systemd/system/ldirectord-rs.service.d/override.conf",
    "usr/lib/systemd/system/ldirectord.service",
    "usr/sbin/ldirectord",
    "var/lib/heartbeat/hostcache",
    "var/lib/ldirectord-rs/state",
    "var/lib/pacemaker/cib/cib.xml",
    "var/log/ldirectord.log",
    "var/log/pacemaker/pacemaker.log",
    "var/spool/cron/crontabs/root",
];

/// Files of every machine.
const COMMON: [&str; 4] = [
    "etc/default/locale",
    "etc/ssl/openssl.cnf",
    "usr/bin/tool",
    "var/lib/pacemaker/clone/target/debug/a test", // the repository may lie anywhere
];

fn plant(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Whether this process may mount. Prints a notice if not.
fn may_mount() -> bool {
    let may = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
    let may = nix::unistd::geteuid().is_root() && may.is_ok_and(|status| status.success());
    if !may {
        println!("skipped: only root can mount");
    }
    may
}

/// The output of a script in a mount namespace of its own.
fn in_namespace(script: &str, arguments: &[&Path]) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", script, "sh"]).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn d2_what_an_operator_has_does_not_show_through() {
    if !may_mount() {
        return;
    }
    let place = TempDir::new().unwrap();
    let root = place.path().join("root");
    for path in PLANTED.iter().chain(&COMMON) {
        plant(&root, path, "planted");
    }
    for name in ["passwd.master", "group.master"] {
        plant(&root, &format!("usr/share/base-passwd/{name}"), "root:*:0:0:root:/root:/bin/bash\n");
    }
    let script = "mount -t tmpfs layers \"$2\"; \"$3\" \"$1\" \"$2\" /var/lib/pacemaker/clone; cd \"$2\"; mkdir upper work seen
        mount -t overlay tests -o \"lowerdir=new:gone:$1,upperdir=upper,workdir=work\" seen
        cd seen; grep -rl planted . | sort; ls -d var/log etc/systemd/system; cat etc/passwd";
    let layers = place.path().join("layers");
    fs::create_dir(&layers).unwrap();
    let seen = in_namespace(script, &[&root, &layers, Path::new(HIDE_FILES)]);
    let expected: Vec<String> = COMMON.iter().map(|path| format!("./{path}")).collect();
    let mut lines = seen.lines();
    assert_eq!(lines.by_ref().take(COMMON.len()).collect::<Vec<_>>(), expected, "{seen}");
    let rest = ["etc/systemd/system", "var/log", "root:x:0:0:root:/root:/bin/bash"];
    assert_eq!(lines.collect::<Vec<_>>(), rest, "{seen}");
}

#[test]
fn d4_the_packages_of_the_tests_may_lie_below_var_and_run() {
    if !may_mount() {
        return;
    }
    for below in ["/var/tmp", "/run", "/tmp"] {
        let place = tempfile::tempdir_in(below).unwrap();
        for (folder, name) in [("usr", "sbin"), ("etc", "default"), ("var", "lib")] {
            plant(place.path(), &format!("{folder}/{name}/fetched"), folder);
        }
        let script = "\"$2\" --hide \"$1\"; cat /usr/sbin/fetched /etc/default/fetched /var/lib/fetched; cat \"$1/usr/sbin/fetched\"";
        assert_eq!(in_namespace(script, &[place.path(), Path::new(OVERLAY)]), "usretcvarusr", "{below}");
    }
}

/// The tests of the program as a process, on a machine whose operator has settings, also in the environment.
#[test]
fn d2_the_settings_of_the_machine_do_not_count() {
    if !may_mount() {
        return;
    }
    let own = std::env::current_exe().unwrap();
    let script = "\"$2\" --hide; echo nonsense >/etc/ldirectord-rs.toml; export LDIRECTORD_RS_LOG__LEVEL=loud LDIRECTORD_RS_NONSENSE=1
        exec \"$1\" lifecycle::exit_codes_while_stopped";
    let said = in_namespace(script, &[&own, Path::new(OVERLAY)]);
    assert!(said.contains("1 passed"), "{said}");
}
