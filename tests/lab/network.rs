//! A network: client, directors and real servers on bridges, for each of the three forwarding methods.
//!
//! | path | client | real servers | back to the client |
//! | --- | --- | --- | --- |
//! | direct (LVS-DR) | front | front, virtual address on `lo`, silent on ARP | directly |
//! | masq (NAT) | front | back, the director is their gateway | through the director |
//! | tunnel | front | back, behind a router; virtual address on an ipip device | through the router |

use std::fmt::Write;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{Answer, Client, Ports, request};
use crate::netns::NetNs;
use crate::web::Web;

/// How requests reach the real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Direct routing.
    Direct,
    /// Network address translation.
    Masq,
    /// IP in IP.
    Tunnel,
}

impl Path {
    /// The option of ipvsadm.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Direct => "-g",
            Self::Masq => "-m",
            Self::Tunnel => "-i",
        }
    }

    /// The word of the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "gate",
            Self::Masq => "masq",
            Self::Tunnel => "ipip",
        }
    }
}

/// The protocol family of a whole network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4: 10.1.0.0/24 is the front, 10.2.0.0/24 the back.
    V4,
    /// IPv6: fd00:1::/64 and fd00:2::/64.
    V6,
}

impl Family {
    fn address(self, bridge: Bridge, host: u8) -> IpAddr {
        let net = bridge as u8;
        match self {
            Self::V4 => IpAddr::from([10, net, 0, host]),
            Self::V6 => IpAddr::from([0xfd00, u16::from(net), 0, 0, 0, 0, 0, u16::from(host)]),
        }
    }

    /// The length of a network's prefix, and of a single address.
    fn prefixes(self) -> (u8, u8) {
        match self {
            Self::V4 => (24, 32),
            Self::V6 => (64, 128),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bridge {
    Front = 1,
    Back = 2,
}

/// The parts of a network. The numbers are the last parts of addresses.
#[derive(Debug, Clone, Copy)]
pub struct Spec<'a> {
    /// How requests reach the real servers.
    pub path: Path,
    /// IPv4 or IPv6.
    pub family: Family,
    /// The virtual address.
    pub vip: u8,
    /// The real servers.
    pub servers: &'a [u8],
    /// How many directors. The first has the virtual address.
    pub directors: u8,
}

impl Spec<'_> {
    /// One director, two real servers.
    pub fn new(path: Path, family: Family) -> Self {
        Self { path, family, vip: 100, servers: &[11, 12], directors: 1 }
    }
}

/// A real server.
pub struct Server {
    /// Its address and the port of its web server.
    pub address: SocketAddr,
    /// Its web server. The name of the actor is `s` and its number.
    pub web: Web,
}

/// All actors of one scenario.
pub struct Network {
    /// The virtual address.
    pub vip: IpAddr,
    /// The real servers.
    pub servers: Vec<Server>,
    /// The directors.
    pub directors: Vec<Arc<NetNs>>,
    client: Arc<NetNs>,
    ports: Arc<Ports>,
    family: Family,
    /// The bridges, and the router between them. Held, because each ends with its last holder.
    _switch: NetNs,
}

/// A cable: an interface of an actor, plugged into a bridge.
struct Cable<'a> {
    netns: &'a NetNs,
    device: &'a str,
    bridge: Bridge,
    host: u8,
}

const GATEWAY: u8 = 254;
const CLIENT: u8 = 10;

impl Network {
    /// Creates the network. The directors see `binds` (source, target) in place of their own folders.
    pub fn new(spec: &Spec, binds: impl Fn(u8) -> Vec<(std::path::PathBuf, &'static str)>) -> Self {
        let switch = NetNs::new("switch");
        let client = Arc::new(NetNs::new("client"));
        let directors: Vec<Arc<NetNs>> = (1..=spec.directors)
            .map(|number| {
                let binds = binds(number);
                let binds: Vec<_> =
                    binds.iter().map(|(source, target)| (source.as_path(), FilePath::new(*target))).collect();
                Arc::new(NetNs::with_mounts(&format!("d{number}"), &binds))
            })
            .collect();
        let servers: Vec<Arc<NetNs>> =
            spec.servers.iter().map(|host| Arc::new(NetNs::new(&format!("s{host}")))).collect();

        let back = if spec.path == Path::Direct { Bridge::Front } else { Bridge::Back };
        let mut cables = vec![Cable { netns: &client, device: "eth0", bridge: Bridge::Front, host: CLIENT }];
        for (netns, host) in directors.iter().zip(1..) {
            cables.push(Cable { netns, device: "eth0", bridge: Bridge::Front, host });
            if spec.path == Path::Masq {
                cables.push(Cable { netns, device: "eth1", bridge: Bridge::Back, host });
            }
        }
        for (netns, host) in servers.iter().zip(spec.servers) {
            cables.push(Cable { netns, device: "eth0", bridge: back, host: *host });
        }
        plug(&switch, spec, &cables);
        let vip = spec.family.address(Bridge::Front, spec.vip);
        for (number, director) in (1..).zip(&directors) {
            set_up_director(spec, director, (number == 1).then_some(vip));
        }
        for (netns, host) in servers.iter().zip(spec.servers) {
            set_up_server(spec, netns, vip, spec.family.address(back, *host));
        }
        let servers = servers.iter().zip(spec.servers).map(|(netns, host)| Server {
            address: SocketAddr::new(spec.family.address(back, *host), 80),
            web: Web::start_in(netns),
        });
        let servers = servers.collect();
        Self { vip, servers, directors, client, ports: Arc::default(), family: spec.family, _switch: switch }
    }

    /// The virtual service's address.
    pub fn service(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.vip, port)
    }

