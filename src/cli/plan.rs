//! `plan`: prints the operations that a reload or a start would send to the kernel now.
//!
//! Standard output has only lines for `ipvsadm -R`, which refuses remarks: they are on standard error.

#![expect(clippy::disallowed_methods, reason = "a plan is made for this moment")]

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::{Instant, SystemTime};

use super::Exit;
use super::ask::ask;
use super::context::Context;
use super::failure::CommandFailure;
use super::load;
use super::other::{Differs, Other};
use super::running;
use super::show;
use super::terminal::{self, answer, eprint_line};
use crate::control::{ClientError, ControlRequest, ErrorCode};
use crate::daemon::{self, StartPlan};
use crate::report::{Moment, PlanReport};
use crate::settings::Backend;
use crate::sys::pidfile::DaemonState;
use crate::sys::socket;
use crate::value::shown::escaped;

/// Prints the plan: 0 without an operation, 2 with operations, 1 if there is no plan.
pub(super) fn run(context: &Context, diff: bool) -> Result<Exit, CommandFailure> {
    match plan(context) {
        Ok(report) => print(&report, diff),
        // 2 would mean changes.
        Err(failure) => {
            terminal::report(&failure);
            Ok(Exit::Failure)
        }
    }
}

fn plan(context: &Context) -> Result<PlanReport, CommandFailure> {
    let path = load::find(context, Exit::Failure)?;
    if let Some(Other { what, name, pid }) = Other::of(context) {
        let what = match what {
            Differs::Table(table @ "in memory") => {
                format!("with its table {table}: to plan its reload, add --table memory")
            }
            Differs::Table(table) => format!("with its table {table}"),
            Differs::File(file) => format!("for {file}"),
        };
        let note = format!("the daemon {name} (pid {pid}) runs {what}");
        // A start may fail because of that, for example without IPVS.
        return start(context, vec![note.clone()]).inspect_err(|_| eprint_line!("# {note}"));
    }
    let socket = || socket::place(&context.state_directory(), &context.name);
    match ask(context, &ControlRequest::Plan) {
        Ok(text) => {
            let report: PlanReport = serde_json::from_str(&text)
                .map_err(|error| CommandFailure::OtherVersion { socket: socket(), error, advice: "" })?;
            // A daemon in the foreground has no lock that names its file.
            if is_same(Path::new(&report.config), &path) {
                return Ok(report);
            }
            start(context, vec![format!("the daemon of this name runs for {}", report.config)])
        }
        Err(ClientError::Io(error)) => match running::state(context) {
            Ok(DaemonState::Stopped | DaemonState::Stale(_)) => start(context, Vec::new()),
            _ => Err(show::no_answer(context, error)),
        },
        Err(ClientError::Refused(failure)) if failure.code == ErrorCode::BadRequest => {
            Err(CommandFailure::ShowRefused { socket: socket(), error: ClientError::Older })
        }
        Err(error) => {
            // The daemon names the first error. This names all, if this user can read the file.
            load::load_for_daemon(context)?;
            Err(CommandFailure::ShowRefused { socket: socket(), error })
        }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Plans a start, as if no daemon ran.
fn start(context: &Context, mut notes: Vec<String>) -> Result<PlanReport, CommandFailure> {
    let (path, loaded) = load::load_to_start(context)?;
    let is_in_kernel = context.settings.table.backend == Backend::Kernel;
    let plan = StartPlan {
        path,
        name: context.name.clone(),
        loaded,
        ipvs: context.open_table().map_err(CommandFailure::Table)?,
        state_directory: context.state_directory(),
        overrides: is_in_kernel.then(|| context.overrides_file()),
        is_in_kernel,
    };
    let runtime = daemon::runtime().map_err(CommandFailure::Runtime)?;
    let now = Moment { instant: Instant::now(), wall: SystemTime::now() };
    let report = runtime.block_on(plan.run(now));
    runtime.shutdown_background();
    let mut report = report.map_err(CommandFailure::Table)?;
    notes.append(&mut report.notes);
    report.notes = notes;
    Ok(report)
}

fn print(report: &PlanReport, diff: bool) -> Result<Exit, CommandFailure> {
    let exit = if report.operations.is_empty() { Exit::Ok } else { Exit::Config };
    for line in head(report, diff) {
        eprint_line!("{line}");
    }
    if diff {
        return if report.diff.is_empty() { Ok(exit) } else { answer(report.diff.join("\n"), exit) };
    }
    // One after the other, so that a terminal shows each remark above its operation.
    for planned in &report.operations {
        for (index, remark) in planned.remarks.iter().enumerate() {
            match (index, planned.dangerous) {
                (0, true) => eprint_line!("# DANGER {}: {remark}", planned.service),
                (0, false) => eprint_line!("# {}: {remark}", planned.service),
                _ => eprint_line!("#        {remark}"),
            }
        }
        match writeln!(io::stdout().lock(), "{}", planned.operation) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            result => result.map_err(CommandFailure::Output)?,
        }
    }
    Ok(exit)
}

/// The remarks about the whole plan.
fn head(report: &PlanReport, diff: bool) -> Vec<String> {
    let what = match report.occasion.as_str() {
        "start" => "start",
        _ => "reload",
    };
    let mut lines =
        vec![format!("# {}: what a {what} would change now. Nothing written.", escaped(&report.config))];
    lines.extend(report.notes.iter().map(|note| format!("# {}", escaped(&note.replace('\n', "; ")))));
    let dangerous = report.operations.iter().filter(|planned| planned.dangerous).count();
    lines.push(match report.operations.len() {
        0 => "# No operation on the table now: it is as this configuration wants it.".to_owned(),
        // The difference does not mark the operations.
        count if diff => format!("# {count} operations on the table."),
        1 => format!("# 1 operation, {dangerous} dangerous."),
        count => format!("# {count} operations, {dangerous} dangerous."),
    });
    lines
}
