//! Splits the text into lines, and assigns each line to its virtual service and directive.
//!
//! A virtual service consists of the lines after it that are indented by four spaces or more (a tab counts as
//! four), and of all comments, whatever their indentation. Any other line ends it and is outside.

use std::ops::Range;

use super::ast::{Assignment, Ast, Block, TAB, ValueText};
use super::diagnostic::{Original, Report, blank_secret};
use super::directive::{self, ValueKind};
use super::source::{SourceLine, SourceText, is_blank};
use crate::value::shown::escaped;

/// Indentation, in spaces, that makes a line part of a virtual service.
const INDENT: usize = 4;

/// Prefix of lines that are comments for the original and directives for us.
const OURS: &str = "#rs:";

/// Parses the text. Lines that are not a directive are reported and left out.
pub(crate) fn parse<'a>(source: &'a SourceText, report: &mut Report<'_>) -> Ast<'a> {
    let mut parser = Parser { source, report, ast: Ast::default(), place: ParsePlace::Outside };
    if source.is_marked() {
        parser
            .report
            .warning(source.line_at(0).span, "the file begins with a byte order mark")
            .code("byte-order-mark")
            .help("the original refuses it; save the file as UTF-8 without a byte order mark")
            .original(Original::Refuses);
    }
    for line in source.lines() {
        parser.line(&line);
    }
    if let (ParsePlace::Inside, Some(block)) = (parser.place, parser.ast.virtuals.last())
        && block.lines.is_empty()
        && parser.source.lines().last().is_some_and(|last| last.number == block.head.line)
    {
        parser
            .report
            .warning(block.head.span(), "virtual service without a line after it, at the end of the file")
            .code("virtual-at-end")
            .help("add an empty line after it: the original reads it twice and refuses it as a duplicate")
            .original(Original::Refuses);
    }
    parser.ast
}

/// Where the next line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParsePlace {
    /// Outside all virtual services.
    Outside,
    /// In the last virtual service.
    Inside,
    /// After an empty line, which ended the last virtual service.
    Gap,
}

struct Parser<'a, 'r, 's> {
    source: &'a SourceText,
    report: &'r mut Report<'s>,
    ast: Ast<'a>,
    place: ParsePlace,
}

impl<'a> Parser<'a, '_, '_> {
    fn line(&mut self, line: &SourceLine) {
        let raw = &self.source.text()[line.span.clone()];
        let text = raw.trim_start_matches(is_blank);
        if let Some(ours) = text.strip_prefix(OURS) {
            self.ours(line, ours);
        } else if text.starts_with('#') {
            // A comment does not end a virtual service.
        } else if self.place == ParsePlace::Outside || !self.indented(line, raw) {
            self.outside(line, raw);
        }
    }

    /// Reads a line as part of the last virtual service. Returns false if it is not part of it.
    fn indented(&mut self, line: &SourceLine, raw: &'a str) -> bool {
        let body = without_comment(raw);
        let rest = body.trim_start_matches([' ', '\t']);
        let indent = width(&body[..body.len() - rest.len()]);
        if rest.trim_start_matches(is_blank).is_empty() {
            return self.blank(line, indent + rest.len());
        }
        if indent < INDENT {
            return self.too_little(line, raw);
        }
        if self.place == ParsePlace::Gap {
            return self.after_gap(line, raw, rest);
        }
        let start = line.span.start + (body.len() - rest.len());
        match self.assignment(line, rest, start, true) {
            Some(found) => self.plain(found),
            None => self.unknown(line, rest, true),
        }
        true
    }

    /// An empty line ends a virtual service. For the original a line of five spaces or more is an unknown command.
    fn blank(&mut self, line: &SourceLine, blanks: usize) -> bool {
        if self.place == ParsePlace::Inside && blanks > INDENT {
            self.report
                .warning(line.span.clone(), "a line of only spaces inside a virtual service")
                .code("blank-line")
                .help("remove it or make it a comment: the original reads it as an unknown command")
                .original(Original::Refuses);
        } else {
            self.place = ParsePlace::Gap;
        }
        true
    }

    /// An indentation of less than four spaces ends a virtual service. The line is then not a command.
    fn too_little(&mut self, line: &SourceLine, raw: &str) -> bool {
        if !raw.starts_with([' ', '\t']) {
            return false;
        }
        self.unknown_with(line, false, "indent a line of a virtual service by a tab or at least 4 spaces");
        true
    }

