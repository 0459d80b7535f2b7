//! The unit under a real systemd: its user, the privileges of the daemon and its commands, reload, restart without a
//! write, a crash, the stop.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/systemd.sh");
const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd/ldirectord-rs.service");

#[test]
fn the_unit_lives() {
    // A network of its own separates its table from others; systemd has a /run of its own.
    let output = Command::new("unshare")
        .arg("--net")
        .args([SCRIPT, env!("CARGO_BIN_EXE_ldirectord-rs"), UNIT])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (told, noted) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let noted: BTreeMap<&str, &str> = noted.lines().filter_map(|line| line.split_once('=')).collect();
    let net_admin = "0000000000001000";
    let command = format!("{} {}", "0".repeat(16), "0000000000003000");
    for (step, expected) in [
        ("start", "0"),
        ("up", "0"),
        ("user", "ldirectord-rs"),
        ("capabilities", net_admin),
        ("command", command.as_str()),
        ("status", "0"),
        ("show", "0"),
        ("reload", "0"),
        // It fails with the reason, and does not signal the daemon.
        ("bad-reload", "1"),
        ("unharmed", "0"),
        ("status-line", "2 of 2 up"),
        ("restart", "0"),
        ("replaced", "yes"),
        ("crashed", "replaced"),
        ("services", "2"),
        ("place", "1"),
        // Neither the restart nor the crash wrote to the table.
        ("added", "2"),
        // R94
        ("own-restart", "0 active 0"),
        ("ending-restart", "0 1"),
        ("own-bad-restart", "2 unharmed"),
        ("own-bad-reload", "2 unharmed"),
        ("own-bad-stop", "2 unharmed"),
        // The table is unchanged.
        ("careless-restart", "1 2"),
        ("waiting-stop", "0 inactive 0 1"),
        ("repaired", "active 2"),
        ("waiting-restart", "0 active 2"),
        ("own-reload", "0"),
        ("own-stop", "0 inactive 0"),
        ("stop", "0"),
        ("left", "0"),
        ("stopped", "3"),
    ] {
        assert_eq!(noted.get(step), Some(&expected), "{step} in {noted:?}\n{told}");
    }
}
