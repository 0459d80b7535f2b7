//! `check`: validates the file, judges whether this machine suits it, and probes every server once, all in parallel.
//! Changes nothing.

#![expect(clippy::disallowed_methods, reason = "measures the durations of a single round of checks")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ipvs_rs::Table;
use serde::Serialize;

use super::Exit;
use super::arguments::{Judging, Only};
use super::context::Context;
use super::failure::CommandFailure;
use super::progress::{self, ProgressBar};
use super::terminal::{self, answer, eprint_line};
use super::{judge, launch, load, machine, programs};
use crate::check::{Checker, CheckerError, silence_contained_panics};
use crate::config::Config;
use crate::daemon::{self, Limits, LoadedFile, RunningChecks};
use crate::diagnosis::{self, Finding, FindingLevel};
use crate::health::Health;
use crate::notify::mail::renderer;
use crate::report::{self, ListingStyle, Moment, ServerEntry, ShownState, StateSnapshot, View};
use crate::spec::Spec;

pub(super) fn run(context: &Context, judging: Judging, only: &Only) -> Result<Exit, CommandFailure> {
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
    judge::check_strict(&path, &loaded.warnings, &of_machine, judging)?;
    let probed =
        selected(&loaded.spec, only).map_err(|what| judge::not_in_file(&path, what, judging.json))?;
    let runtime = daemon::runtime().map_err(CommandFailure::Runtime)?;
    let limits = launch::check_limits(context);
    let facts = machine::Asked { context, path: &path, loaded: &loaded, warnings, runtime: &runtime };
    let findings = diagnosis::judge(&loaded.spec, &machine::look(&facts));
    let look = terminal::look(true);
    if !judging.json {
        // Before the probes, which may take as long as their deadlines.
        let parts =
            [concat!("ldirectord-rs ", env!("CARGO_PKG_VERSION")).to_owned(), path.display().to_string()];
        let heading = report::heading(&[&parts[..], &[renderer().host]].concat(), look);
        answer(format!("{heading}\n\n{}\n", report::findings(&findings, look)), Exit::Ok)?;
    }
    silence_contained_panics();
    let begin = Instant::now();
    let result = runtime.block_on(probe(&loaded, &probed, limits, context.acts.commands));
    runtime.shutdown_background();
    let snapshot = result.map_err(CommandFailure::Checks)?;
    let exit = exit(&snapshot, &findings, judging);
    if judging.json {
        let report = CheckReport { snapshot: &snapshot, findings: &findings };
        return answer(serde_json::to_string_pretty(&report).unwrap_or_default(), exit);
    }
    answer(outcome(&snapshot, &findings, begin.elapsed(), look), exit)
}

/// The snapshot and, next to its fields, the findings about the machine.
#[derive(Serialize)]
struct CheckReport<'a> {
    #[serde(flatten)]
    snapshot: &'a StateSnapshot,
    findings: &'a [Finding],
}

fn exit(snapshot: &StateSnapshot, findings: &[Finding], judging: Judging) -> Exit {
    let worst = if judging.strict { FindingLevel::Warning } else { FindingLevel::Error };
    match snapshot.all_well() && findings.iter().all(|finding| finding.level < worst) {
        true => Exit::Ok,
        false => Exit::Failure,
    }
}

/// What is printed after the probes: the servers, and the last line.
fn outcome(snapshot: &StateSnapshot, findings: &[Finding], took: Duration, look: ListingStyle) -> String {
    let servers: Vec<&ServerEntry> = snapshot.virtuals.iter().flat_map(|v| &v.servers).collect();
    let number = |state| servers.iter().filter(|server| server.state == state).count();
    let (all, up, down) = (servers.len(), number(ShownState::Up), number(ShownState::Down));
    let others = match all - up - down {
        0 => String::new(),
        number => format!(", {number} neither"),
    };
    let seconds = took.as_secs_f64();
    let probed = format!("  {all} probed in {seconds:.1} s: {up} up, {down} down{others}");
    let servers = report::render(snapshot, ListingStyle { phases: true, ..look });
    format!("{probed}\n\n{servers}\n\n{}", report::last_line(findings, snapshot.unwell(), look))
}

/// The spec with only the services and servers that are to be probed, or what of them the file does not have.
fn selected(spec: &Spec, only: &Only) -> Result<Spec, String> {
    if *only == Only::default() {
        return Ok(spec.clone());
    }
    let mut config = Config::clone(spec.config());
    if let Some(id) = only.service {
        config.virtuals.retain(|v| v.id == id);
        if config.virtuals.is_empty() {
            return Err(id.qualified());
        }
    }
    if let Some(server) = only.server {
        for v in &mut config.virtuals {
            v.reals.retain(|real| real.address == server);
        }
        config.virtuals.retain(|v| !v.reals.is_empty());
        if config.virtuals.is_empty() {
            let of = only.service.map(|id| format!(" of {}", id.qualified())).unwrap_or_default();
            return Err(format!("{server}{of}"));
        }
    }
    Ok(Spec::new(Arc::new(config)))
}

async fn probe(
    loaded: &LoadedFile,
    spec: &Spec,
    limits: Limits,
    run_commands: bool,
) -> Result<StateSnapshot, CheckerError> {
    let start = Instant::now();
    let mut health = Health::new(spec, &BTreeSet::new(), start);
    let mut checks = RunningChecks::new(Checker::new()?.with_commands(run_commands), limits);
    let in_maintenance = loaded.in_maintenance();
    health.maintain(spec, |address| in_maintenance.get(&address).cloned(), start);
    health.hurry_all(start);
    let (mut progress, mut done) = (ProgressBar::new(spec.checks().len()), 0);
    while !health.all_seen() {
        let now = Instant::now();
        checks.begin_turn(now);
        // Always with the same time, so that no check is due twice.
        health.due(spec, start, |due| checks.start(due, now));
        tokio::task::yield_now().await;
        if checks.turn_is_full() {
            continue;
        }
        progress.draw(done, start.elapsed());
        let Ok(verdicts) = tokio::time::timeout(progress::INTERVAL, checks.finished()).await else {
            continue;
        };
        done += verdicts.len();
        for (id, verdict) in verdicts {
            health.verdict(spec, id, verdict, Instant::now());
        }
    }
    let at = Moment { instant: start, wall: SystemTime::now() };
    Ok(StateSnapshot::of(&View::of(spec, &health, &Table::default(), at)).without_table())
}