    /// An indented directive after an empty line can only belong to the virtual service before it.
    fn after_gap(&mut self, line: &SourceLine, raw: &'a str, rest: &'a str) -> bool {
        let start = line.span.start + (raw.len() - raw.trim_start_matches([' ', '\t']).len());
        let Some(found) = self.assignment(line, rest, start, true) else {
            self.unknown(line, rest, true);
            return true;
        };
        self.report
            .warning(found.span(), "an empty line separates this line from its virtual service")
            .code("blank-line")
            .help("remove the empty line or make it a comment: the original refuses the file")
            .original(Original::Refuses);
        self.place = ParsePlace::Inside;
        self.plain(found);
        true
    }

    /// A line outside virtual services. It must begin with its directive.
    fn outside(&mut self, line: &SourceLine, raw: &'a str) {
        if raw.trim_start_matches(is_blank).is_empty() {
            return;
        }
        if let Some(found) = self.assignment(line, raw, line.span.start, false) {
            self.place = ParsePlace::Outside;
            self.plain(found);
        } else if raw.starts_with(SUPERVISED) {
            self.place = ParsePlace::Outside;
            self.bare_supervised(line, raw);
        } else {
            self.unknown(line, raw, false);
        }
    }

    /// `supervised` needs no value. Any other text after it is reported as a bad value.
    fn bare_supervised(&mut self, line: &SourceLine, raw: &'a str) {
        if !raw[SUPERVISED.len()..].trim_start_matches(is_blank).is_empty() {
            self.report.error(line.span.clone(), "supervised must be 'yes' or 'no'").directive(SUPERVISED);
            return;
        }
        self.report
            .warning(line.span.clone(), "please update your config not to use a bare supervised directive")
            .code("deprecated")
            .directive(SUPERVISED)
            .help("write supervised=yes")
            .original(Original::Warns);
        if let Some(directive) = directive::find(SUPERVISED) {
            let name_end = line.span.start + SUPERVISED.len();
            self.ast.globals.push(Assignment {
                directive,
                inside: false,
                ours: false,
                line: line.number,
                name: line.span.start..name_end,
                value: ValueText::verbatim("yes", name_end),
            });
        }
    }

    /// A line that is a comment for the original.
    fn ours(&mut self, line: &SourceLine, text: &'a str) {
        let raw = &self.source.text()[line.span.clone()];
        let indent = width(&raw[..raw.len() - raw.trim_start_matches([' ', '\t']).len()]);
        // An unindented line applies to all virtual services, even between the lines of one: for the original it is
        // a comment.
        let for_all = indent == 0
            && directive::find(first_word(text.trim_start_matches(is_blank)))
                .is_some_and(|row| row.scope.allows(false));
        let inside = !for_all
            && (self.place == ParsePlace::Inside || (self.place == ParsePlace::Gap && indent >= INDENT));
        let text = if inside { without_comment(text) } else { text };
        let body = text.trim_start_matches(is_blank);
        let start = line.span.start + (raw.len() - text_tail(raw).len()) + (text.len() - body.len());
        match self.assignment(line, body, start, inside) {
            Some(found) if found.directive.kind != ValueKind::Virtual => {
                if inside {
                    self.place = ParsePlace::Inside;
                }
                self.add(Assignment { ours: true, ..found });
            }
            Some(found) => {
                self.report
                    .error(found.name, "a virtual service is not allowed after #rs:")
                    .code("conflict")
                    .help(
                        "remove #rs: (the original would read the lines as part of another virtual service)",
                    )
                    .original(Original::Accepts);
            }
            None => {
                let suggestion =
                    self.suggest(body, inside).or_else(|| misplaced(body, inside)).unwrap_or_else(|| {
                        "write a directive of ldirectord-rs after #rs:, or `# …` for a comment".to_owned()
                    });
                self.report
                    .error(
                        start..start + body.len().max(1).min(line.span.end - start),
                        "Unknown command after #rs:",
                    )
                    .code("unknown-directive")
                    .help(suggestion)
                    .original(Original::Accepts);
            }
        }
    }

