//! The life of a daemon, end to end, on each path: start, servers that fail and return, a changed file, a killed
//! daemon, the stop. Each step compares the table and the servers that answer. No request may fail while nothing is
//! broken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::client::{Client, shares};
use crate::director::Scene;
use crate::network::{Family, Path, Spec};
use crate::table::Table;
use crate::wait::until;

/// The limit for a change: an interval of 1 s, a check of 2 s, and an emulated processor.
const SOON: Duration = Duration::from_secs(20);

/// One daemon's life, and what differs between lives.
struct Lifecycle {
    scene: Scene,
    path: Path,
    family: Family,
    quiescent: bool,
}

/// The parts of the configuration file that change.
#[derive(Clone, Copy)]
struct Wanted {
    second_weight: u32,
    more: bool,
}

const FIRST: Wanted = Wanted { second_weight: 1, more: false };

impl Lifecycle {
    fn new(path: Path, family: Family, quiescent: bool) -> Self {
        let scene = Scene::new(&Spec::new(path, family));
        for server in &scene.network.servers {
            server.web.page("/alive.html", "all is fine");
        }
        Self { scene, path, family, quiescent }
    }

    fn home(&self) -> SocketAddr {
        let home: IpAddr = match self.family {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(home, 80)
    }

    fn server(&self, number: usize) -> SocketAddr {
        self.scene.network.servers[number].address
    }

    fn configuration(&self, wanted: Wanted) -> String {
        let six = if self.family == Family::V6 { "6" } else { "" };
        let quiescent = if self.quiescent { "yes" } else { "no" };
        let (word, home) = (self.path.as_str(), self.home());
        let mut text = format!(
            "checktimeout=2\ncheckinterval=1\nautoreload=yes\nquiescent={quiescent}\n\
             logfile=\"/var/log/ldirectord.log\"\n"
        );
        let ports = if wanted.more { &[80, 81][..] } else { &[80] };
        for port in ports {
            let service = self.scene.network.service(*port);
            let (mut first, mut second) = (self.server(0), self.server(1));
            first.set_port(*port);
            second.set_port(*port);
            let weight = wanted.second_weight;
            text += &format!(
                "virtual{six}={service}\n\treal{six}={first} {word}\n\treal{six}={second} {word} {weight}\n\
                 \tfallback{six}={home} gate\n\tservice=http\n\tcheckport=80\n\trequest=\"alive.html\"\n\
                 \treceive=\"fine\"\n\tscheduler=rr\n\tprotocol=tcp\n\tchecktype=negotiate\n"
            );
        }
        text
    }

    /// The table when these servers are up.
    fn table(&self, up: [bool; 2], wanted: Wanted) -> Table {
        let mut table = Table::default();
        let ports = if wanted.more { &[80, 81][..] } else { &[80] };
        for port in ports {
            let service = self.scene.network.service(*port);
            table = table.service(service, "rr");
            for (number, weight) in [(0, 1), (1, wanted.second_weight)] {
                let mut server = self.server(number);
                server.set_port(*port);
                if up[number] || self.quiescent {
                    let weight = if up[number] { weight } else { 0 };
                    table = table.server(service, server, self.path.flag(), weight);
                }
            }
            if up == [false, false] {
                table = table.server(service, self.home(), "-g", 1);
            }
        }
        table
    }

    #[track_caller]
    fn comes_to(&self, up: [bool; 2], wanted: Wanted) {
        self.scene.directors[0].comes_to(&self.table(up, wanted), SOON);
    }

    fn run(mut self) {
        let director = &self.scene.directors[0];
        director.configure(&self.configuration(FIRST));
        assert_eq!(director.say("status").status.code(), Some(3), "stopped before the first start");
        director.must("start");
        assert!(director.pid().is_some(), "start returns when the daemon is ready");
        director.must("status");
        self.comes_to([true, true], FIRST);
        let client = self.scene.network.client("/");
        client.answered_by(&["s11", "s12"], 10);

        self.servers_die_and_return(&client);
        let wanted = self.file_changes(&client);
        self.daemon_is_killed(&client, wanted);

        let director = &self.scene.directors[0];
        director.must("stop");
        assert_eq!(director.table(), Table::default(), "after stop: {}", director.log());
        assert_eq!(director.pid(), None);
        assert_eq!(director.say("status").status.code(), Some(3));
    }

    fn servers_die_and_return(&mut self, client: &Client) {
        self.scene.network.servers[0].web.stop();
        self.comes_to([false, true], FIRST);
        client.answered_by(&["s12"], 10);

        self.scene.network.servers[1].web.stop();
        self.comes_to([false, false], FIRST);
        client.answered_by(&["d1"], 10);

        self.scene.network.servers[1].web.start();
        self.comes_to([false, true], FIRST);
        client.answered_by(&["s12"], 10);

        self.scene.network.servers[0].web.start();
        self.comes_to([true, true], FIRST);
        client.answered_by(&["s11", "s12"], 10);

        // A server that accepts connections without an answer is down, and so is a server whose page has changed.
        self.scene.network.servers[0].web.freeze();
        self.comes_to([false, true], FIRST);
        self.scene.network.servers[0].web.thaw();
        self.comes_to([true, true], FIRST);
        self.scene.network.servers[1].web.page("/alive.html", "all is lost");
        self.comes_to([true, false], FIRST);
        self.scene.network.servers[1].web.page("/alive.html", "all is fine");
        self.comes_to([true, true], FIRST);
    }

    fn file_changes(&self, client: &Client) -> Wanted {
        let director = &self.scene.directors[0];
        let calm = Instant::now();
        let weight = Wanted { second_weight: 2, more: false };
        director.configure(&self.configuration(weight));
        self.comes_to([true, true], weight);

        let more = Wanted { second_weight: 2, more: true };
        director.configure(&self.configuration(more));
        self.comes_to([true, true], more);

        // A broken file changes nothing: the table is the same after the daemon has read it.
        let log = director.log().len();
        director.configure("virtual=nonsense\n\treal=nothing\n");
        until("a word on the broken file", SOON, || {
            if director.log().len() > log { Ok(()) } else { Err(director.log()) }
        });
        client.answered_by(&["s11", "s12"], 10);
        assert_eq!(director.table(), self.table([true, true], more));

        director.configure(&self.configuration(more));
        director.must("reload");
        self.comes_to([true, true], more);
        shares(&client.since(calm));
        more
    }

    fn daemon_is_killed(&self, client: &Client, wanted: Wanted) {
        let director = &self.scene.directors[0];
        let expected = self.table([true, true], wanted);
        let counted = director.connections();
        let calm = Instant::now();
        director.kill();
        assert_eq!(director.table(), expected, "a killed daemon leaves the table");
        client.answered_by(&["s11", "s12"], 10);
        director.must("start");
        // The kernel is watched over several check intervals: nothing may flap, and no entry may be recreated, which
        // would reset its counters.
        while calm.elapsed() < Duration::from_secs(8) {
            assert_eq!(director.table(), expected, "after a restart: {}", director.log());
            client.answered_by(&["s11", "s12"], 5);
        }
        for (entry, count) in director.connections() {
            let before = counted.get(&entry).copied().unwrap_or_default();
            assert!(count >= before, "{entry} was recreated: {before} connections, then {count}");
        }
        shares(&client.since(calm));
    }
}

#[test]
fn direct_routing() {
    Lifecycle::new(Path::Direct, Family::V4, true).run();
}

#[test]
fn direct_routing_not_quiescent() {
    Lifecycle::new(Path::Direct, Family::V4, false).run();
}

#[test]
fn direct_routing_ipv6() {
    Lifecycle::new(Path::Direct, Family::V6, true).run();
}

#[test]
fn masquerading() {
    Lifecycle::new(Path::Masq, Family::V4, false).run();
}

#[test]
fn tunnel() {
    Lifecycle::new(Path::Tunnel, Family::V4, true).run();
}
