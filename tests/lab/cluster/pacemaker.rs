//! The school's directors under Pacemaker and Corosync: its operator's steps, a halted director, and the switch
//! between the original and ours.

use std::time::{Duration, Instant};

use super::doc::Page;
use super::node::Node;
use super::outage::outage;
use super::{Cluster, closing, moved, seconds, with_original};
use crate::client::Client;
use crate::samples::SCHOOL;
use crate::wait::until;

const PAGE: Page = Page(include_str!("../../../docs/pacemaker.md"));
/// An ordinary two-node cluster. Its token waits long enough for an emulated processor.
const COROSYNC: &str = "\
totem {
	version: 2
	cluster_name: lab
	transport: knet
	crypto_cipher: none
	crypto_hash: none
	token: 5000
}
nodelist {
	node {
		ring0_addr: 10.1.0.1
		name: DR1
		nodeid: 1
	}
	node {
		ring0_addr: 10.1.0.2
		name: DR2
		nodeid: 2
	}
}
quorum {
	provider: corosync_votequorum
	two_node: 1
	wait_for_all: 0
}
logging {
	to_logfile: yes
	logfile: /var/log/corosync/corosync.log
	to_syslog: no
}
";
/// The lab has no fencing device, and need not wait 20 s for an absent director.
const PROPERTIES: &str = "\
crm_attribute --name stonith-enabled --update false
crm_attribute --name dc-deadtime --update 5s
";
/// The limit for the manager's own times and its agents on an emulated processor.
const SOON: Duration = Duration::from_secs(300);

fn start(node: &Node) {
    node.write("/etc/corosync/corosync.conf", COROSYNC);
    node.must("service corosync start && service pacemaker start");
}

fn set_up(cluster: &Cluster) {
    let node = cluster.node(0);
    until("a cluster that takes its configuration", SOON, || {
        let said = node.say(PROPERTIES);
        if said.status.success() { Ok(()) } else { Err(format!("{}\n{}", said.text, cluster.story())) }
    });
    let xml = moved(&PAGE.block("lvs.xml"));
    assert!(xml.contains("timeout=\"20s\""));
    node.write("/root/lvs.xml", &xml.replace("timeout=\"20s\"", "timeout=\"120s\""));
    node.must(&format!("cd /root && {}", PAGE.block("set up")));
}

/// The director that has the group now.
#[track_caller]
fn active(cluster: &Cluster) -> usize {
    until("a director that serves", SOON, || {
        let serves = |number: &usize| {
            cluster.nodes[*number].as_ref().is_some_and(|node| node.table() == cluster.table(cluster.weights))
        };
        (0..2).find(serves).ok_or_else(|| cluster.story())
    })
}

/// Changes the type of the resource. Pacemaker does the rest.
#[track_caller]
fn switch(cluster: &Cluster, title: &str, program: &str) {
    let node = cluster.on().next().unwrap();
    node.must(&PAGE.block(title));
    until(&format!("{program} under Pacemaker"), SOON, || {
        let said = node.say("tr '\\0' ' ' </proc/$(cat /run/ldirectord.ldirectord.cf.pid)/cmdline");
        if said.text.contains(program) { Ok(()) } else { Err(format!("{}\n{}", said.text, cluster.story())) }
    });
}

#[test]
fn pacemaker() {
    let mut cluster = Cluster::new(100, &[191, 192], "wrr", [1, 3], SCHOOL);
    for server in &cluster.network.servers {
        server.web.page("/.test.html", "OK");
    }
    cluster.on().for_each(start);
    set_up(&cluster);
    let first = active(&cluster);
    let second = 1 - first;
    cluster.is_served_by(first, SOON);
    let client = cluster.client("/");
    client.comes_to_be_answered_by(&["s191", "s192"], 12);

    // The web servers are stopped one after the other; then the director answers itself.
    cluster.network.servers[0].web.stop();
    cluster.comes_to(first, [0, 3], SOON);
    cluster.network.servers[1].web.stop();
    cluster.comes_to(first, [0, 0], SOON);
    client.comes_to_be_answered_by(&[&format!("d{}", first + 1)], 5);
    assert!(client.last_page().contains("Server is repairing"));
    cluster.network.servers.iter_mut().for_each(|server| server.web.start());
    cluster.is_served_by(first, SOON);

    // The active director is halted.
    let begin = Instant::now();
    cluster.power_off(first);
    cluster.is_served_by(second, SOON);
    let ours = outage(&client, begin, SOON);

    closing(&format!(
        "Pacemaker (token 5 s), the client's outage with a halted director: ours {}",
        seconds(ours)
    ));

    // The original replaces ours, and ours the original. The general switch command refuses and names the command for
    // Pacemaker.
    let said = cluster
        .node(second)
        .say(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/ldirectord-rs-switch to-perl"));
    assert_eq!(said.status.code(), Some(1), "{}", said.text);
    assert!(said.text.contains(PAGE.block("back").trim()), "{}", said.text);
    switch(&cluster, "back", "perl");
    cluster.is_served_by(second, SOON);
    let active = if with_original() { dies_with_original(&mut cluster, &client, second) } else { second };
    switch(&cluster, "to ours", "ldirectord-rs");
    cluster.is_served_by(active, SOON);
    cluster.node(active).must(&PAGE.block("reload"));
    assert!(cluster.node(active).say("crm_mon -1").text.contains("ldirectord-rs"));
}

/// The other director returns and waits. Then the active director is halted.
fn dies_with_original(cluster: &mut Cluster, client: &Client, active: usize) -> usize {
    let other = 1 - active;
    cluster.power_on(other);
    start(cluster.node(other));
    until("two directors", SOON, || {
        let said = cluster.node(active).say("crm_mon -1");
        if said.text.contains("Online: [ DR1 DR2 ]") { Ok(()) } else { Err(said.text) }
    });
    cluster.is_served_by(active, SOON);
    let begin = Instant::now();
    cluster.power_off(active);
    cluster.is_served_by(other, SOON);
    let outage = outage(client, begin, SOON);
    closing(&format!(
        "Pacemaker (token 5 s), the client's outage with a halted director: the original {}",
        seconds(outage)
    ));
    other
}
