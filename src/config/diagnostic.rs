//! Diagnostics: what is wrong with a configuration, where, and what to do about it.

use std::collections::BTreeSet;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::source::{SourceLine, SourceText, is_blank};
use super::{directive, hidden};
use crate::value::shown;

/// Whether the configuration can be used in spite of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is used.
    Warning,
    /// The configuration is not used.
    Error,
}

/// How the Perl original treats the same line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    /// Accepts the line silently.
    Accepts,
    /// Accepts the line with a warning.
    Warns,
    /// Refuses the whole file.
    Refuses,
}

/// One finding. It contains everything needed to show it, and no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Kind of finding, for programs. The manual of the file lists all codes.
    pub code: &'static str,
    /// The directive that the finding is about, if any.
    pub directive: Option<&'static str>,
    /// What is wrong, in the original's words if it has any.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// How the original treats this line.
    pub original: Original,
    /// The line of the file, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// The place in the decoded text, in bytes.
    pub span: Range<usize>,
    /// Whether the original's message names no file and line.
    lineless: bool,
    /// Whether the line is valid but probably not intended: `check` and `-t` report it, `start` and `reload` do not.
    advice: bool,
    /// The line without secrets, and the marked part of it.
    shown: String,
    mark: Range<usize>,
}

impl Diagnostic {
    /// A finding at a place in the text. By default the original has the same errors and none of the warnings;
    /// [`Diagnostic::original`] sets another behaviour.
    #[must_use]
    pub fn new(
        source: &SourceText,
        severity: Severity,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let line = source.line_at(span.start);
        let text = &source.text()[line.span.clone()];
        let column = source.text()[line.span.start..span.start].chars().count() + 1;
        let (shown, mark) = show(text, &line, &span);
        let (original, code) = match severity {
            Severity::Error => (Original::Refuses, "invalid-value"),
            Severity::Warning => (Original::Accepts, "odd-value"),
        };
        let number = line.number;
        Diagnostic {
            severity,
            code,
            directive: None,
            message: message.into(),
            help: None,
            original,
            line: number,
            column,
            span,
            lineless: false,
            advice: false,
            shown,
            mark,
        }
    }

    /// Sets the kind of finding. The default is one about a value.
    pub fn code(&mut self, code: &'static str) -> &mut Diagnostic {
        self.code = code;
        self
    }

    /// Sets the directive that the finding is about.
    pub fn directive(&mut self, name: &'static str) -> &mut Diagnostic {
        self.directive = Some(name);
        self
    }

    /// Sets the help text.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Sets how the original treats this line.
    pub fn original(&mut self, original: Original) -> &mut Diagnostic {
        self.original = original;
        self
    }

    /// Leaves file and line out of the one-line form, as the original does.
    pub fn without_line(&mut self) -> &mut Diagnostic {
        self.lineless = true;
        self
    }

    /// Makes it advice: `check` and `-t` report it, `start` and `reload` do not.
    pub fn as_advice(&mut self) -> &mut Diagnostic {
        self.advice = true;
        self
    }

    /// Whether it is about lines that the file does not have.
    fn is_about_absence(&self) -> bool {
        matches!(self.code, "no-server" | "no-service" | "nothing-checked" | "missing-directive")
    }

    /// Whether only `check` and `-t` report it.
    #[must_use]
    pub fn is_advice(&self) -> bool {
        self.advice
    }

    /// Formats the finding for people: path, line and column, the line itself, and a mark under the place.
    #[must_use]
    pub fn render(&self, path: &str, coloured: bool) -> String {
        self.render_with(self.help.as_deref(), path, coloured)
    }

    /// As [`Diagnostic::render`], with another help.
    fn render_with(&self, help: Option<&str>, path: &str, coloured: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippet = Snippet::source(self.shown.as_str())
            .line_start(self.line)
            .path(path)
            .annotation(AnnotationKind::Primary.span(self.mark.clone()));
        let mut group: Group<'_> = level.primary_title(self.message.as_str()).element(snippet);
        if let Some(help) = help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }

    /// Formats the finding in one line as the original does, for logs.
    #[must_use]
    pub fn one_line(&self, pid: u32, path: &str) -> String {
        let word = match self.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        };
        match self.lineless {
            true => format!("{word} [{pid}]: {}", self.message),
            false => format!("{word} [{pid}] reading file {path} at line {}: {}", self.line, self.message),
        }
    }
}

/// A help of more characters is rendered once, however many findings have it.
const SHORT_HELP: usize = 40;

