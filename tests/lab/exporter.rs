//! Our metrics next to those of Debian's node_exporter on the same table: the labels of each server are the same, so a
//! join gives one row a server. `NODE_EXPORTER` names the program.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::director::{Director, Scene};
use crate::netns::NetNs;
use crate::network::{Family, Path, Spec};
use crate::wait::until;

const SOON: Duration = Duration::from_secs(60);

/// A virtual service of each kind, with each method. The server with another port than its virtual service is in the
/// table with the port of the virtual service. The marks 31 of both families are two services.
const CONFIGURATION: &str = "checkinterval=1\nlogfile=\"/var/log/ldirectord.log\"\n\
    virtual=10.1.0.100:80\n\treal=10.2.0.11:8080 masq 5\n\treal=10.2.0.12:80 masq 0\n\treal=10.2.0.13:8080 gate 2\n\tchecktype=on\n\
    virtual=10.1.0.100:80\n\tprotocol=udp\n\treal=10.2.0.11:80 masq 3\n\treal=10.2.0.14:80 ipip 4\n\tchecktype=on\n\
    virtual=31\n\treal=10.2.0.11:80 gate 6\n\treal=10.2.0.12:443 masq 7\n\tchecktype=on\n\
    virtual6=31\n\treal6=[fd00:2::11]:80 masq 8\n\tchecktype=on\n\
    virtual6=[fd00:1::100]:80\n\treal6=[fd00:2::11]:8080 masq 9\n\treal6=[fd00:2::12]:80 gate 1\n\tchecktype=on\n";

/// The number of servers in it.
const SERVERS: usize = 10;

/// The labels of a join.
const JOIN: [&str; 6] =
    ["local_address", "local_port", "proto", "local_mark", "remote_address", "remote_port"];

/// A process that ends with the test.
struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Exporter {
    fn start(netns: &NetNs) -> Exporter {
        let program = env::var("NODE_EXPORTER").expect("NODE_EXPORTER, the program of node_exporter");
        let child = netns.run(|| {
            Command::new(&program)
                .args([
                    "--collector.disable-defaults",
                    "--collector.ipvs",
                    "--web.listen-address=127.0.0.1:9100",
                ])
                .stdin(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}"))
        });
        Exporter(child)
    }

    /// Its metrics, as Prometheus gets them.
    fn metrics(netns: &NetNs) -> Result<String, String> {
        netns.run(|| {
            let mut stream = TcpStream::connect("127.0.0.1:9100").map_err(|error| error.to_string())?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").map_err(|error| error.to_string())?;
            let mut reply = String::new();
            stream.read_to_string(&mut reply).map_err(|error| error.to_string())?;
            reply.starts_with("HTTP/1.0 200 ").then(|| reply.clone()).ok_or(reply)
        })
    }
}

type Labels = BTreeMap<String, String>;

/// The samples of a metric: each label set with its values, of which there must be one.
fn samples(text: &str, metric: &str) -> BTreeMap<Labels, Vec<f64>> {
    let mut samples: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    for line in text.lines() {
        let Some((labels, value)) = line
            .strip_prefix(metric)
            .and_then(|rest| rest.strip_prefix('{'))
            .and_then(|rest| rest.rsplit_once("} "))
        else {
            continue;
        };
        // No value here contains a quote or a comma.
        let labels = labels.split(',').map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        });
        samples.entry(labels.collect()).or_default().push(value.trim().parse().unwrap());
    }
    samples
}

/// Our metrics. On a busy machine the daemon may not answer in time.
fn ours(director: &Director) -> Result<String, String> {
    let said = director.run(&["metrics", "-c", "lab.cf"]);
    if said.status.success() { Ok(said.text) } else { Err(format!("{said:?}")) }
}

#[test]
fn a_join_with_node_exporter_has_one_row_a_server() {
    let mut scene = Scene::new(&Spec::new(Path::Masq, Family::V4));
    scene.directors[0].settings.push(("LDIRECTORD_RS_METRICS__PER_SERVER", "true".to_owned()));
    let (director, netns) = (&scene.directors[0], &scene.network.directors[0]);
    director.configure(CONFIGURATION);
    director.must("start");
    let _exporter = Exporter::start(netns);
    let (ours, theirs) = until("all servers in both metrics", SOON, || {
        let (ours, text) = (ours(director)?, Exporter::metrics(netns)?);
        let ours = samples(&ours, "ldirectord_server_weight");
        let theirs = samples(&text, "node_ipvs_backend_weight");
        let is_whole = ours.len() == SERVERS && theirs.len() == SERVERS;
        if is_whole { Ok((ours, text)) } else { Err(format!("{ours:#?}\n{text}\n{}", director.log())) }
    });
    let names: BTreeSet<&str> = ours.keys().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(JOIN));
    // As in `node_ipvs_backend_weight * on (…) ldirectord_server_weight`: each row is one sample on both sides.
    assert_eq!(ours, samples(&theirs, "node_ipvs_backend_weight"));
    assert!(ours.values().all(|values| values.len() == 1), "{ours:#?}");
    for metric in ["node_ipvs_backend_connections_active", "node_ipvs_backend_connections_inactive"] {
        let theirs = samples(&theirs, metric);
        assert!(ours.keys().eq(theirs.keys()), "{metric}: {theirs:#?}\n{ours:#?}");
    }
}
