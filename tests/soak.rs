//! Ten thousand rounds of checks on an in-memory table: memory, descriptors and tasks do not grow.
//!
//! Time is an argument of the director, so a round takes as long as its checks, not as long as its interval. The test
//! has a process of its own: it counts the process's descriptors, and other tests would open more.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail by panic, and runs by the clock"
)]

#[path = "it/sandbox.rs"]
#[expect(dead_code, reason = "only the web server is needed here")]
mod sandbox;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use ipvs_rs::{Memory, Table};
use ldirectord_rs::check::Checker;
use ldirectord_rs::daemon::{Limits, RunningChecks, load, perform};
use ldirectord_rs::director::Director;

use sandbox::WebServer;

const ROUNDS: usize = 10_000;
/// The number of rounds after which everything that is allocated once (caches, buffers) exists.
const WARM: usize = 1_000;

#[test]
fn nothing_grows_over_ten_thousand_rounds() {
    let server = WebServer::start("I am fine");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("soak.cf");
    let good = server.address;
    // Servers: up, with a wrong body, refusing connections, and with a connect check only.
    let config = format!(
        "checkinterval=1\nquiescent=yes\nvirtual=192.0.2.1:80\n\tservice=http\n\treal={good} masq 1 \"a\",\"fine\"\n\t\
         real=127.0.0.1:{} masq 1 \"a\",\"other\"\n\treal=127.0.0.1:1 masq\nvirtual=192.0.2.1:81\n\treal={good} masq\n\t\
         checktype=connect\n",
        good.port()
    );
    fs::write(&path, config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let memory = Memory::new();
    let (warm, end) = runtime.block_on(soak(&path, &memory, &runtime));
    // The web server is in this process, too: some of its connections may be open at this moment.
    let descriptors = end.descriptors.saturating_sub(warm.descriptors);
    assert!(descriptors < 10, "{descriptors} descriptors more after {ROUNDS} rounds than after {WARM}");
    assert_eq!(warm.tasks, end.tasks);
    let growth = end.resident_kilobytes.saturating_sub(warm.resident_kilobytes);
    println!("{ROUNDS} rounds: {} kB resident, {growth} kB more than after {WARM}", end.resident_kilobytes);
    assert!(growth < 1024, "{growth} kB more after {ROUNDS} rounds than after {WARM}");
    // Nothing changed after the first round, so the table was not written.
    assert_eq!(warm.operations, end.operations);
}

#[derive(Debug)]
struct Usage {
    resident_kilobytes: u64,
    descriptors: usize,
    tasks: usize,
    operations: u64,
}

async fn soak(path: &std::path::Path, memory: &Memory, runtime: &tokio::runtime::Runtime) -> (Usage, Usage) {
    let mut now = Instant::now();
    let spec = load(path).unwrap().spec;
    let mut director = Director::new(spec, Table::default(), &BTreeSet::new(), None, now);
    let mut kernel = memory.clone();
    let mut checks = RunningChecks::new(Checker::new().unwrap(), Limits { checks: 100, descriptors: 100 });
    let mut warm = None;
    for round in 0..ROUNDS {
        now += Duration::from_secs(1);
        let mut open = 0;
        checks.begin_turn(now);
        director.due(now, |due| {
            let started = checks.start(due, now);
            open += usize::from(started);
            started
        });
        while open > 0 {
            let verdicts = checks.finished().await;
            open -= verdicts.len();
            director.verdicts(verdicts, now);
            while let Some(done) = perform(&mut kernel, director.next_step()) {
                director.done(done, now);
            }
            drop(director.take_events());
        }
        if round == WARM {
            warm = Some(usage(memory, runtime));
        }
    }
    (warm.unwrap(), usage(memory, runtime))
}

fn usage(memory: &Memory, runtime: &tokio::runtime::Runtime) -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    Usage {
        resident_kilobytes: resident.split_whitespace().nth(1).unwrap().parse().unwrap(),
        descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        tasks: runtime.metrics().num_alive_tasks(),
        operations: memory.operations(),
    }
}
