//! The life of one server, as a check sees it.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ldirectord_rs::check::Checker;
use ldirectord_rs::value::Outcome;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::runtime::{Builder, Runtime};

use crate::asking::Case;
use crate::server::{LIMIT, Server};

/// Seconds for a check whose answer comes.
const PATIENCE: u32 = 15;
/// Seconds for a check whose answer does not come.
const SHORT: u32 = 1;
/// So many checks are measured.
const MEASURED: u32 = 50;
/// So many checks are made of a frozen server at once.
const CROWD: usize = 200;

/// A server and the one who asks.
pub struct Life {
    name: &'static str,
    server: Server,
    runtime: Runtime,
    checker: Checker,
    faults: Vec<String>,
}

impl Life {
    /// Starts the server and waits until all the good cases are.
    pub fn begin(name: &'static str, words: &[&str], good: &[Case]) -> Life {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let checker = Checker::new().unwrap();
        let mut life = Life { name, server: Server::start(words), runtime, checker, faults: Vec::new() };
        for case in good {
            life.wait_for(case);
        }
        life
    }

    /// Asks again and again until it is as it should be.
    fn wait_for(&mut self, case: &Case) {
        let limit = Instant::now() + LIMIT;
        loop {
            let verdict = self.runtime.block_on(case.ask(&self.checker, PATIENCE));
            let Some(fault) = case.fault(&verdict) else { return };
            let ended = self.server.has_ended();
            assert!(
                Instant::now() < limit && !ended,
                "{}: {}\n{fault}\nlog:\n{}",
                self.name,
                if ended { "the server ended by itself" } else { "not within the limit" },
                self.server.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn expect_within(&mut self, case: &Case, seconds: u32) {
        let verdict = self.runtime.block_on(case.ask(&self.checker, seconds));
        self.faults.extend(case.fault(&verdict));
    }

    /// What the server answers.
    pub fn expect(mut self, cases: &[Case]) -> Life {
        for case in cases {
            self.expect_within(case, PATIENCE);
        }
        self
    }

    /// What it does not answer.
    pub fn expect_short(mut self, cases: &[Case]) -> Life {
        for case in cases {
            self.expect_within(case, SHORT);
        }
        self
    }

    /// Goes on under another name, for another service of the same server.
    pub fn renamed(self, name: &'static str) -> Life {
        Life { name, ..self }
    }

    /// Frozen, thawed, killed, started again. What a check says of a frozen server, and of one that is gone.
    pub fn through(mut self, good: &[Case], frozen: &str, gone: &str) -> Life {
        self.measure(&good[0]);
        self.server.freeze();
        for case in good {
            self.expect_within(&case.but(Outcome::Down, frozen), SHORT);
        }
        self.crowd(&good[0]);
        self.server.thaw();
        for case in good {
            self.wait_for(case);
        }
        self.server.stop();
        for case in good {
            self.expect_within(&case.but(Outcome::Down, gone), PATIENCE);
        }
        self.server.restart();
        for case in good {
            self.wait_for(case);
        }
        self
    }

    /// CPU time of this thread, which does all that a check needs.
    fn measure(&mut self, case: &Case) {
        let probe = case.probe(PATIENCE);
        let cpu = || {
            let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
            let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
            micros(usage.user_time()) + micros(usage.system_time())
        };
        let (checker, runtime) = (&self.checker, &self.runtime);
        let before = cpu();
        let began = Instant::now();
        for _ in 0..MEASURED {
            let verdict = runtime.block_on(checker.run(&probe));
            self.faults.extend(case.fault(&verdict));
        }
        let took = began.elapsed() / MEASURED;
        let each = (cpu() - before) / i64::from(MEASURED);
        // Not `println`: it would be kept back.
        let line = format!("peers: {:<24} {each:>6} µs CPU, {:>7} µs a check\n", self.name, took.as_micros());
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// Many checks of a frozen server end in time, and leave nothing behind.
    fn crowd(&mut self, case: &Case) {
        let probe = case.probe(SHORT);
        let began = Instant::now();
        let checks = (0..CROWD).map(|_| self.checker.run(&probe));
        let halfway = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            sockets_to(probe.target)
        };
        let (verdicts, open) = self.runtime.block_on(async { tokio::join!(join_all(checks), halfway) });
        assert_eq!(open, CROWD, "{}: sockets while all of the checks wait", self.name);
        let took = began.elapsed();
        for verdict in &verdicts {
            self.faults.extend(case.but(Outcome::Down, "").fault(verdict));
        }
        if took > Duration::from_secs(u64::from(SHORT) + 4) {
            self.faults.push(format!("{CROWD} checks with {SHORT} s each took {took:?}"));
        }
        let left = || (self.runtime.metrics().num_alive_tasks(), sockets_to(probe.target));
        let limit = Instant::now() + LIMIT;
        while left() != (0, 0) {
            // Tasks that were told to end need a turn to do so.
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
            assert!(
                Instant::now() < limit,
                "{}: {CROWD} checks left (tasks, sockets) {:?}",
                self.name,
                left()
            );
        }
    }

    /// All that was not as it should be.
    pub fn end(self) {
        let faults = self.faults.join("\n");
        assert!(faults.is_empty(), "{}:\n{faults}\nlog:\n{}", self.name, self.server.log());
    }
}

/// Sockets of this process that are open to this address.
fn sockets_to(target: SocketAddr) -> usize {
    let own: HashSet<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .collect();
    // Each four bytes of the address are a number in the machine's order.
    let bytes = match target.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
    let address: String = words.map(|word| format!("{word:08X}")).collect();
    let as_in_tables = format!("{address}:{:04X}", target.port());
    let mut count = 0;
    for name in ["tcp", "tcp6", "udp", "udp6"] {
        let table = fs::read_to_string(format!("/proc/self/net/{name}")).unwrap();
        for row in table.lines().skip(1) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let (peer, inode) = (words[2], words[9]);
            if peer == as_in_tables && own.contains(&format!("socket:[{inode}]")) {
                count += 1;
            }
        }
    }
    count
}
