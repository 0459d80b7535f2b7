//! The kernel's table as `ipvsadm -Sn` prints it, sorted: read, compared, set by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use crate::netns::NetNs;

/// A table: its lines, whose order has no meaning.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Table(BTreeSet<String>);

impl Table {
    /// The table of a network namespace.
    pub fn read(netns: &NetNs) -> Self {
        let text = netns.feed(&["ipvsadm", "-Sn"], "");
        Self(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Adds a TCP service.
    pub fn service(mut self, service: SocketAddr, scheduler: &str) -> Self {
        self.0.insert(format!("-A -t {service} -s {scheduler}"));
        self
    }

    /// Adds a server with its forwarding (`-g`, `-m`, `-i`) to a service.
    pub fn server(mut self, service: SocketAddr, server: SocketAddr, forward: &str, weight: u32) -> Self {
        let tunnel = if forward == "-i" { " --tun-type ipip" } else { "" };
        self.0.insert(format!("-a -t {service} -r {server} {forward} -w {weight}{tunnel}"));
        self
    }

    /// Makes it the table of a network namespace.
    pub fn install(&self, netns: &NetNs) {
        netns.feed(&["ipvsadm", "-C"], "");
        // Services (-A) sort before their servers (-a).
        let text: String = self.0.iter().flat_map(|line| [line, "\n"]).collect();
        netns.feed(&["ipvsadm", "-R"], &text);
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "  (empty)");
        }
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// The number of connections that the kernel has counted, by service or server. A counter that begins again at 0
/// reveals an entry that was deleted and added again, which no table shows.
pub fn connections(netns: &NetNs) -> BTreeMap<String, u64> {
    let text = netns.feed(&["ipvsadm", "-Ln", "--stats", "--exact"], "");
    let mut counts = BTreeMap::new();
    let mut service = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["TCP" | "UDP" | "FWM", address, count, ..] => {
                if let Ok(count) = count.parse() {
                    service = address.to_owned();
                    counts.insert(service.clone(), count);
                }
            }
            ["->", address, count, ..] => {
                if let Ok(count) = count.parse() {
                    counts.insert(format!("{service} -> {address}"), count);
                }
            }
            _ => {}
        }
    }
    counts
}