/// The findings for people, in their order.
#[must_use]
pub(super) fn render_all(diagnostics: &[Diagnostic], path: &str, coloured: bool) -> Vec<String> {
    let mut shown = BTreeSet::new();
    let render = |found: &Diagnostic| {
        let is_new = |help: &&str| help.chars().count() <= SHORT_HELP || shown.insert(help.to_string());
        let help = found.help.as_deref().filter(is_new);
        found.render_with(help, path, coloured)
    };
    diagnostics.iter().map(render).collect()
}

/// Maximum number of findings kept: a file of garbage must not take gigabytes of memory.
const MOST: usize = 100_000;

/// Maximum number of findings with a suggestion: the search for the nearest directive takes most of the time of a
/// finding.
const EXPLAINED: usize = 100;

/// The findings of one run, in the order in which they were found.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    source: &'a SourceText,
    diagnostics: Vec<Diagnostic>,
    has_errors: bool,
    /// The last finding that was not kept, and the number of those.
    surplus: Option<Diagnostic>,
    unkept: usize,
    /// Whether findings are discarded.
    muted: bool,
}

impl<'a> Report<'a> {
    pub(crate) fn new(source: &'a SourceText) -> Report<'a> {
        Report { source, diagnostics: Vec::new(), has_errors: false, surplus: None, unkept: 0, muted: false }
    }

    /// A report that discards its findings and records only whether there are errors.
    pub(crate) fn muted(source: &'a SourceText) -> Report<'a> {
        Report { muted: true, ..Report::new(source) }
    }

    /// The text of a line without the white space around it, by number from 1.
    pub(crate) fn line_span(&self, number: usize) -> Range<usize> {
        let span = self.source.line(number).span;
        let text = &self.source.text()[span.clone()];
        let start = span.start + (text.len() - text.trim_start().len());
        start..(start + text.trim().len())
    }

    /// Whether findings are discarded.
    pub(crate) fn is_muted(&self) -> bool {
        self.muted
    }

    /// Whether the next finding should include a suggestion.
    pub(crate) fn explains(&self) -> bool {
        !self.muted && self.diagnostics.len() < EXPLAINED
    }

    pub(crate) fn error(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, span, message.into())
    }

    pub(crate) fn warning(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Warning, span, message.into())
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// The findings, in the order of the file.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|found| found.span.start);
        // A line with an error counts as missing; advice about missing lines would mislead.
        self.diagnostics.retain(|found| !(self.has_errors && found.advice && found.is_about_absence()));
        self.explain_hidden();
        if let Some(last) = self.surplus {
            let message = format!("{} more findings are not shown", self.unkept);
            let mut surplus = Diagnostic::new(self.source, last.severity, last.span, message);
            surplus.code("more-findings");
            self.diagnostics.push(surplus);
        }
        self.diagnostics
    }

    /// A character that looks like another one explains an error better than anything else.
    fn explain_hidden(&mut self) {
        let errors = self.diagnostics.iter_mut().filter(|found| found.severity == Severity::Error);
        for found in errors.take(EXPLAINED) {
            if let Some(advice) = hidden::advice(&self.source.text()[found.span.clone()]) {
                found.help(advice);
            }
        }
    }

    fn add(&mut self, severity: Severity, span: Range<usize>, message: String) -> &mut Diagnostic {
        self.has_errors |= severity == Severity::Error;
        let source = self.source;
        if self.muted {
            return self.surplus.get_or_insert_with(|| Diagnostic::new(source, severity, span, message));
        }
        let found = Diagnostic::new(source, severity, span, without_login(message));
        if self.diagnostics.len() == MOST {
            self.unkept += 1;
            return self.surplus.insert(found);
        }
        self.diagnostics.push(found);
        let last = self.diagnostics.len() - 1;
        &mut self.diagnostics[last]
    }
}

/// Hides the secrets of a line: passwords (also if the directive is misspelt), passwords of URLs, and arguments of
/// commands. Returns how much of the line stays, and what is shown.
#[must_use]
pub(crate) fn blank_secret(line: &str) -> Option<(usize, String)> {
    let found = [blank_password(line), blank_url(line), blank_token(line), blank_arguments(line)];
    found.into_iter().flatten().min_by_key(|(keep, _)| *keep)
}

/// Replaces what follows `://` if it has a password, with the rest of the line.
fn blank_url(line: &str) -> Option<(usize, String)> {
    let keep = line.match_indices("://").map(|(at, mark)| at + mark.len()).find(|at| {
        let url = line[*at..].split(|c: char| is_blank(c) || c == '"').next().unwrap_or_default();
        url.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })?;
    Some((keep, format!("{}***", &line[..keep])))
}

