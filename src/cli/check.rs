//! `check`: validates the file and probes every server once, all in parallel. Changes nothing.

#![expect(clippy::disallowed_methods, reason = "measures the durations of a single round of checks")]

use std::time::{Instant, SystemTime};

use ipvs_rs::Table;

use super::Exit;
use super::arguments::Judging;
use super::context::Context;
use super::failure::CommandFailure;
use super::terminal::{self, answer, eprint_line};
use super::{judge, launch, load, programs};
use crate::check::{Checker, CheckerError, silence_contained_panics};
use crate::daemon::{self, Limits, LoadedFile, RunningChecks};
use crate::health::Health;
use crate::report::{self, Moment, StateSnapshot, View};

pub(super) fn run(context: &Context, judging: Judging) -> Result<Exit, CommandFailure> {
    let path = judge::find(context, judging.json)?;
    load::warn_of_access(context, &path);
    let loaded = match daemon::load(&path) {
        Ok(loaded) => loaded,
        Err(error) => return judge::refused(&path, error, judging.json),
    };
    let of_machine = [loaded.notes().to_vec(), programs::faults(loaded.spec.config())].concat();
    let warnings = loaded.warnings.len() + of_machine.len();
    judge::tell_warnings(&path, &loaded.warnings);
    of_machine.iter().for_each(|warning| eprint_line!("Warning: {warning}"));
    judge::check_strict(&path, warnings, judging)?;
    let runtime = daemon::runtime().map_err(CommandFailure::Runtime)?;
    let limits = launch::check_limits(context);
    silence_contained_panics();
    let result = runtime.block_on(look(&loaded, limits, context.acts.commands));
    runtime.shutdown_background();
    let snapshot = result.map_err(CommandFailure::Checks)?;
    let exit = if snapshot.all_well() { Exit::Ok } else { Exit::Failure };
    if judging.json {
        return answer(serde_json::to_string_pretty(&snapshot).unwrap_or_default(), exit);
    }
    judge::tell_outcome(&path, warnings);
    answer(report::render(&snapshot, terminal::look(true)), exit)
}

async fn look(
    loaded: &LoadedFile,
    limits: Limits,
    run_commands: bool,
) -> Result<StateSnapshot, CheckerError> {
    let start = Instant::now();
    let spec = &loaded.spec;
    let mut health = Health::new(spec, &std::collections::BTreeSet::new(), start);
    let mut checks = RunningChecks::new(Checker::new()?.with_commands(run_commands), limits);
    let in_maintenance = loaded.in_maintenance();
    health.maintain(spec, |address| in_maintenance.get(&address).cloned(), start);
    health.hurry_all(start);
    while !health.all_seen() {
        let now = Instant::now();
        checks.begin_turn(now);
        // Always with the same time, so that no check is due twice.
        health.due(spec, start, |due| checks.start(due, now));
        tokio::task::yield_now().await;
        if checks.turn_is_full() {
            continue;
        }
        for (id, verdict) in checks.finished().await {
            health.verdict(spec, id, verdict, Instant::now());
        }
    }
    let at = Moment { instant: start, wall: SystemTime::now() };
    Ok(StateSnapshot::of(&View::of(spec, &health, &Table::default(), at)).without_table())
}
