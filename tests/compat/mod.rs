//! Runs the original and ours on the same scenarios (`tests/compat/scenarios`) and compares them.
//!
//! The original is slow in the emulated machine, so its behaviour is recorded once in the scenario (`make record`).
//! Here ours runs. It must do the same, or what the scenario lists for ours under an id.
//!
//! `JUDGE` is empty, `record` (run the original and print scenarios with its record) or `write` (run ours and print
//! scenarios with what ours does). `JUDGE_ONLY` selects scenarios by parts of their names. `JUDGE_THREADS` is the
//! number of scenarios that run at the same time. `JUDGE_JITTER` is the longest random delay before a group of
//! commands, in seconds: it reveals scenarios that depend on timing.

mod harness;
mod mail_server;
mod observe;
mod scenario;
mod servers;
mod settle;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::Harness;
use scenario::Scenario;
use settle::{Outcome, Patience};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compat/scenarios");
const ORIGINAL: &str = "/usr/sbin/ldirectord";
/// The marks before and after a printed scenario.
const BEGIN: &str = "@@@ begin ";
const END: &str = "@@@ end";

/// What a run does with the scenarios.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Judge,
    Record,
    Write,
}

/// The results of all scenarios.
#[derive(Default)]
struct Tally {
    scenarios: usize,
    pending: Vec<String>,
    equal: usize,
    by_id: usize,
    wrong: Vec<String>,
    /// The times from an event to the change of the table.
    times: Vec<Duration>,
}

impl Mode {
    fn of_environment() -> Self {
        match env::var("JUDGE").unwrap_or_default().as_str() {
            "" | "judge" => Self::Judge,
            "record" => Self::Record,
            "write" => Self::Write,
            other => panic!("JUDGE={other}: judge, record or write"),
        }
    }

    fn binary(self) -> PathBuf {
        match self {
            Self::Record => ORIGINAL.into(),
            _ => env::var_os("LDIRECTORD_RS")
                .map_or_else(|| env!("CARGO_BIN_EXE_ldirectord-rs").into(), Into::into),
        }
    }

    /// The longest pause before a group of commands.
    fn jitter() -> Duration {
        let text = env::var("JUDGE_JITTER").unwrap_or_default();
        let seconds = if text.is_empty() { 0.0 } else { text.parse().expect("JUDGE_JITTER is seconds") };
        Duration::from_secs_f64(seconds)
    }

    fn threads(self) -> usize {
        let asked = env::var("JUDGE_THREADS").ok().and_then(|text| text.parse().ok());
        asked.unwrap_or(if self == Self::Record { 5 } else { 8 })
    }
}

