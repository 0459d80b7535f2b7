//! The states of one server, and the checks in each: answering, frozen, thawed, killed, restarted.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ldirectord_rs::check::Checker;
use ldirectord_rs::value::{Outcome, Verdict};
use nix::sys::resource::{UsageWho, getrusage};
use tokio::runtime::{Builder, Runtime};

use crate::original::Original;
use crate::server::{LIMIT, Server};
use crate::table::{Case, Expected, Table};
use crate::{crowd, ours};

/// Seconds for a check that gets an answer.
const PATIENCE: u32 = 15;
/// Seconds for a check that gets no answer.
const SHORT: u32 = 1;
/// Seconds for a check of the original, which first loads its library.
const ORIGINAL: u32 = 3;
/// The number of measured checks.
const MEASURED: u32 = 50;

/// The tables of one server, and the programs that check it.
struct Lifecycle {
    tables: Vec<Table>,
    runtime: Runtime,
    checker: Checker,
    /// One per case, in the order of the tables. None unless the original is to be recorded.
    originals: Vec<Original>,
    faults: Vec<String>,
}

/// Puts one server through all states of its tables.
pub fn live(names: &[&str]) {
    let tables: Vec<Table> = names.iter().map(|name| Table::read(name)).collect();
    assert!(tables.iter().all(|table| table.server == tables[0].server && table.beside == tables[0].beside));
    let start = |words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        (!words.is_empty()).then(|| Server::start(&words))
    };
    let (mut beside, mut server) = (start(&tables[0].beside), start(&tables[0].server));
    let recording = std::env::var_os("PEERS_RECORD").is_some();
    let originals = names.iter().zip(&tables).flat_map(|(name, table)| {
        let each = (1..=table.cases.len()).map(move |number| Original::new(&format!("{name}-{number}")));
        each.filter(|_| recording)
    });
    let mut lifecycle = Lifecycle {
        originals: originals.collect(),
        tables,
        runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        checker: Checker::new().unwrap(),
        faults: Vec::new(),
    };
    lifecycle.wait("answering", &mut server);
    lifecycle.phase("answering", PATIENCE);
    lifecycle.phase("unanswered", SHORT);
    lifecycle.over_tls();
    lifecycle.crowd("unanswered");
    lifecycle.measure();
    if let Some(server) = &mut server {
        server.freeze();
        lifecycle.phase("frozen", SHORT);
        lifecycle.crowd("frozen");
        server.thaw();
        server.stop();
        lifecycle.phase("stopped", PATIENCE);
        server.restart();
    }
    lifecycle.wait("restarted", &mut server);
    lifecycle.phase("restarted", PATIENCE);
    if let Some(beside) = &mut beside {
        beside.stop();
    }
    lifecycle.phase("alone", PATIENCE);
    lifecycle.end(names, server.map(|server| server.log()).unwrap_or_default());
}

impl Lifecycle {
    fn cases(&self) -> impl Iterator<Item = &Case> {
        self.tables.iter().flat_map(|table| &table.cases)
    }

    /// The expected verdict in a phase.
    fn in_phase(&self, phase: &str) -> Vec<(&Case, &Expected)> {
        let of = |case| expected(case, phase).map(|expected| (case, expected));
        self.cases().filter_map(of).collect()
    }

