//! A thousand simultaneous checks of a silent server leave no descriptor, task or process behind. They run in a
//! second process of this program, in which nothing else opens descriptors.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use ldirectord_rs::check::Checker;
use ldirectord_rs::spec::ProbeAction;
use ldirectord_rs::value::{Outcome, UnknownCause, Verdict};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use crate::ours;
use crate::server::{LIMIT, family};

/// The number of checks.
const CROWD: usize = 1000;
/// The number of simultaneous checks that start a program.
const PROGRAMS: usize = 100;
/// What may remain after the checks: descriptors, processes, tasks.
const KEPT: (usize, usize, usize) = (20, 0, 1);
/// The environment variable with the virtual service for the second process.
const BLOCK: &str = "PEERS_CROWD";

/// Runs the checks and returns what went wrong.
pub fn fault(block: &str) -> Option<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crowd::a_crowd_leaves_nothing_behind", "--nocapture"])
        .env(BLOCK, block)
        .output()
        .unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_crowd_leaves_nothing_behind() {
    if let Ok(block) = std::env::var(BLOCK) {
        run(&block);
    } else {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let real = silent.local_addr().unwrap();
        assert_eq!(
            fault(&format!(
                "virtual=192.0.2.1:9\n\treal={real} masq\n\tservice=simpletcp\n\trequest=\"x\"\n"
            )),
            None
        );
    }
}

/// What this process holds: descriptors, child processes, tasks.
fn held(runtime: &Runtime) -> (usize, usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    let started = family(i32::try_from(std::process::id()).unwrap()).len() - 1;
    (descriptors, started, runtime.metrics().num_alive_tasks())
}

fn run(block: &str) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let checker = Checker::new().unwrap();
    let key = ours::check(block, 1).unwrap().unwrap();
    // Opened once and kept, so not a leak: the sockets for pings, and the task that reads them.
    let first = runtime.block_on(checker.run(&key.probe));
    assert_eq!(first.outcome, Outcome::Down, "{}", first.reason);
    let before = settle(&runtime, KEPT);
    let is_command = matches!(key.probe.action, ProbeAction::External(_));
    let together = if is_command { PROGRAMS } else { CROWD };
    let (verdicts, during) = runtime.block_on(async {
        let checks = stream::iter(0..CROWD).map(|_| checker.run(&key.probe)).buffer_unordered(together);
        let halfway = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            held(&runtime)
        };
        tokio::join!(checks.collect::<Vec<_>>(), halfway)
    });
    // A busy machine may fail to start a command within its second, which is not the fault of the server (R61).
    let is_late = |verdict: &Verdict| verdict.outcome == Outcome::Unknown(UnknownCause::NotStarted);
    let is_expected = |verdict: &Verdict| verdict.outcome == Outcome::Down || is_command && is_late(verdict);
    let wrong = verdicts.iter().find(|verdict| !is_expected(verdict));
    assert!(wrong.is_none(), "{wrong:?}");
    let longest = verdicts.iter().map(|verdict| verdict.took).max().unwrap();
    let shortest = verdicts.iter().map(|verdict| verdict.took).min().unwrap();
    let left = settle(&runtime, before);
    let held = format!(
        "descriptors, processes, tasks: {before:?} before, {during:?} meanwhile, {left:?} afterwards"
    );
    eprintln!("crowd: {CROWD} checks took {shortest:?} to {longest:?}; {held}");
    for pid in family(i32::try_from(std::process::id()).unwrap()).into_iter().skip(1) {
        eprintln!("{}", fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default());
    }
    // On a busy machine they may wait for much longer than their second.
    assert!(shortest >= Duration::from_secs(1) && longest < LIMIT, "not all ended with their deadline");
    assert!(left.0 <= before.0 && left.1 <= before.1 && left.2 <= before.2, "something remains");
}

/// Waits until no more than this is held: a cancelled task needs a turn to end.
fn settle(runtime: &Runtime, (descriptors, started, tasks): (usize, usize, usize)) -> (usize, usize, usize) {
    let limit = Instant::now() + LIMIT;
    loop {
        let now = held(runtime);
        if (now.0 <= descriptors && now.1 <= started && now.2 <= tasks) || Instant::now() > limit {
            return now;
        }
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
    }
}