#[test]
fn ours_does_what_is_recorded() {
    let mode = Mode::of_environment();
    let binary = mode.binary();
    assert!(binary.exists(), "no program at {}", binary.display());
    let mut queue = scenarios();
    assert!(!queue.is_empty(), "no scenario is chosen");
    // Threads take scenarios from the end.
    queue.reverse();
    let (queue, tally) = (Mutex::new(queue), Mutex::new(Tally::default()));
    let begin = Instant::now();
    if mode == Mode::Record {
        say(&format!("@@@ kernel {}\n", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim()));
    }
    thread::scope(|scope| {
        for _ in 0..mode.threads() {
            scope.spawn(|| {
                loop {
                    let Some(scenario) = queue.lock().unwrap().pop() else { break };
                    play(mode, scenario, &tally);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    say(&tally.summary(mode, begin.elapsed()));
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
}

/// The selected scenarios.
fn scenarios() -> Vec<Scenario> {
    let only = env::var("JUDGE_ONLY").unwrap_or_default();
    let mut paths: Vec<PathBuf> =
        fs::read_dir(SCENARIOS).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut chosen = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "scenario")) {
        let name = path.file_stem().unwrap().to_string_lossy();
        if only.is_empty() || only.split_whitespace().any(|part| name.contains(part)) {
            chosen.push(
                Scenario::parse(&name, &fs::read_to_string(path).unwrap()).unwrap_or_else(|e| panic!("{e}")),
            );
        }
    }
    chosen
}

/// Runs one scenario on a thread of its own, which then ends: namespaces belong to a thread.
fn play(mode: Mode, mut scenario: Scenario, tally: &Mutex<Tally>) {
    let name = scenario.name.clone();
    if mode == Mode::Judge
        && let Some(why) = scenario.pending()
    {
        tally.lock().unwrap().pending.push(format!("{name}: {why}"));
        return;
    }
    let begin = Instant::now();
    let played = thread::scope(|scope| {
        scope.spawn(|| perform(mode, &mut scenario, tally)).join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic").to_owned()
        })
    });
    let mut tally = tally.lock().unwrap();
    tally.scenarios += 1;
    if let Err(why) = played {
        tally.wrong.push(format!("{name}: {why}"));
    } else if mode != Mode::Judge {
        say(&format!("{BEGIN}{name}\n{}{END}\n", scenario.text()));
    }
    say(&format!("judge: {name}: {:.1} s\n", begin.elapsed().as_secs_f64()));
}

fn perform(mode: Mode, scenario: &mut Scenario, tally: &Mutex<Tally>) {
    let mut harness = Harness::enter(scenario, &mode.binary());
    let patience = Patience::of(scenario, if mode == Mode::Judge { 20.0 } else { 90.0 });
    let name = scenario.name.clone();
    let jitter = Mode::jitter();
    for (number, group) in (1..).zip(&mut scenario.groups) {
        thread::sleep(jitter.mul_f64(fraction()));
        let outcome = match mode {
            Mode::Judge => settle::expected(&mut harness, group, &patience),
            Mode::Record => settle::quiet(&mut harness, group, &patience, true),
            Mode::Write => settle::quiet(&mut harness, group, &patience, false),
        };
        let mut tally = tally.lock().unwrap();
        if let (Some(time), true) = (outcome.table_after, group.is_an_event()) {
            tally.times.push(time);
        }
        let Outcome { lines, in_time, .. } = outcome;
        match mode {
            Mode::Judge if in_time && group.ours.is_some() => tally.by_id += 1,
            Mode::Judge if in_time => tally.equal += 1,
            Mode::Judge => {
                let expected = group.expected().join("\n    ");
                let found = lines.join("\n    ");
                let why =
                    format!("{name}, group {number}:\n  expected:\n    {expected}\n  found:\n    {found}\n");
                tally.wrong.push(format!("{why}  log:\n{}", log()));
                // Later groups would fail only because of this one.
                return;
            }
            Mode::Record => group.original = lines,
            Mode::Write if lines == group.original => (group.id, group.ours) = (None, None),
            Mode::Write => {
                group.id.get_or_insert_with(|| "?".to_owned());
                group.ours = Some(lines);
            }
        }
        if mode != Mode::Judge && !in_time {
            say(&format!("judge: {name}, group {number}: never quiet\n"));
        }
    }
}

/// A random number from 0 to 1.
fn fraction() -> f64 {
    f64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_micros() % 1000) / 1000.0
}

/// The end of the director's log. The calling thread is in its namespaces.
fn log() -> String {
    let text = fs::read_to_string("/var/log/ldirectord.log").unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].iter().map(|line| format!("    {line}\n")).collect()
}

impl Tally {
    fn summary(&self, mode: Mode, took: Duration) -> String {
        let mut text = String::new();
        for pending in &self.pending {
            writeln!(text, "judge: not compared yet: {pending}").unwrap();
        }
        writeln!(
            text,
            "judge: {} scenarios in {:.0} s: {} groups equal, {} different by id, {} scenarios wrong, {} not compared yet",
            self.scenarios,
            took.as_secs_f64(),
            self.equal,
            self.by_id,
            self.wrong.len(),
            self.pending.len()
        )
        .unwrap();
        let mut times = self.times.clone();
        times.sort();
        if let Some(worst) = times.last() {
            writeln!(
                text,
                "judge: from an event to the table, {}: median {:.2} s, worst {:.2} s of {}",
                if mode == Mode::Record { "the original" } else { "ours" },
                times[times.len() / 2].as_secs_f64(),
                worst.as_secs_f64(),
                times.len()
            )
            .unwrap();
        }
        text
    }
}

/// Prints at once, past the output capture of the test harness.
fn say(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}