    /// Repeats the checks until each server that should be up is up: it has just been started.
    fn wait(&mut self, phase: &str, server: &mut Option<Server>) {
        let limit = Instant::now() + LIMIT;
        let mut missing = self.in_phase(phase);
        missing.retain(|(_, expected)| expected.outcome == Outcome::Up);
        loop {
            let verdicts = missing.iter().map(|(case, _)| ours::ask(&self.checker, &case.block, PATIENCE));
            let verdicts = self.runtime.block_on(join_all(verdicts));
            let faults: Vec<_> = missing.iter().zip(&verdicts).map(|((_, e), v)| fault(e, v)).collect();
            let mut each = faults.iter();
            missing.retain(|_| each.next().unwrap().is_some());
            let Some(fault) = faults.iter().flatten().next() else { return };
            let ended = server.as_mut().is_some_and(Server::has_ended);
            assert!(
                Instant::now() < limit && !ended,
                "{}\n{fault}\n{}",
                if ended { "the server ended by itself" } else { "not within the limit" },
                server.as_ref().map(Server::log).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs all cases with an expectation for this phase at the same time.
    fn phase(&mut self, phase: &'static str, seconds: u32) {
        let cases = self.in_phase(phase);
        let verdicts = cases.iter().map(|(case, _)| ours::ask(&self.checker, &case.block, seconds));
        let verdicts = self.runtime.block_on(join_all(verdicts));
        let mut faults = Vec::new();
        for ((case, expected), verdict) in cases.iter().zip(&verdicts) {
            faults.extend(fault(expected, verdict).map(|fault| format!("{}: {fault}", case.title)));
        }
        self.faults.extend(faults);
        if !self.originals.is_empty() {
            self.record(phase);
        }
    }

    /// Repeats the checks over TLS after STARTTLS.
    fn over_tls(&mut self) {
        let asked = self
            .cases()
            .filter_map(|case| Some((&case.title, ours::over_tls(&case.block, case.starttls.as_ref()?))));
        let asked: Vec<_> =
            asked.flat_map(|(title, each)| each.into_iter().map(move |one| (title, one))).collect();
        let verdicts = asked.iter().map(|(_, (block, ..))| ours::ask(&self.checker, block, PATIENCE));
        let verdicts = self.runtime.block_on(join_all(verdicts));
        let faults = asked.iter().zip(&verdicts).filter_map(|((title, (block, outcome, said)), verdict)| {
            ours::fault(&format!("{title}, STARTTLS\n{block}"), *outcome, said, verdict)
        });
        let faults: Vec<String> = faults.collect();
        self.faults.extend(faults);
    }

    fn record(&mut self, phase: &'static str) {
        let cases = self.tables.iter_mut().flat_map(|table| &mut table.cases);
        let mut waiting = Vec::new();
        for (case, original) in cases.zip(&mut self.originals) {
            let Case { block, expected, .. } = case;
            let Some(expected) = expected.iter_mut().find(|expected| expected.phase == phase) else {
                continue;
            };
            let pass = original.begin(block, ORIGINAL);
            waiting.push((expected, original, pass));
        }
        for (expected, original, pass) in waiting {
            expected.original = Some(original.verdict(pass));
        }
    }

    /// Measures the CPU time of this thread, which does all work of our check, and of the original if it is being
    /// recorded.
    fn measure(&mut self) {
        let mut faults: Vec<String> = Vec::new();
        let (checker, runtime) = (&self.checker, &self.runtime);
        let mut originals = self.originals.iter_mut();
        for case in self.tables.iter().flat_map(|table| &table.cases) {
            let original = originals.next();
            let Some(name) = &case.measure else { continue };
            let expected = expected(case, "answering").unwrap();
            let (Ok(Some(key)), began) = (ours::check(&case.block, PATIENCE), Instant::now()) else {
                continue;
            };
            let before = cpu();
            for _ in 0..MEASURED {
                let verdict = runtime.block_on(ours::run(checker, &key));
                faults.extend(fault(expected, &verdict));
            }
            let each = (cpu() - before) / i64::from(MEASURED);
            let took = began.elapsed() / MEASURED;
            // The costs of a check without an answer mean nothing.
            let seen_up = expected.original.as_ref().is_some_and(|said| said.starts_with("up"));
            let original = original.filter(|_| seen_up);
            let theirs = original.map(|original| original.measure(&case.block, ORIGINAL));
            let theirs = theirs.map_or(String::new(), |theirs| format!(", the original {theirs:>6} µs CPU"));
            // Not `println`: the test harness would capture it.
            let line =
                format!("peers: {name:<32} {each:>6} µs CPU, {:>7} µs a check{theirs}\n", took.as_micros());
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        self.faults.extend(faults);
    }

    /// Runs many checks of a silent server, but not next to the original: its checks would lose the CPU time.
    fn crowd(&mut self, phase: &str) {
        if !self.originals.is_empty() {
            return;
        }
        let frozen = |case: &&Case| case.crowd && expected(case, phase).is_some();
        let faults: Vec<String> =
            self.cases().filter(frozen).filter_map(|case| crowd::fault(&case.block)).collect();
        self.faults.extend(faults);
    }

    /// All failures.
    fn end(mut self, names: &[&str], log: String) {
        let recording = !self.originals.is_empty();
        drop(std::mem::take(&mut self.originals));
        for table in &self.tables {
            if recording {
                table.write();
            }
            for case in &table.cases {
                let faults = case.expected.iter().filter_map(Expected::fault);
                self.faults.extend(faults.map(|fault| format!("{}: {fault}", case.title)));
            }
        }
        assert!(self.faults.is_empty(), "{names:?}:\n{}\nlog:\n{log}", self.faults.join("\n"));
    }
}

fn expected<'a>(case: &'a Case, phase: &str) -> Option<&'a Expected> {
    case.expected.iter().find(|expected| expected.phase == phase)
}

fn fault(expected: &Expected, verdict: &Verdict) -> Option<String> {
    ours::fault(expected.phase, expected.outcome, &expected.reason, verdict)
}

/// The CPU time of this thread so far, and of finished child processes, in µs.
fn cpu() -> i64 {
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    micros(usage.user_time()) + micros(usage.system_time())
}
