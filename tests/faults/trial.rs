//! A daemon with many healthy servers and one server that really fails. The fault must not affect the healthy
//! servers, and the failed server must be out of rotation in time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crowd::{Crowd, page};
use crate::sandbox::Sandbox;

/// The trial of one fault.
pub struct Trial {
    pub sandbox: Sandbox,
    healthy: BTreeSet<SocketAddr>,
    victim: SocketAddr,
    victim_server: Crowd,
    /// When all servers were in rotation.
    settled: Option<Instant>,
}

/// One server as the daemon shows it.
pub struct Shown {
    pub address: SocketAddr,
    pub up_for: Option<Duration>,
    pub reason: String,
    /// How long its last check took.
    pub took: Duration,
    pub weight: u64,
}

impl Trial {
    /// A trial in which the daemon's configuration is `globals` and a virtual service of `service` with all `healthy`
    /// servers. The server that will fail has a virtual service of its own. Writes the files, starts nothing.
    pub fn new(globals: &str, service: &str, healthy: Vec<SocketAddr>, victim_host: &str) -> Trial {
        let victim_server = Crowd::http(page(b"I am fine"));
        let victim = SocketAddr::new(victim_host.parse().unwrap(), victim_server.port());
        let healthy = healthy.into_iter().collect();
        let trial = Trial { sandbox: Sandbox::new(""), healthy, victim, victim_server, settled: None };
        trial.sandbox.write(&trial.config(globals, service));
        trial
    }

    /// The text of the configuration.
    pub fn config(&self, globals: &str, service: &str) -> String {
        let mut text =
            format!("quiescent=yes\n{globals}\nvirtual=192.0.2.1:80\n\tservice=http\n\trequest=\"health\"\n");
        text.push_str(&format!(
            "\treceive=\"fine\"\n\treal={} masq 1\nvirtual=192.0.2.2:80\n\t{service}\n",
            self.victim
        ));
        for server in &self.healthy {
            text.push_str(&format!("\treal={server} masq 1\n"));
        }
        text
    }

    /// Starts the daemon and waits until all servers are in rotation.
    pub fn start(&mut self, limit: Duration) {
        assert_eq!(self.sandbox.act("start"), 0, "start: {}", self.sandbox.log());
        self.settle(limit);
    }

    /// Waits until all servers are in rotation.
    pub fn settle(&mut self, limit: Duration) {
        let all = self.healthy.len() + 1;
        wait("all servers in rotation", limit, || {
            let shown = self.shown();
            let up = shown.iter().filter(|server| server.up_for.is_some() && server.weight == 1).count();
            if up == all {
                return Ok(());
            }
            let example = shown.iter().find(|server| server.weight == 0).map(|server| server.reason.clone());
            Err(format!("{up} of {all} in rotation; another one: {example:?}"))
        });
        self.settled = Some(Instant::now());
    }

    /// Stops the server that really fails.
    pub fn kill_victim(&mut self) -> Instant {
        self.victim_server.kill();
        Instant::now()
    }

    /// Waits until the failed server is out of rotation, and prints how long that took since `killed`.
    pub fn expect_victim_out(&self, killed: Instant, limit: Duration) {
        wait("the failed server out of rotation", limit, || {
            let shown = self.shown();
            match shown.iter().find(|server| server.address == self.victim) {
                Some(server) if server.weight == 0 => Ok(()),
                Some(server) => {
                    Err(format!("{}: weight {}, {}", server.address, server.weight, server.reason))
                }
                None => Err("not shown".to_owned()),
            }
        });
        println!(
            "  the failed server was out of rotation {:.1} s after its end",
            killed.elapsed().as_secs_f64()
        );
    }

    /// Asserts that every healthy server is in rotation and has been since all were.
    #[track_caller]
    pub fn assert_calm(&self) {
        let settled = self.settled.expect("a trial that was started").elapsed();
        let shown = self.shown();
        let calm = |server: &Shown| server.weight == 1 && server.up_for.is_some_and(|time| time >= settled);
        let healthy: Vec<&Shown> =
            shown.iter().filter(|server| self.healthy.contains(&server.address)).collect();
        assert_eq!(healthy.len(), self.healthy.len());
        let touched: Vec<&&Shown> = healthy.iter().filter(|server| !calm(server)).collect();
        let example = touched.first().map(|server| (server.address, server.up_for, &server.reason));
        assert!(touched.is_empty(), "{} of {} healthy servers: {example:?}", touched.len(), healthy.len());
        println!("  {} healthy servers, no transition in {:.1} s", healthy.len(), settled.as_secs_f64());
    }

    /// All servers of all virtual services.
    pub fn shown(&self) -> Vec<Shown> {
        let output = self.sandbox.run(&["show", "web.cf", "--json"]);
        let snapshot: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let services = snapshot["virtuals"].as_array().cloned().unwrap_or_default();
        services.iter().flat_map(rows).collect()
    }
}

fn rows(service: &Value) -> Vec<Shown> {
    let none = Vec::new();
    let destinations = service["destinations"].as_array().unwrap_or(&none);
    let weights: BTreeMap<&str, u64> =
        destinations.iter().filter_map(|d| Some((d["address"].as_str()?, d["weight"].as_u64()?))).collect();
    service["servers"]
        .as_array()
        .unwrap_or(&none)
        .iter()
        .filter_map(|server| {
            let address = server["address"].as_str()?;
            let since = server["since_seconds"].as_f64().map(Duration::from_secs_f64);
            let out = matches!(server["state"].as_str(), Some("down" | "maintenance" | "off"));
            Some(Shown {
                address: address.parse().ok()?,
                up_for: since.filter(|_| !out),
                reason: server["last_check"]["reason"].as_str().unwrap_or_default().to_owned(),
                took: Duration::from_secs_f64(
                    server["last_check"]["took_ms"].as_f64().unwrap_or_default() / 1000.0,
                ),
                weight: weights.get(address).copied().unwrap_or(0),
            })
        })
        .collect()
}

/// Waits until `done` succeeds. Its error tells what is missing.
#[track_caller]
pub fn wait(what: &str, limit: Duration, mut done: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + limit;
    while let Err(missing) = done() {
        assert!(Instant::now() < end, "{what}: not within {limit:?}: {missing}");
        // Each look at thousands of servers costs the daemon as much as a hundred checks.
        thread::sleep(Duration::from_millis(500));
    }
}
