//! `tests/stages.sh`: the table of minutes and budgets at the end of `make test`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs stages with a fake make: `slow` takes a second, `bad` fails. Returns the exit code and the table.
fn run(stages: &[&str]) -> (Option<i32>, Vec<String>) {
    let place = tempfile::tempdir().unwrap();
    let make = place.path().join("make.sh");
    fs::write(&make, "case $2 in slow) sleep 1.1 ;; bad) exit 2 ;; esac\n").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stages.sh");
    let mut command = Command::new(script);
    command.args(stages).env("MAKE", format!("sh {}", make.display()));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    (output.status.code(), rows.filter(|row| !row.is_empty()).collect())
}

#[test]
fn a_run_that_ends_well_prints_minutes_and_budgets() {
    let (code, table) = run(&["fine=3", "slow=0"]);
    assert_eq!(code, Some(0));
    assert_eq!(table, ["stage minutes budget", "fine 0.0 3", "slow 0.0 0 over budget", "together 0.0 3"]);
}

#[test]
fn a_stage_that_fails_is_the_last_and_the_table_comes() {
    let (code, table) = run(&["fine=3", "bad=2", "rest=5"]);
    assert_eq!(code, Some(1));
    let rows =
        ["stage minutes budget", "fine 0.0 3", "bad 0.0 2 FAILED", "rest - 5 not run", "together 0.0 10"];
    assert_eq!(table, rows);
}

#[test]
fn a_budget_that_is_not_a_number_runs_nothing() {
    for wrong in ["fine=0.5", "fine=08", "fine", "fine="] {
        assert_eq!(run(&["fine=1", wrong]).0, Some(1), "{wrong}");
    }
}

/// A run that is stopped prints what both targets of the stage have printed.
#[test]
fn a_stopped_run_loses_no_output() {
    let place = tempfile::tempdir().unwrap();
    let (make, marks) = (place.path().join("make.sh"), ["one", "two"].map(|name| place.path().join(name)));
    let text = format!("echo \"words of $2\"; touch {}/$2; exec sleep 60\n", place.path().display());
    fs::write(&make, text).unwrap();
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stages.sh"));
    command.arg("one+two=1").env("MAKE", format!("sh {}", make.display())).process_group(0);
    let run = command.stdout(Stdio::piped()).spawn().unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    while !marks.iter().all(|mark| mark.exists()) {
        assert!(Instant::now() < limit);
        std::thread::sleep(Duration::from_millis(10));
    }
    let group = nix::unistd::Pid::from_raw(run.id().cast_signed());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGTERM).unwrap();
    let output = run.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("words of one") && text.contains("words of two"), "{text}");
    assert!(!output.status.success());
}

#[test]
fn two_targets_at_the_same_time_are_one_stage() {
    let (code, table) = run(&["fine+slow=1", "slow+bad=1"]);
    assert_eq!(code, Some(1));
    assert_eq!(table, ["stage minutes budget", "fine+slow 0.0 1", "slow+bad 0.0 1 FAILED", "together 0.0 2"]);
    let (code, table) = run(&["bad+fine=1"]);
    assert_eq!((code, table[1].as_str()), (Some(1), "bad+fine 0.0 1 FAILED"));
}
