//! The book's directors under heartbeat: graceful standby, a node failure, hand-back, and the switch between the
//! original and ours.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::doc::Page;
use super::node::Node;
use super::outage::outage;
use super::{Cluster, closing, moved, seconds, with_original};
use crate::client::Client;
use crate::samples::BOOK;

const PAGE: Page = Page(include_str!("../../../docs/heartbeat.md"));
const HA_CF: &str = include_str!("../../data/samples/book/ha.cf");
const HARESOURCES: &str = include_str!("../../data/samples/book/haresources");
/// Times of the sample, and their replacements in the lab.
const TIMES: [(&str, &str); 4] = [
    ("keepalive 2\n", "keepalive 500ms\n"),
    ("warntime 10\n", "warntime 3\n"),
    ("deadtime 30\n", "deadtime 5\n"),
    ("initdead 120\n", "initdead 10\n"),
];
/// The limit for heartbeat's own times and its scripts on an emulated processor.
const SOON: Duration = Duration::from_secs(300);

struct Scene {
    cluster: Cluster,
    haresources: String,
    figures: String,
}

impl Scene {
    fn start(&self, number: usize) {
        let node = self.cluster.node(number);
        let ha_cf = TIMES.iter().fold(moved(HA_CF), |text, (sample, lab)| {
            assert!(text.contains(sample), "{sample}");
            text.replace(sample, lab)
        });
        node.write("/etc/ha.d/ha.cf", &ha_cf);
        node.write("/etc/ha.d/authkeys", "auth 1\n1 sha1 lab");
        node.must("chmod 600 /etc/ha.d/authkeys");
        node.write("/etc/ha.d/haresources", &self.haresources);
        node.must(&PAGE.block("start"));
    }

    /// Runs commands of the documentation on both nodes.
    fn both(&mut self, title: &str) {
        self.cluster.on().for_each(|node| drop(node.must(&PAGE.block(title))));
        self.haresources = self.cluster.node(0).must("cat /etc/ha.d/haresources").text;
    }

    /// Triggers an event after which the director `active` serves, and measures the client's outage.
    fn measure(
        &mut self,
        what: &str,
        client: &Client,
        active: usize,
        event: impl FnOnce(&mut Self),
    ) -> Duration {
        let begin = Instant::now();
        event(self);
        self.cluster.is_served_by(active, SOON);
        let outage = outage(client, begin, SOON);
        write!(self.figures, "; {what} {}", seconds(outage)).unwrap();
        outage
    }

    /// The active director loses power.
    fn dies(&mut self, client: &Client) {
        self.measure("node failure", client, 1, |scene| scene.cluster.power_off(0));
    }

    /// The director returns and gets the resources back.
    fn returns(&mut self, client: &Client) {
        self.measure("hand-back", client, 0, |scene| {
            scene.cluster.power_on(0);
            scene.start(0);
        });
    }

    fn tell(&mut self, who: &str) {
        closing(&format!(
            "heartbeat, {who}: the client's outages{}",
            std::mem::take(&mut self.figures).replacen(';', ":", 1)
        ));
    }
}

/// The command line of the daemon that the file of resources selects.
fn daemon(node: &Node) -> String {
    node.must("tr '\\0' ' ' </proc/$(cat /run/ldirectord.ldirectord.cf.pid)/cmdline").text
}

#[test]
fn heartbeat() {
    let cluster = Cluster::new(200, &[132, 133], "rr", [1, 1], BOOK);
    for server in &cluster.network.servers {
        server.web.page("/index.html", "This is the Test Page.");
    }
    let mut scene = Scene { cluster, haresources: moved(HARESOURCES), figures: String::new() };

    // The sample unchanged: the original's name, no file. Ours is in its place.
    for node in scene.cluster.on() {
        node.must("ln -sf ldirectord-rs /etc/ha.d/resource.d/ldirectord");
    }
    (0..2).for_each(|number| scene.start(number));
    scene.cluster.is_served_by(0, SOON);
    let client = scene.cluster.client("/index.html");
    client.comes_to_be_answered_by(&["s132", "s133"], 10);
    // R50: what heartbeat reads about a running resource, and about a stopped one.
    let word = |number: usize| {
        let command = "/etc/ha.d/resource.d/ldirectord status 2>/dev/null";
        scene.cluster.node(number).say(command).text
    };
    assert_eq!((word(0).as_str(), word(1).as_str()), ("running\n", "stopped\n"));
    let standby = |scene: &mut Scene, title: &str| drop(scene.cluster.node(0).must(&PAGE.block(title)));
    scene.measure("standby", &client, 1, |scene| standby(scene, "hand over"));
    scene.measure("back from standby", &client, 0, |scene| standby(scene, "take back"));

    // By its own name, with a file.
    scene.haresources = moved(&PAGE.block("/etc/ha.d/haresources"));
    for node in scene.cluster.on() {
        node.must("ln -sf /usr/sbin/ldirectord /etc/ha.d/resource.d/ldirectord");
        node.write("/etc/ha.d/haresources", &scene.haresources);
    }
    scene.cluster.node(0).must("ldirectord-rs stop && ldirectord-rs ldirectord.cf start");
    scene.cluster.is_served_by(0, SOON);
    scene.dies(&client);
    scene.returns(&client);
    scene.tell("ours");

    // Back to the original.
    scene.both("back");
    scene.cluster.node(0).must(&PAGE.block("back at once"));
    scene.cluster.is_served_by(0, SOON);
    assert!(daemon(scene.cluster.node(0)).contains("perl"), "{}", daemon(scene.cluster.node(0)));
    let active = if with_original() {
        scene.dies(&client);
        scene.tell("the original");
        1
    } else {
        0
    };

    // And ours again.
    let node = scene.cluster.node(active);
    assert!(daemon(node).contains("perl"), "{}", daemon(node));
    node.must(&PAGE.block("to ours"));
    assert!(node.must("cat /etc/ha.d/haresources").text.contains("ldirectord-rs::ldirectord.cf"));
    let switch = scene.measure("switch", &client, active, |scene| {
        scene.cluster.node(active).must(&PAGE.block("to ours at once"));
    });
    let node = scene.cluster.node(active);
    assert!(daemon(node).contains("ldirectord-rs"), "{}", daemon(node));
    // The client's pace on an emulated processor; the table must exist at every moment.
    assert!(switch < Duration::from_secs(1), "the switch to ours cost {switch:?}\n{}", scene.cluster.story());
    scene.tell("from the original to ours");
}