    /// A connection of the client to the virtual address. It stays open while the server is frozen.
    pub fn hold(&self) -> TcpStream {
        let address = self.service(80);
        self.client.run(|| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n").unwrap();
            stream
        })
    }

    /// A client that requests `path` at the virtual address, 20 times a second.
    pub fn client(&self, path: &str) -> Client {
        self.patient_client(path, Duration::from_secs(3))
    }

    /// The same, and it asks again after 250 ms without an answer. The kernel repeats the first packet of a
    /// connection only after 1 s, which would limit the precision of a measured outage.
    pub fn impatient_client(&self, path: &str) -> Client {
        self.patient_client(path, Duration::from_millis(250))
    }

    fn patient_client(&self, path: &str, limit: Duration) -> Client {
        Client::start(&self.client, &self.ports, self.service(80), path, Duration::from_millis(50), limit)
    }

    /// One request for `path` at the virtual address, with at most `limit` for each step.
    pub fn ask(&self, path: &str, limit: Duration) -> Result<Answer, String> {
        self.client.run(|| request(self.ports.next(), self.service(80), path, limit))
    }

    /// Moves the virtual address to another director, as a cluster manager does.
    pub fn move_vip(&self, from: usize, to: usize) {
        let (_, single) = self.family.prefixes();
        self.directors[from].ip(&format!("addr del {}/{single} dev eth0", self.vip));
        self.directors[to].ip(&format!("addr add {}/{single} dev eth0", self.vip));
        // Instead of a gratuitous ARP.
        self.client.ip(&format!("neigh flush to {}", self.vip));
    }
}

/// Creates the bridges and the cables, and gives every end of a cable its address.
fn plug(switch: &NetNs, spec: &Spec, cables: &[Cable]) {
    let (net, _) = spec.family.prefixes();
    let mut lines = String::new();
    for bridge in [Bridge::Front, Bridge::Back] {
        writeln!(lines, "link add {bridge:?} type bridge forward_delay 0\nlink set {bridge:?} up").unwrap();
        if spec.path == Path::Tunnel {
            let gateway = spec.family.address(bridge, GATEWAY);
            writeln!(lines, "addr add {gateway}/{net} dev {bridge:?}").unwrap();
        }
    }
    for (number, cable) in cables.iter().enumerate() {
        let (device, path, bridge) = (cable.device, cable.netns.path(), cable.bridge);
        writeln!(lines, "link add p{number} type veth peer name {device} netns {path}").unwrap();
        writeln!(lines, "link set p{number} master {bridge:?} up").unwrap();
    }
    switch.set("ipv4/ip_forward", 1);
    switch.set("ipv4/conf/all/rp_filter", 0);
    switch.set("ipv4/conf/default/rp_filter", 0);
    switch.ip(&lines);
    for cable in cables {
        let Cable { netns, device, bridge, host } = *cable;
        let address = spec.family.address(bridge, host);
        // heartbeat speaks to the broadcast address of a device.
        let how = if spec.family == Family::V6 { "nodad" } else { "brd +" };
        let mut lines = format!("addr add {address}/{net} dev {device} {how}\nlink set {device} up\n");
        if spec.path == Path::Tunnel {
            let gateway = spec.family.address(bridge, GATEWAY);
            writeln!(lines, "route add default via {gateway}").unwrap();
        }
        netns.ip(&lines);
    }
}

fn set_up_director(spec: &Spec, director: &NetNs, vip: Option<IpAddr>) {
    let (_, single) = spec.family.prefixes();
    director.set("ipv4/ip_forward", u32::from(spec.path == Path::Masq));
    director.set("ipv6/conf/all/forwarding", u32::from(spec.path == Path::Masq));
    director.set("ipv4/conf/all/send_redirects", 0);
    if let Some(vip) = vip {
        // Not preferred: the director's own checks must not come from an address that the real servers have, too.
        let flags = if spec.family == Family::V6 { "nodad preferred_lft 0" } else { "" };
        director.ip(&format!("addr add {vip}/{single} dev eth0 {flags}"));
    }
}

fn set_up_server(spec: &Spec, server: &NetNs, vip: IpAddr, own: IpAddr) {
    let (_, single) = spec.family.prefixes();
    match spec.path {
        Path::Direct => {
            server.set("ipv4/conf/all/arp_ignore", 1);
            server.set("ipv4/conf/all/arp_announce", 2);
            server.ip(&format!("addr add {vip}/{single} dev lo"));
        }
        Path::Masq => {
            let gateway = spec.family.address(Bridge::Back, 1);
            server.ip(&format!("route add default via {gateway}"));
        }
        Path::Tunnel => {
            server.set("ipv4/conf/all/arp_ignore", 1);
            server.set("ipv4/conf/all/arp_announce", 2);
            server.set("ipv4/conf/all/rp_filter", 0);
            server.set("ipv4/conf/default/rp_filter", 0);
            server.ip(&format!(
                "link add lvs type ipip local {own}\naddr add {vip}/{single} dev lvs\nlink set lvs up"
            ));
        }
    }
}
