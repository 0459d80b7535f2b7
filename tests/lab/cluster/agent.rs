//! The agent for Pacemaker alone: `ocf-tester`, and every exit code that Pacemaker acts upon.

use std::time::Duration;

use super::Cluster;
use super::node::{Node, Said};
use crate::samples::SCHOOL;
use crate::table::Table;
use crate::wait::until;

const AGENT: &str = "/usr/lib/ocf/resource.d/heartbeat/ldirectord-rs";
const FILE: &str = "/etc/ha.d/ldirectord.cf";
const SOON: Duration = Duration::from_secs(120);
/// The limit for a stop, shorter than the time-out of any cluster manager.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Runs an action of the agent with these variables set. It must give this exit code.
#[track_caller]
fn expect(node: &Node, variables: &str, action: &str, code: i32) -> Said {
    let said =
        node.say(&format!("OCF_ROOT=/usr/lib/ocf OCF_RESKEY_configfile={FILE} {variables} {AGENT} {action}"));
    assert_eq!(said.code(), code, "{variables} {action}: {}\n{}", said.text, node.story());
    assert!(
        code == 0 || code == 7 || code == 3 || said.text.contains("ocf-exit-reason:"),
        "no reason: {said:?}"
    );
    said
}

fn cluster() -> Cluster {
    let cluster = Cluster::new(100, &[191, 192], "wrr", [1, 3], SCHOOL);
    for server in &cluster.network.servers {
        server.web.page("/.test.html", "OK");
    }
    cluster
}

#[track_caller]
fn comes_to(node: &Node, table: &Table) {
    until("table", SOON, || {
        let found = node.table();
        if found == *table { Ok(()) } else { Err(format!("{found:?}{}", node.story())) }
    });
}

#[test]
fn passes_ocf_tester() {
    let cluster = cluster();
    let node = cluster.node(0);
    let said = node.must(&format!("ocf-tester -n lvs -o configfile={FILE} {AGENT}"));
    assert!(said.text.contains("passed all tests") && !said.text.contains("rc="), "{}", said.text);
    assert!(!said.text.contains("does not support the reload action"), "{}", said.text);
}

/// R51
#[test]
fn every_exit_code() {
    let cluster = cluster();
    let node = cluster.node(0);
    let (up, good) = (cluster.table([1, 3]), &cluster.configuration);
    expect(node, "", "validate-all", 0);
    expect(node, "OCF_CHECK_LEVEL=10", "validate-all", 0);
    expect(node, "", "monitor", 7);
    expect(node, "", "stop", 0);
    expect(node, "", "promote", 3);
    expect(node, "", "start", 0);
    expect(node, "", "start", 0);
    expect(node, "", "monitor", 0);
    expect(node, "OCF_CHECK_LEVEL=10", "monitor", 0);
    comes_to(node, &up);

    // A changed file is applied. A wrong file changes nothing, and neither monitor nor stop fails.
    node.write(FILE, &good.replace("gate 3", "gate 5").replace("autoreload=yes", "autoreload=no"));
    expect(node, "", "reload-agent", 0);
    comes_to(node, &cluster.table([1, 5]));
    node.write(FILE, "nonsense");
    expect(node, "", "reload", 1);
    expect(node, "OCF_CHECK_LEVEL=10", "validate-all", 6);
    expect(node, "OCF_CHECK_LEVEL=10", "monitor", 0);
    assert_eq!(node.table(), cluster.table([1, 5]));
    expect(node, "", "stop", 0);
    expect(node, "", "start", 1);
    node.must(&format!("rm {FILE}"));
    expect(node, "", "start", 5);
    expect(node, "", "validate-all", 5);
    expect(node, "", "monitor", 7);

    // Without the program: stopped, or the state is unknown.
    expect(node, "OCF_RESKEY_ldirectord=/nowhere", "start", 5);
    expect(node, "OCF_RESKEY_ldirectord=/nowhere", "monitor", 7);
    expect(node, "OCF_RESKEY_ldirectord=/nowhere", "stop", 0);
    node.write(FILE, good);
    expect(node, "", "start", 0);
    expect(node, "OCF_RESKEY_ldirectord=/nowhere", "monitor", 5);
    expect(node, "OCF_RESKEY_ldirectord=/nowhere", "stop", 1);

    // A daemon that runs but hangs, and a daemon that was killed.
    let signal = |name: &str| node.must(&format!("kill -{name} $(cat /run/ldirectord.ldirectord.cf.pid)"));
    signal("STOP");
    expect(node, "", "monitor", 0);
    expect(node, "OCF_CHECK_LEVEL=10", "monitor", 1);
    signal("CONT");
    signal("KILL");
    until("a daemon that is gone", SOON, || {
        let said = node.say("ldirectord-rs ldirectord.cf status");
        if said.code() == 1 { Ok(()) } else { Err(format!("{said:?}")) }
    });
    expect(node, "", "monitor", 7);
    expect(node, "", "start", 0);
    comes_to(node, &up);

    // The servers accept connections and do not answer. The stop works all the same, and the table is empty when it
    // returns.
    cluster.network.servers.iter().for_each(|server| server.web.freeze());
    std::thread::sleep(Duration::from_secs(2));
    let said = expect(node, "", "stop", 0);
    assert_eq!(node.table(), Table::default());
    assert!(said.took < STOP_LIMIT, "{:?}", said.took);
    expect(node, "", "monitor", 7);
}
