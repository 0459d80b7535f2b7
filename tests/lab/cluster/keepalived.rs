//! The book's directors with keepalived, which moves the address: address and table move together.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::doc::Page;
use super::outage::outage;
use super::{Cluster, closing, moved, seconds, with_original};
use crate::samples::BOOK;

const PAGE: Page = Page(include_str!("../../../docs/keepalived.md"));
const FILE: &str = "/etc/keepalived/keepalived.conf";
const OURS: &str = "/usr/sbin/ldirectord-rs ";
const ORIGINAL: &str = "/usr/sbin/ldirectord ";
const SOON: Duration = Duration::from_secs(300);

fn start(cluster: &Cluster, number: usize, program: &str) {
    let node = cluster.node(number);
    let text = PAGE.block(FILE);
    assert!(text.contains(OURS));
    node.write(FILE, &moved(&text).replace(OURS, program));
    if number == 1 {
        node.must(&PAGE.block("second"));
        assert!(node.must(&format!("cat {FILE}")).text.contains("priority 90"));
    }
    node.must(&PAGE.block("start"));
}

#[test]
fn keepalived() {
    let mut cluster = Cluster::new(200, &[132, 133], "rr", [1, 1], BOOK);
    for server in &cluster.network.servers {
        server.web.page("/index.html", "This is the Test Page.");
    }
    let mut figures = String::new();
    let programs = [("ours", OURS), ("the original", ORIGINAL)];
    for (who, program) in programs.into_iter().take(if with_original() { 2 } else { 1 }) {
        (0..2).for_each(|number| start(&cluster, number, program));
        cluster.is_served_by(0, SOON);
        let client = cluster.client("/index.html");
        client.comes_to_be_answered_by(&["s132", "s133"], 10);

        let begin = Instant::now();
        cluster.power_off(0);
        cluster.is_served_by(1, SOON);
        let dead = outage(&client, begin, SOON);

        let begin = Instant::now();
        cluster.power_on(0);
        start(&cluster, 0, program);
        cluster.is_served_by(0, SOON);
        let back = outage(&client, begin, SOON);
        write!(figures, "; {who}: node failure {}, hand-back {}", seconds(dead), seconds(back)).unwrap();

        // Both stop cleanly, and nothing remains.
        cluster.on().for_each(|node| drop(node.must("service keepalived stop")));
        for node in cluster.on() {
            crate::wait::until("an end without a rest", SOON, || {
                let (table, has) = (node.table(), node.has(&cluster.network.vip.to_string()));
                if table.is_empty() && !has {
                    Ok(())
                } else {
                    Err(format!("address {has}, table\n{table:?}{}", node.story()))
                }
            });
        }
    }
    closing(&format!("keepalived, the client's outage{figures}"));
}