/// Replaces what follows a parameter of a URL such as `?token=`, with the rest of the line.
fn blank_token(line: &str) -> Option<(usize, String)> {
    let keep = line.match_indices(['?', '&']).find_map(|(at, mark)| {
        let name = line[at + mark.len()..].split(|c: char| "=&#\"".contains(c) || is_blank(c)).next()?;
        let end = at + mark.len() + name.len();
        (line[end..].starts_with('=') && shown::is_token(name)).then_some(end + 1)
    })?;
    Some((keep, format!("{}***", &line[..keep])))
}

/// A message without the user and the password of a URL that it quotes.
fn without_login(message: String) -> String {
    let Some((begin, _)) = blank_url(&message) else { return message };
    let end = message[begin..]
        .find(|c: char| is_blank(c) || c == '"')
        .map_or(message.len(), |length| begin + length);
    match message[begin..end].rfind('@') {
        Some(at) => format!("{}***{}", &message[..begin], &message[begin + at..]),
        None => message,
    }
}

/// Replaces the arguments of a command, also if the directive is misspelt.
fn blank_arguments(line: &str) -> Option<(usize, String)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    let name = match directive::find(&name) {
        Some(_) => name.as_str(),
        None => directive::nearest_word(&name, ["checkcommand", "fallbackcommand", "callback"].into_iter())
            .unwrap_or(&name),
    };
    if !name.ends_with("command") && name != "callback" {
        return None;
    }
    let begin = line.len() - value.trim_start_matches(|c| is_blank(c) || c == '"').len();
    let keep = begin + line[begin..].find(is_blank)? + 1;
    (keep < line.len()).then(|| (keep, format!("{}***", &line[..keep])))
}

fn blank_password(line: &str) -> Option<(usize, String)> {
    let text = line.trim_start_matches(is_blank);
    let text = text.strip_prefix("#rs:").unwrap_or(text);
    // Blanks, quotes and invisible characters from a web page may precede the name.
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '#');
    let name = text.len() - text.trim_start_matches(|c: char| c.is_alphanumeric() || "_-".contains(c)).len();
    if !directive::may_name_secret(&text[..name]) {
        return blank_later_secret(line);
    }
    // If neither white space nor `=` ends the name, the password may follow it directly.
    let glued = !text[name..].starts_with(|c| is_blank(c) || c == '=');
    let name = if glued { directive::secret_prefix(&text[..name]) } else { name };
    let value = text[name..].trim_start_matches(|c| is_blank(c) || c == '=');
    let keep = line.len() - value.len();
    if value.is_empty() { None } else { Some((keep, format!("{}***", &line[..keep]))) }
}

/// Replaces what follows a word such as `passwd=` or an option such as `--password` further on in a line, with the rest
/// of the line.
fn blank_later_secret(line: &str) -> Option<(usize, String)> {
    let words = line.match_indices(is_blank).map(|(at, blank)| at + blank.len());
    let value = words.filter_map(|at| {
        let word = line[at..].split(is_blank).next()?;
        if word.starts_with('-') && !word.contains('=') && directive::may_name_secret(word) {
            return Some(at + word.len() + 1);
        }
        let (name, _) = word.split_once('=')?;
        let bare = name.trim_matches(|c: char| !c.is_alphanumeric());
        directive::may_name_secret(bare).then_some(at + name.len() + 1)
    });
    let keep = value.min().filter(|keep| *keep < line.len())?;
    Some((keep, format!("{}***", &line[..keep])))
}

/// The line without secrets and the mark in it.
fn show(text: &str, line: &SourceLine, span: &Range<usize>) -> (String, Range<usize>) {
    let from = span.start - line.span.start;
    let to = span.end.min(line.span.end).saturating_sub(line.span.start).max(from);
    // The library that prints excerpts replaces only C0. A C1 character moves the cursor, too.
    let text = text.replace(|c| ('\u{80}'..='\u{9f}').contains(&c), "\u{b7}");
    let character = text.get(from..to).filter(|text| text.chars().count() == 1);
    match (blank_secret(&text), character) {
        (None, _) => (text, from..to),
        // A single character that is wrong in the arguments of a command tells no secret. Its column stays.
        (Some((keep, _)), Some(character))
            if keep <= from && blank_arguments(&text).is_some_and(|(begin, _)| begin == keep) =>
        {
            let hidden = "*".repeat(text[keep..from].chars().count());
            let begin = keep + hidden.len();
            (format!("{}{hidden}{character}***", &text[..keep]), begin..begin + character.len())
        }
        (Some((keep, shown)), _) => {
            let end = if to > keep { shown.len() } else { to };
            (shown, from.min(keep)..end.max(from.min(keep)))
        }
    }
}
