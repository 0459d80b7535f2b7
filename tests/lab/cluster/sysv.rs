//! The init script: what `service`, heartbeat and Pacemaker's class lsb expect of it, and how long the daemon's own
//! actions take compared with those of the original.

use std::time::Duration;

use super::node::Node;
use super::{Cluster, closing, seconds, with_original};
use crate::samples::SCHOOL;
use crate::table::Table;
use crate::wait::until;

const FILE: &str = "/etc/ha.d/ldirectord.cf";
const PID: &str = "/run/ldirectord.ldirectord.cf.pid";
const SOON: Duration = Duration::from_secs(120);

#[track_caller]
fn expect(node: &Node, action: &str, code: i32) -> String {
    let said = node.say(&format!("service ldirectord-rs {action}"));
    assert_eq!(said.code(), code, "{action}: {}\n{}", said.text, node.story());
    said.text
}

/// `status` reports by its exit code, and by a word for heartbeat, which falls back to such a script.
#[track_caller]
fn is(node: &Node, code: i32, word: &str) {
    let said = node.say("service ldirectord-rs status 2>/dev/null");
    assert_eq!((said.code(), said.text.as_str()), (code, format!("ldirectord-rs: {word}\n").as_str()));
}

/// R52
#[test]
fn exit_codes_of_the_lsb() {
    let cluster = Cluster::new(100, &[191, 192], "wrr", [1, 3], SCHOOL);
    let node = cluster.node(0);
    is(node, 3, "stopped");
    expect(node, "stop", 0);
    expect(node, "reload", 7);
    expect(node, "force-reload", 7);
    expect(node, "try-restart", 0);
    is(node, 3, "stopped");
    expect(node, "nonsense", 2);

    expect(node, "start", 0);
    expect(node, "start", 0);
    is(node, 0, "running");
    let pid = || node.must(&format!("cat {PID}")).text;
    let first = pid();
    expect(node, "reload", 0);
    expect(node, "force-reload", 0);
    assert_eq!(pid(), first);
    expect(node, "try-restart", 0);
    let second = pid();
    assert_ne!(second, first);
    expect(node, "restart", 0);
    let third = pid();
    assert_ne!(third, second);

    // A wrong file, and a missing file.
    node.write(FILE, "nonsense");
    expect(node, "restart", 6);
    expect(node, "reload", 6);
    assert_eq!(pid(), third);
    is(node, 0, "running");
    expect(node, "stop", 0);
    assert_eq!(node.table(), Table::default());
    expect(node, "start", 6);
    node.must(&format!("rm {FILE}"));
    expect(node, "start", 6);
    expect(node, "stop", 0);
    is(node, 3, "stopped");

    // A killed daemon, a user without the right, a missing program.
    node.write(FILE, &cluster.configuration);
    expect(node, "restart", 0);
    node.must(&format!("kill -KILL $(cat {PID})"));
    until("a daemon that is gone", SOON, || {
        let said = node.say("service ldirectord-rs status");
        if said.code() == 1 { Ok(()) } else { Err(format!("{said:?}")) }
    });
    is(node, 1, "stopped");
    expect(node, "start", 0);
    is(node, 0, "running");
    let said = node.say("su nobody -s /bin/sh -c '/etc/init.d/ldirectord-rs stop'");
    assert_eq!(said.code(), 4, "{said:?}");
    expect(node, "stop", 0);

    // A pid file that cannot be read: the state is unknown, which is an error.
    node.must(&format!("mkdir {PID}"));
    is(node, 4, "unknown");
    for action in ["reload", "try-restart"] {
        let text = expect(node, action, 1);
        assert!(text.contains("it is unknown whether"), "{action}: {text}");
    }
    node.must(&format!("rmdir {PID}"));
    node.must("mount --bind /dev/null /usr/sbin/ldirectord-rs");
    expect(node, "start", 5);
    expect(node, "status", 4);
}

/// Measures ours and, if requested, the original, one after the other.
#[test]
fn how_long_actions_take() {
    let cluster = Cluster::new(100, &[191, 192], "wrr", [1, 3], SCHOOL);
    let node = cluster.node(0);
    let mut figures = Vec::new();
    let programs = ["ldirectord-rs", "ldirectord"];
    for program in programs.into_iter().take(if with_original() { 2 } else { 1 }) {
        let took = |action: &str| node.must(&format!("{program} ldirectord.cf {action}")).took;
        let (start, status) = (took("start"), took("status"));
        until("a table", SOON, || if node.table().is_empty() { Err(node.story()) } else { Ok(()) });
        let begin = std::time::Instant::now();
        let stop = took("stop");
        until("an empty table", SOON, || if node.table().is_empty() { Ok(()) } else { Err(node.story()) });
        figures.push(format!(
            "{program}: start {}, status {}, stop {} (table empty after {})",
            seconds(start),
            seconds(status),
            seconds(stop),
            seconds(begin.elapsed())
        ));
    }
    closing(&format!("actions, on this machine: {}", figures.join("; ")));
}
