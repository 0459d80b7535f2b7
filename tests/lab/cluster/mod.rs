//! Real cluster managers with two directors: heartbeat, Pacemaker, keepalived. Run by `tests/lab/cluster/run`, see
//! `make cluster`. Each director is a node that can be powered off. The commands and files are those of the
//! documentation and of the samples. Substitution replaces their addresses by those of the lab, and shortens or
//! extends their times.
//!
//! The client's outage is measured. `ORIGINAL=1` also measures it with the original in the same cluster, which takes
//! three times as long: Perl is slow on an emulated processor.

mod agent;
mod doc;
mod heartbeat;
mod keepalived;
mod node;
mod outage;
mod pacemaker;
mod sysv;

use std::fs;
use std::io::{Write as _, stderr};
use std::os::unix::fs::symlink;
use std::path::Path as FilePath;
use std::sync::Once;
use std::time::Duration;

use node::Node;

use crate::client::Client;
use crate::network::{Family, Network, Path, Spec};
use crate::table::Table;
use crate::wait::until;
use crate::web::Web;

/// The files that are installed for ours, and their places.
const INSTALLED: [(&str, &str); 3] = [
    ("packaging/heartbeat/ldirectord-rs", "/etc/ha.d/resource.d/ldirectord-rs"),
    ("packaging/ocf/ldirectord-rs", "/usr/lib/ocf/resource.d/heartbeat/ldirectord-rs"),
    ("packaging/sysv/ldirectord-rs", "/etc/init.d/ldirectord-rs"),
];
/// The path of the original's resource script.
const ORIGINAL_SCRIPT: &str = "/etc/ha.d/resource.d/ldirectord";

/// Two directors, real servers, a client.
struct Cluster {
    network: Network,
    /// None: powered off.
    nodes: [Option<Node>; 2],
    /// The directors' own web servers.
    _webs: Vec<Web>,
    scheduler: &'static str,
    /// The weights of the real servers when they are up.
    weights: [u32; 2],
    configuration: String,
}

impl Cluster {
    /// Both nodes are on and have their configuration file. No daemon runs.
    fn new(vip: u8, servers: &[u8], scheduler: &'static str, weights: [u32; 2], configuration: &str) -> Self {
        install();
        let spec = Spec { vip, servers, directors: 2, ..Spec::new(Path::Direct, Family::V4) };
        let network = Network::new(&spec, |_| Vec::new());
        network.directors[0].ip(&format!("addr del {}/32 dev eth0", network.vip));
        let webs: Vec<Web> = network.directors.iter().map(Web::start_in).collect();
        webs.iter().for_each(|web| web.page("/", "Server is repairing"));
        let mut cluster = Self {
            network,
            nodes: [None, None],
            _webs: webs,
            scheduler,
            weights,
            configuration: moved(configuration),
        };
        cluster.power_on(0);
        cluster.power_on(1);
        cluster
    }

    fn power_on(&mut self, number: usize) {
        let node = Node::power_on(&format!("DR{}", number + 1), &self.network.directors[number]);
        node.write("/etc/ha.d/ldirectord.cf", &self.configuration);
        self.nodes[number] = Some(node);
    }

    fn power_off(&mut self, number: usize) {
        self.nodes[number].take().expect("a node that is on").power_off(&self.network.vip.to_string());
    }

    fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().expect("a node that is on")
    }

    fn on(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// Waits until this node, and no other running node, has the address and the table of servers with these weights.
    #[track_caller]
    fn comes_to(&self, active: usize, weights: [u32; 2], limit: Duration) {
        let vip = self.network.vip.to_string();
        let up = self.table(weights);
        until(&format!("address and table on DR{} alone", active + 1), limit, || {
            for (number, node) in (0..).zip(&self.nodes).filter_map(|(n, node)| Some((n, node.as_ref()?))) {
                let expected = if number == active { &up } else { &Table::default() };
                let (found, has) = (node.table(), node.has(&vip));
                if found != *expected || has != (number == active) {
                    return Err(format!("{}: address {has}, table\n{found:?}{}", node.name, self.story()));
                }
            }
            Ok(())
        });
    }

    /// The same, with all servers up.
    #[track_caller]
    fn is_served_by(&self, active: usize, limit: Duration) {
        self.comes_to(active, self.weights, limit);
    }

    fn table(&self, weights: [u32; 2]) -> Table {
        crate::samples::table(&self.network, self.scheduler, weights)
    }

    /// A client with a short time-out that asks again soon, like an impatient reader.
    fn client(&self, path: &str) -> Client {
        self.network.impatient_client(path)
    }

    fn story(&self) -> String {
        self.on().map(Node::story).collect()
    }
}

/// Addresses and devices of samples and documentation, and those of the lab.
fn moved(text: &str) -> String {
    text.replace("192.168.12.", "10.1.0.").replace("192.168.18.", "10.1.0.").replace("eth1", "eth0")
}

/// Installs our files where the packages put them. The file system is that of
/// `tests/lab/cluster/run-with-managers.sh`, which is
/// thrown away.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        assert!(std::env::var_os("CLUSTER_ROOT").is_some(), "to be run by tests/lab/cluster/run");
        let root = FilePath::new(env!("CARGO_MANIFEST_DIR"));
        for (source, target) in INSTALLED {
            fs::copy(root.join(source), target).unwrap_or_else(|e| panic!("{source} as {target}: {e}"));
        }
        symlink(env!("CARGO_BIN_EXE_ldirectord-rs"), "/usr/sbin/ldirectord-rs").unwrap();
        let _ = fs::remove_file(ORIGINAL_SCRIPT);
        symlink("/usr/sbin/ldirectord", ORIGINAL_SCRIPT).unwrap();
    });
}

/// Whether the original is measured, too.
fn with_original() -> bool {
    std::env::var_os("ORIGINAL").is_some_and(|value| !value.is_empty())
}

/// Prints a closing line, past the test's captured output.
fn closing(line: &str) {
    let _ = writeln!(stderr(), "cluster: {line}");
}

/// A duration, for closing lines.
fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// The fetched packages are complete even if an operator has installed some of them on the machine.
#[test]
fn d3_everything_is_fetched() {
    let root = std::env::var("CLUSTER_ROOT").expect("the folder of the packages (tests/lab/cluster/run)");
    let sbin = ["keepalived", "pacemakerd", "corosync", "crm_mon", "ldirectord"];
    let files = sbin.iter().map(|name| format!("usr/sbin/{name}"));
    // A library and a script that only dependencies of these programs contain.
    let more = [
        "usr/libexec/heartbeat/heartbeat",
        "usr/lib/x86_64-linux-gnu/libqb.so.100",
        "usr/lib/ocf/resource.d/heartbeat/IPaddr2",
    ];
    let missing: Vec<String> = files
        .chain(more.map(str::to_owned))
        .filter(|file| !FilePath::new(&root).join(file).exists())
        .collect();
    assert!(missing.is_empty(), "not fetched: {missing:?}");
}
