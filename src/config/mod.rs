//! Reads the text of `ldirectord.cf` into a [`Config`] and diagnostics, and writes a [`Config`] back ([`write()`]).
//! No I/O: [`NameLookup`] looks up names and files.

mod ast;
mod diagnostic;
mod directive;
mod foreign;
mod hidden;
mod model;
mod names;
mod parse;
mod source;
#[cfg(test)]
mod tests;
mod typed;
mod write;

pub use diagnostic::{Diagnostic, Original, Severity};
pub use directive::{DIRECTIVES, Directive, Scope, Unwritten, ValueKind, nearest_word};
pub use model::{
    Alert, AlertStatus, CheckSpec, CheckType, Config, Credentials, Fallback, Globals, HttpMethod, LogTarget,
    Negotiate, Netmask, Real, Redirects, Scheduling, SecretFile, ServiceInfo, Timeouts, Timing, Tunnel,
    Virtual,
};
pub use names::{Answers, NameLookup, NameQuestion};
pub use write::{Unwritable, write};

use diagnostic::Report;
use names::Recorder;
use source::SourceText;

/// The result of [`load`].
#[derive(Debug)]
pub struct LoadedConfig {
    /// The configuration, unless there is an error among the diagnostics.
    pub config: Option<Config>,
    /// All errors and warnings, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a whole `ldirectord.cf` and reports all errors in one run.
#[must_use]
pub fn load(content: &[u8], names: &dyn NameLookup) -> LoadedConfig {
    let source = SourceText::decode(content);
    let mut report = Report::new(&source);
    let config = read(&source, &mut report, names);
    let mut diagnostics = report.into_diagnostics();
    if config.is_none() {
        explain_foreign(&source, &mut diagnostics);
    }
    LoadedConfig { config, diagnostics }
}

/// The configuration of another program is explained once.
fn explain_foreign(source: &SourceText, diagnostics: &mut [Diagnostic]) {
    let Some(advice) = foreign::advice(source.text()) else { return };
    diagnostics.iter_mut().for_each(|found| found.help = None);
    if let Some(first) = diagnostics.first_mut() {
        first.help(advice);
    }
}

fn read(source: &SourceText, report: &mut Report<'_>, names: &dyn NameLookup) -> Option<Config> {
    let ast = parse::parse(source, report);
    let config = typed::read(&ast, report, names);
    (!report.has_errors()).then_some(config)
}

/// Lists the names and files to look up before a text can be [loaded](load).
#[must_use]
pub fn questions(content: &[u8]) -> Vec<NameQuestion> {
    let recorder = Recorder::default();
    let source = SourceText::decode(content);
    let _ = read(&source, &mut Report::muted(&source), &recorder);
    recorder.into_questions()
}

/// Formats diagnostics for people, each with its line and a mark under the place. Shows the first 100 and the
/// number of the others.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], path: &str, coloured: bool) -> String {
    let first = &diagnostics[..diagnostics.len().min(RENDERED)];
    let mut shown = diagnostic::render_all(first, path, coloured);
    if diagnostics.len() > RENDERED {
        let more = diagnostics.len() - RENDERED;
        shown
            .push(format!("{more} more findings are not shown; ldirectord-rs check {path} --json lists all"));
    }
    shown.join("\n")
}

/// Maximum number of findings shown with their lines.
const RENDERED: usize = 100;
