//! Waits until a group of commands has taken effect.
//!
//! What the original will do is unknown, so its table, log, calls and mails must be unchanged for two passes. For
//! ours, the record contains the expected result: the test waits for it, and then it must stay.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::harness::Harness;
use super::scenario::{Group, Scenario};

const POLL: Duration = Duration::from_millis(50);
/// Two passes of checks at an interval of 1 s, plus the delay of a slow machine.
const QUIET: f64 = 3.5;
/// How long the expected result must stay.
const HOLD: Duration = Duration::from_millis(1200);
/// The same where no change is expected: two checks must have the time to cause one.
const HOLD_STILL: Duration = Duration::from_millis(2500);
/// `clock_nanosleep` on x86-64: the system call of Perl's `sleep`.
const SLEEPING: &str = "230";

/// The effect of a group of commands.
pub struct Outcome {
    /// What was observed.
    pub lines: Vec<String>,
    /// The time from the last command to the last change of the table. None if the table is unchanged.
    pub table_after: Option<Duration>,
    /// Whether all was quiet and as expected within the limit.
    pub in_time: bool,
}

/// The time limits of a scenario.
pub struct Patience {
    quiet: Duration,
    limit: Duration,
}

impl Patience {
    /// The settings of the scenario. `limit` without a setting.
    pub fn of(scenario: &Scenario, limit: f64) -> Self {
        let number = |name: &str, default: f64| {
            let setting = scenario.setting(name).map(|setting| setting.rest.parse().unwrap());
            Duration::from_secs_f64(setting.unwrap_or(default))
        };
        Self { quiet: number("quiet", QUIET), limit: number("limit", limit) }
    }
}

/// Runs the commands and waits until nothing changes. With `perl` also until the daemon has slept between passes.
pub fn quiet(harness: &mut Harness, group: &Group, patience: &Patience, perl: bool) -> Outcome {
    harness.mark();
    let before = harness.watch.pulse(&harness.post);
    let ran = !harness.pids().is_empty();
    group.commands.iter().for_each(|command| harness.obey(command));
    let event = Instant::now();
    let mut pulse = before.clone();
    let mut changed = event;
    let mut table_after = None;
    let mut switches = Vec::new();
    let in_time = loop {
        let now = Instant::now();
        let next = harness.watch.pulse(&harness.post);
        if next.table != pulse.table {
            table_after = Some(now - event);
        }
        let pids = harness.pids();
        if next != pulse || now - changed < POLL {
            changed = now;
            switches = pids.iter().map(|pid| sleeps(*pid)).collect();
            pulse = next;
        }
        let gone = pids.is_empty() && ran;
        let quiet = if gone { patience.quiet.min(Duration::from_millis(1500)) } else { patience.quiet };
        let rested = |(pid, before): (&Pid, &u64)| is_asleep(*pid) && sleeps(*pid) >= before + 3;
        if now - changed >= quiet
            && (!perl || (pids.len() == switches.len() && pids.iter().zip(&switches).all(rested)))
        {
            break true;
        }
        if now - event > patience.limit {
            break false;
        }
        // Lines of the monitor file get the time at which they are observed.
        harness.look();
        thread::sleep(POLL);
    };
    let table_after = table_after.filter(|_| pulse.table != before.table);
    harness.watch.forget_table();
    Outcome { lines: harness.look(), table_after, in_time }
}

/// Runs the commands, waits for the expected result, and verifies that it stays.
pub fn expected(harness: &mut Harness, group: &Group, patience: &Patience) -> Outcome {
    harness.mark();
    let before = harness.watch.pulse(&harness.post).table;
    group.commands.iter().for_each(|command| harness.obey(command));
    let event = Instant::now();
    let (mut table, mut table_after) = (before.clone(), None);
    let mut since: Option<Instant> = None;
    let mut hold = HOLD_STILL;
    loop {
        let held = since.is_some_and(|since| since.elapsed() >= hold);
        if held {
            harness.watch.forget_table();
        }
        let lines = harness.look();
        let now = Instant::now();
        let next = harness.watch.pulse(&harness.post).table;
        if next != table {
            table_after = Some(now - event);
            table = next;
        }
        let equal = lines == group.expected();
        if equal && held {
            return Outcome { lines, table_after: table_after.filter(|_| table != before), in_time: true };
        }
        if equal {
            since.get_or_insert(now);
        } else {
            since = None;
            // A change was expected and is still missing. After it, the shorter time suffices.
            hold = HOLD;
            if now - event > patience.limit {
                return Outcome { lines, table_after: None, in_time: false };
            }
        }
        thread::sleep(POLL);
    }
}

/// Whether it sleeps between two passes.
fn is_asleep(pid: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split(' ').next() == Some(SLEEPING)
}

/// How often it has waited for something so far: at least once in each pass.
fn sleeps(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}
