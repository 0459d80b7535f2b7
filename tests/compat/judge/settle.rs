//! When a group of commands has had its effect.
//!
//! Of the original nobody knows what is to come, so its table, log, calls and mails must be quiet for two passes. Of ours
//! the record says what is to come: it is waited for, and then it must stay.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::scenario::{Group, Scenario};
use super::stage::Stage;

const POLL: Duration = Duration::from_millis(50);
/// Two passes of checks at an interval of a second, with what a slow machine needs.
const QUIET: f64 = 3.5;
/// An answer of ours that has come stays for so long.
const HOLD: Duration = Duration::from_millis(1200);
/// Where nothing is to happen, two checks must be given the time to make something happen.
const HOLD_STILL: Duration = Duration::from_millis(2500);
/// `clock_nanosleep` on x86-64: what `sleep` of Perl does.
const SLEEPING: &str = "230";

/// What a group of commands led to.
pub struct Outcome {
    /// What was seen.
    pub lines: Vec<String>,
    /// From the last command to the last change of the table; none if the table is as it was.
    pub table_after: Option<Duration>,
    /// It was not quiet, or not what it should be, within the limit.
    pub in_time: bool,
}

/// How long a scenario lets things take.
pub struct Patience {
    quiet: Duration,
    limit: Duration,
}

impl Patience {
    /// As the scenario says; `limit` if it says nothing.
    pub fn of(scenario: &Scenario, limit: f64) -> Self {
        let number = |name: &str, default: f64| {
            let setting = scenario.setting(name).map(|setting| setting.rest.parse().unwrap());
            Duration::from_secs_f64(setting.unwrap_or(default))
        };
        Self { quiet: number("quiet", QUIET), limit: number("limit", limit) }
    }
}

/// Obeys and waits until all is quiet. `perl`: and until the daemon has slept between passes.
pub fn quiet(stage: &mut Stage, group: &Group, patience: &Patience, perl: bool) -> Outcome {
    stage.mark();
    let before = stage.watch.pulse(&stage.post);
    let ran = !stage.pids().is_empty();
    group.commands.iter().for_each(|command| stage.obey(command));
    let event = Instant::now();
    let mut pulse = before.clone();
    let mut changed = event;
    let mut table_after = None;
    let mut switches = Vec::new();
    let in_time = loop {
        let now = Instant::now();
        let next = stage.watch.pulse(&stage.post);
        if next.table != pulse.table {
            table_after = Some(now - event);
        }
        let pids = stage.pids();
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
        // Lines of the monitor file get their time when they are seen.
        stage.look();
        thread::sleep(POLL);
    };
    let table_after = table_after.filter(|_| pulse.table != before.table);
    stage.watch.forget_table();
    Outcome { lines: stage.look(), table_after, in_time }
}

/// Obeys, waits for what is expected, and sees that it stays.
pub fn expected(stage: &mut Stage, group: &Group, patience: &Patience) -> Outcome {
    stage.mark();
    let before = stage.watch.pulse(&stage.post).table;
    group.commands.iter().for_each(|command| stage.obey(command));
    let event = Instant::now();
    let (mut table, mut table_after) = (before.clone(), None);
    let mut since: Option<Instant> = None;
    let mut hold = HOLD_STILL;
    loop {
        let held = since.is_some_and(|since| since.elapsed() >= hold);
        if held {
            stage.watch.forget_table();
        }
        let lines = stage.look();
        let now = Instant::now();
        let next = stage.watch.pulse(&stage.post).table;
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
            // What has to come has not come yet: when it has, less is left to be seen.
            hold = HOLD;
            if now - event > patience.limit {
                return Outcome { lines, table_after: None, in_time: false };
            }
        }
        thread::sleep(POLL);
    }
}

/// Does it sleep between two passes?
fn is_asleep(pid: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split(' ').next() == Some(SLEEPING)
}

/// How often it has waited for something so far; at least once in each pass.
fn sleeps(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}