    /// Reads `name = value`, if the name is a directive that is allowed here.
    fn assignment(
        &self,
        line: &SourceLine,
        text: &'a str,
        start: usize,
        inside: bool,
    ) -> Option<Assignment<'a>> {
        let (name, value) = split(text)?;
        let directive = directive::find(&text[name.clone()]).filter(|row| row.scope.allows(inside))?;
        let at = start + value;
        let value = match inside {
            true => ValueText::expanded(&text[value..], at),
            false => ValueText::verbatim(&text[value..], at),
        };
        Some(Assignment {
            directive,
            inside,
            ours: false,
            line: line.number,
            name: start + name.start..start + name.end,
            value,
        })
    }

    /// A line without `#rs:`.
    fn plain(&mut self, found: Assignment<'a>) {
        if found.directive.extension {
            let name = found.directive.name;
            self.report
                .warning(found.span(), format!("the original does not know {name} and refuses the file"))
                .code("unmarked-extension")
                .directive(name)
                .help(format!(
                    "write `#rs: {name}={}`, which the original reads as a comment",
                    found.value.text()
                ))
                .original(Original::Refuses);
        }
        self.add(found);
    }

    fn add(&mut self, found: Assignment<'a>) {
        self.check_encoding(&found);
        if found.directive.kind == ValueKind::Virtual {
            self.place = ParsePlace::Inside;
            self.ast.virtuals.push(Block { head: found, lines: Vec::new() });
        } else if let (true, Some(block)) = (found.inside, self.ast.virtuals.last_mut()) {
            block.lines.push(found);
        } else {
            self.ast.globals.push(found);
        }
    }

    fn check_encoding(&mut self, found: &Assignment<'_>) {
        if self.source.is_latin1() && !found.value.text().is_ascii() {
            self.report
                .warning(found.value.span(), "this value is not UTF-8: it is read as Latin-1")
                .code("not-utf8")
                .directive(found.directive.name)
                .help("save the file as UTF-8");
        }
    }

    fn unknown(&mut self, line: &SourceLine, text: &str, inside: bool) {
        let help = self.suggest(text, inside).or_else(|| misplaced(text, inside)).unwrap_or_else(|| {
            match split(text) {
                Some(_) => "there is no directive of this name",
                None => "write `directive = value`, a comment that begins with #, or an empty line",
            }
            .to_owned()
        });
        self.unknown_with(line, inside, &help);
    }

    fn suggest(&self, text: &str, inside: bool) -> Option<String> {
        if self.report.explains() { suggest(text, inside) } else { None }
    }

    fn unknown_with(&mut self, line: &SourceLine, inside: bool, help: &str) {
        if self.report.is_muted() {
            // Searching the line for secrets takes most of the time.
            self.report.error(line.span.clone(), "");
            return;
        }
        let raw = &self.source.text()[line.span.clone()];
        let shown = blank_secret(raw).map_or_else(|| raw.to_owned(), |(_, shown)| shown);
        let from = raw.len() - raw.trim_start_matches(is_blank).len();
        let span = line.span.start + from.min(raw.len())
            ..line.span.start + raw.trim_end_matches(is_blank).len().max(from);
        let shown = escaped(shown.trim_matches(is_blank)).into_owned();
        let message = match inside {
            true => format!("Unknown command \"{shown}\""),
            false => format!("Unknown command {shown}"),
        };
        self.report.error(span, message).code("unknown-directive").help(help);
    }
}

const SUPERVISED: &str = "supervised";

/// The text after `#rs:`.
fn text_tail(raw: &str) -> &str {
    raw.find(OURS).map_or("", |at| &raw[at + OURS.len()..])
}

/// Everything before the first `#`.
fn without_comment(text: &str) -> &str {
    text.split('#').next().unwrap_or(text)
}

/// Width of an indentation in spaces.
fn width(indent: &str) -> usize {
    indent.chars().map(|c| if c == '\t' { TAB } else { 1 }).sum()
}

/// The range of the name in `name = value`, and the start of the value.
fn split(text: &str) -> Option<(Range<usize>, usize)> {
    let end = text.find(|c| is_blank(c) || c == '=').unwrap_or(text.len());
    let rest = text[end..].trim_start_matches(is_blank).strip_prefix('=')?;
    let value = rest.trim_start_matches(is_blank);
    if end == 0 { None } else { Some((0..end, text.len() - value.len())) }
}

/// Suggests the nearest directive that is allowed here.
fn suggest(text: &str, inside: bool) -> Option<String> {
    let name = first_word(text);
    if directive::find(name).is_some_and(|row| row.scope.allows(inside)) {
        return Some(format!("write {name}=…"));
    }
    if directive::find(name).is_some() {
        return None;
    }
    directive::nearest(name, inside).map(|row| format!("did you mean {}?", row.name))
}

/// Help for a directive that is not allowed at this place.
fn misplaced(text: &str, inside: bool) -> Option<String> {
    let name = first_word(text.trim_start_matches(is_blank));
    let row = directive::find(name)?;
    let indented = text.starts_with(is_blank);
    Some(match (row.scope.allows(false), inside || indented) {
        (true, true) => format!("write {name} outside virtual services, at the beginning of a line"),
        (true, false) => format!("write {name}=…"),
        (false, true) => {
            format!("write {name} inside a virtual service, with no empty line or other directive in between")
        }
        (false, false) => {
            format!("write {name} inside a virtual service, indented by a tab or at least 4 spaces")
        }
    })
}

fn first_word(text: &str) -> &str {
    text.split(|c| is_blank(c) || "=:".contains(c)).next().unwrap_or(text)
}
