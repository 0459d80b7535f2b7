//! `-t` and `check --config-only`: validates a file. Probes no server, asks no name server and opens no socket.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Exit;
use super::actions;
use super::arguments::Judging;
use super::context::Context;
use super::terminal::{answer, eprint_line};
use crate::config::{self, Diagnostic, Original, Severity};
use crate::daemon::{self, LoadError};

pub(super) fn run(context: &Context, judging: Judging, named: bool) -> Exit {
    let path = match named {
        true => Some(PathBuf::from(&context.argument)),
        false => context.find_config(),
    };
    let Some(path) = path else { return not_found(context, judging.json) };
    match daemon::judge(&path) {
        Err(error) => refused(&path, &error, judging.json),
        Ok(loaded) => accepted(&path, &loaded.warnings, judging),
    }
}

/// Reports a missing file.
pub(super) fn not_found(context: &Context, json: bool) -> Exit {
    eprint_line!("{}", context.not_found());
    if !json {
        return Exit::Config;
    }
    let message = format!("Config file {} not found", context.argument);
    print(Path::new(&context.argument), Exit::Config, vec![Finding::about_the_file("not-found", message)])
}

/// Reports why a file cannot be used: as JSON, or in the original's form with an excerpt for each error.
pub(super) fn refused(path: &Path, error: &LoadError, json: bool) -> Exit {
    if json {
        return print(path, Exit::Config, findings(error));
    }
    actions::report(error);
    Exit::Config
}

/// Whether `--strict` refuses a file with this number of warnings. Prints a message in that case.
pub(super) fn too_odd(path: &Path, warnings: usize, judging: Judging) -> bool {
    let refused = judging.strict && warnings > 0;
    if refused {
        eprint_line!("{}: {}, and --strict allows none", path.display(), count(warnings));
    }
    refused
}

fn accepted(path: &Path, warnings: &[Diagnostic], judging: Judging) -> Exit {
    if !judging.json {
        tell_warnings(path, warnings);
    }
    let refused = too_odd(path, warnings.len(), judging);
    let exit = if refused { Exit::Config } else { Exit::Ok };
    if judging.json {
        return print(path, exit, warnings.iter().map(Finding::from).collect());
    }
    if !refused {
        tell_outcome(path, warnings.len());
    }
    exit
}

/// Prints warnings, each with an excerpt.
pub(super) fn tell_warnings(path: &Path, warnings: &[Diagnostic]) {
    if !warnings.is_empty() {
        eprint_line!("{}", config::render(warnings, &path.display().to_string(), actions::has_colour()));
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
    /// Whether the daemon would accept the file; with `--strict` also whether it has no warning.
    usable: bool,
    diagnostics: Vec<Finding>,
}

/// One finding. Its fields and codes are a stable interface for programs.
#[derive(Debug, Serialize)]
struct Finding {
    severity: &'static str,
    code: &'static str,
    /// Absent for a finding about the whole file.
    line: Option<usize>,
    column: Option<usize>,
    directive: Option<&'static str>,
    message: String,
    help: Option<String>,
    /// What the Perl original does with it; absent if unknown.
    original: Option<&'static str>,
}

impl Finding {
    fn about_the_file(code: &'static str, message: String) -> Finding {
        let (line, column, directive, help, original) = (None, None, None, None, None);
        Finding { severity: "error", code, line, column, directive, message, help, original }
    }
}

impl From<&Diagnostic> for Finding {
    fn from(found: &Diagnostic) -> Finding {
        Finding {
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

fn findings(error: &LoadError) -> Vec<Finding> {
    match error {
        LoadError::Invalid { diagnostics, silence, .. } => {
            let silence = silence.iter().map(|what| Finding::about_the_file("silent-resolver", what.clone()));
            diagnostics.iter().map(Finding::from).chain(silence).collect()
        }
        LoadError::Tls { faults, .. } => {
            let fault = |(line, what): &(usize, String)| Finding {
                line: Some(*line),
                column: Some(1),
                ..Finding::about_the_file("unusable-tls-file", what.clone())
            };
            faults.iter().map(fault).collect()
        }
        LoadError::Unreadable { error, .. } => {
            vec![Finding::about_the_file("unreadable-file", error.to_string())]
        }
        other => vec![Finding::about_the_file("unreadable-file", other.lines().join("; "))],
    }
}

fn print(path: &Path, exit: Exit, diagnostics: Vec<Finding>) -> Exit {
    let judged = Judged { file: path.display().to_string(), usable: exit == Exit::Ok, diagnostics };
    answer(serde_json::to_string_pretty(&judged).unwrap_or_default(), exit)
}
