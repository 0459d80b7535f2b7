//! `-t` and `check --config-only`: validates a file. Probes no server, asks no name server and opens no socket.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Exit;
use super::arguments::Judging;
use super::context::Context;
use super::failure::CommandFailure;
use super::load;
use super::terminal::{self, answer, eprint_line};
use crate::config::{self, Diagnostic, Original, Severity};
use crate::daemon::{self, LoadError};

pub(super) fn run(context: &Context, judging: Judging, named: bool) -> Result<Exit, CommandFailure> {
    let path = match named {
        true => PathBuf::from(&context.argument),
        false => find(context, judging.json)?,
    };
    match daemon::judge(&path) {
        Err(error) => refused(&path, error, judging.json),
        Ok(loaded) => accepted(&path, &loaded.warnings, judging),
    }
}

/// The path of the configuration. With `json`, a missing file is also a finding on standard output.
pub(super) fn find(context: &Context, json: bool) -> Result<PathBuf, CommandFailure> {
    load::find(context, Exit::Config).inspect_err(|_| {
        let message = format!("Config file {} not found", context.argument);
        let finding = FileFinding::about_the_file("not-found", message);
        if json {
            // The failure is reported in any case.
            let _ = print(Path::new(&context.argument), Exit::Config, vec![finding]);
        }
    })
}

/// Reports why a file cannot be used: as JSON, or as a failure with an excerpt for each error.
pub(super) fn refused(path: &Path, error: LoadError, json: bool) -> Result<Exit, CommandFailure> {
    if json { print(path, Exit::Config, findings(&error)) } else { Err(CommandFailure::Config(error)) }
}

/// Refuses a file with warnings if `--strict` is given. `others`: warnings that concern no line of the file.
pub(super) fn check_strict(
    path: &Path,
    warnings: &[Diagnostic],
    others: &[String],
    judging: Judging,
) -> Result<(), CommandFailure> {
    let number = warnings.len() + others.len();
    if !judging.strict || number == 0 {
        return Ok(());
    }
    if judging.json {
        let others = others.iter().map(|what| FileFinding {
            severity: "warning",
            ..FileFinding::about_the_file("machine", what.clone())
        });
        print(path, Exit::Config, warnings.iter().map(FileFinding::from).chain(others).collect())?;
    }
    Err(CommandFailure::Warnings { path: path.to_owned(), warnings: count(number) })
}

/// Refuses to probe only what the file does not have.
pub(super) fn not_in_file(path: &Path, what: String, json: bool) -> CommandFailure {
    let failure = CommandFailure::NotInFile { what, path: path.to_owned() };
    if json {
        // The failure is reported in any case.
        let finding = FileFinding::about_the_file("not-in-file", failure.to_string());
        let _ = print(path, failure.exit(), vec![finding]);
    }
    failure
}

fn accepted(path: &Path, warnings: &[Diagnostic], judging: Judging) -> Result<Exit, CommandFailure> {
    if judging.json {
        check_strict(path, warnings, &[], judging)?;
        return print(path, Exit::Ok, warnings.iter().map(FileFinding::from).collect());
    }
    tell_warnings(path, warnings);
    check_strict(path, warnings, &[], judging)?;
    tell_outcome(path, warnings.len());
    Ok(Exit::Ok)
}

/// Prints warnings, each with an excerpt.
pub(super) fn tell_warnings(path: &Path, warnings: &[Diagnostic]) {
    if !warnings.is_empty() {
        eprint_line!("{}", config::render(warnings, &path.display().to_string(), terminal::is_interactive()));
    }
}

/// Says that a file can be used.
pub(super) fn tell_outcome(path: &Path, warnings: usize) {
    match warnings {
        0 => eprint_line!("{}: the file is fine", path.display()),
        _ => eprint_line!("{}: the file is usable, with {}", path.display(), count(warnings)),
    }
}

fn count(warnings: usize) -> String {
    if warnings == 1 { "1 warning".to_owned() } else { format!("{warnings} warnings") }
}

/// The JSON result of validating a file.
#[derive(Debug, Serialize)]
struct Judged {
    file: String,
    /// Whether the daemon would accept the file. With `--strict` also whether it has no warning.
    usable: bool,
    diagnostics: Vec<FileFinding>,
}

/// One finding. Its fields and codes are a stable interface for programs.
#[derive(Debug, Serialize)]
struct FileFinding {
    severity: &'static str,
    code: &'static str,
    /// Absent for a finding about the whole file.
    line: Option<usize>,
    column: Option<usize>,
    directive: Option<&'static str>,
    message: String,
    help: Option<String>,
    /// What the Perl original does with it. Absent if unknown.
    original: Option<&'static str>,
}

impl FileFinding {
    fn about_the_file(code: &'static str, message: String) -> FileFinding {
        let (line, column, directive, help, original) = (None, None, None, None, None);
        FileFinding { severity: "error", code, line, column, directive, message, help, original }
    }
}

impl From<&Diagnostic> for FileFinding {
    fn from(found: &Diagnostic) -> FileFinding {
        FileFinding {
            severity: match found.severity {
                Severity::Warning => "warning",
                Severity::Error => "error",
            },
            code: found.code,
            line: Some(found.line),
            column: Some(found.column),
            directive: found.directive,
            message: found.message.clone(),
            help: found.help.clone(),
            original: Some(match found.original {
                Original::Accepts => "accepts",
                Original::Warns => "warns",
                Original::Refuses => "refuses",
            }),
        }
    }
}

fn findings(error: &LoadError) -> Vec<FileFinding> {
    match error {
        LoadError::Invalid { diagnostics, silence, .. } => {
            let silence =
                silence.iter().map(|what| FileFinding::about_the_file("silent-resolver", what.clone()));
            diagnostics.iter().map(FileFinding::from).chain(silence).collect()
        }
        LoadError::Tls { faults, .. } => {
            let fault = |(line, what): &(usize, String)| FileFinding {
                line: Some(*line),
                column: Some(1),
                ..FileFinding::about_the_file("unusable-tls-file", what.clone())
            };
            faults.iter().map(fault).collect()
        }
        LoadError::Unreadable { error, .. } => {
            vec![FileFinding::about_the_file("unreadable-file", error.to_string())]
        }
        other => vec![FileFinding::about_the_file("unreadable-file", other.lines().join("; "))],
    }
}

fn print(path: &Path, exit: Exit, diagnostics: Vec<FileFinding>) -> Result<Exit, CommandFailure> {
    let judged = Judged { file: path.display().to_string(), usable: exit == Exit::Ok, diagnostics };
    answer(serde_json::to_string_pretty(&judged).unwrap_or_default(), exit)
}
