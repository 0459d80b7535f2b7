//! From the text to its lines: which belong to which virtual, and which directive each is.
//!
//! A virtual holds the lines after it that are indented by four blanks or more (a tab counts as four) and all
//! comments, whatever their indentation. Any other line ends it and stands outside.

use std::ops::Range;

use super::ast::{Assignment, Ast, Block, TAB, Value};
use super::diagnostic::{Original, Report, blank_secret};
use super::directive::{self, Kind};
use super::source::{Line, Source, is_blank};

/// How many blanks make a line part of a virtual.
const INDENT: usize = 4;

/// What a line behind `#rs:` is: a comment for the original, a directive for us.
const OURS: &str = "#rs:";

/// Takes the text apart. Lines that are no directive are reported and left out.
pub(crate) fn parse<'a>(source: &'a Source, report: &mut Report<'_>) -> Ast<'a> {
    let mut parser = Parser { source, report, ast: Ast::default(), place: Place::Outside };
    for line in source.lines() {
        parser.line(&line);
    }
    if let (Place::Inside, Some(block)) = (parser.place, parser.ast.virtuals.last())
        && block.lines.is_empty()
        && parser.source.lines().last().is_some_and(|last| last.number == block.head.line)
    {
        parser
            .report
            .warning(block.head.span(), "virtual without any line after it, at the end of the file")
            .code("virtual-at-end")
            .help("the original reads it twice and refuses it as a duplicate; an empty line after it avoids that")
            .original(Original::Refuses);
    }
    parser.ast
}

/// Where the next line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Outside all virtuals.
    Outside,
    /// In the last virtual.
    Inside,
    /// After an empty line, which ended the last virtual.
    Gap,
}

struct Parser<'a, 'r, 's> {
    source: &'a Source,
    report: &'r mut Report<'s>,
    ast: Ast<'a>,
    place: Place,
}

impl<'a> Parser<'a, '_, '_> {
    fn line(&mut self, line: &Line) {
        let raw = &self.source.text()[line.span.clone()];
        let text = raw.trim_start_matches(is_blank);
        if let Some(ours) = text.strip_prefix(OURS) {
            self.ours(line, ours);
        } else if text.starts_with('#') {
            // A comment ends nothing.
        } else if self.place == Place::Outside || !self.indented(line, raw) {
            self.outside(line, raw);
        }
    }

    /// Takes a line as part of the last virtual; says no when it is not.
    fn indented(&mut self, line: &Line, raw: &'a str) -> bool {
        let body = without_comment(raw);
        let rest = body.trim_start_matches([' ', '\t']);
        let indent = width(&body[..body.len() - rest.len()]);
        if rest.trim_start_matches(is_blank).is_empty() {
            return self.blank(line, indent + rest.len());
        }
        if indent < INDENT {
            return self.too_little(line, raw, rest);
        }
        if self.place == Place::Gap {
            return self.after_gap(line, raw, rest);
        }
        let start = line.span.start + (body.len() - rest.len());
        match self.assignment(line, rest, start, true) {
            Some(found) => self.plain(found),
            None => self.unknown(line, rest, true),
        }
        true
    }

    /// An empty line ends a virtual. One of five blanks or more would be an unknown command to the original.
    fn blank(&mut self, line: &Line, blanks: usize) -> bool {
        if self.place == Place::Inside && blanks > INDENT {
            self.report
                .warning(line.span.clone(), "a line of nothing but blanks inside a virtual")
                .code("blank-line")
                .help("the original takes it for an unknown command; make it empty or a comment")
                .original(Original::Refuses);
        } else {
            self.place = Place::Gap;
        }
        true
    }

    /// Less than four blanks end a virtual, and what follows is then no command.
    fn too_little(&mut self, line: &Line, raw: &str, rest: &str) -> bool {
        if raw.len() == rest.len() {
            return false;
        }
        self.unknown_with(line, false, "indent a line of a virtual by a tab or at least 4 blanks");
        true
    }

    /// An indented directive of a virtual after an empty line cannot mean anything else.
    fn after_gap(&mut self, line: &Line, raw: &'a str, rest: &'a str) -> bool {
        let start = line.span.start + (raw.len() - raw.trim_start_matches([' ', '\t']).len());
        let Some(found) = self.assignment(line, rest, start, true) else {
            self.unknown(line, rest, true);
            return true;
        };
        self.report
            .warning(found.span(), "an empty line stands between this line and its virtual")
            .code("blank-line")
            .help("the original refuses this; make the line above a comment or remove it")
            .original(Original::Refuses);
        self.place = Place::Inside;
        self.plain(found);
        true
    }

    /// A line outside virtuals; it must begin with its directive.
    fn outside(&mut self, line: &Line, raw: &'a str) {
        if raw.trim_start_matches(is_blank).is_empty() {
            return;
        }
        if let Some(found) = self.assignment(line, raw, line.span.start, false) {
            self.place = Place::Outside;
            self.plain(found);
        } else if raw.starts_with(SUPERVISED) {
            self.place = Place::Outside;
            self.bare_supervised(line, raw);
        } else {
            self.unknown(line, raw, false);
        }
    }

    /// `supervised` needs no value; anything else that begins like it is a bad value of it.
    fn bare_supervised(&mut self, line: &Line, raw: &'a str) {
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
                value: Value::verbatim("yes", name_end),
            });
        }
    }

    /// A line that is a comment for the original.
    fn ours(&mut self, line: &Line, text: &'a str) {
        let raw = &self.source.text()[line.span.clone()];
        let indent = width(&raw[..raw.len() - raw.trim_start_matches([' ', '\t']).len()]);
        // At the begin of a line stands what is for all, also between the lines of a virtual: that is a comment for the original.
        let for_all = indent == 0
            && directive::find(first_word(text.trim_start_matches(is_blank)))
                .is_some_and(|row| row.scope.allows(false));
        let inside =
            !for_all && (self.place == Place::Inside || (self.place == Place::Gap && indent >= INDENT));
        let text = if inside { without_comment(text) } else { text };
        let body = text.trim_start_matches(is_blank);
        let start = line.span.start + (raw.len() - text_tail(raw).len()) + (text.len() - body.len());
        match self.assignment(line, body, start, inside) {
            Some(found) if found.directive.kind != Kind::Virtual => {
                if inside {
                    self.place = Place::Inside;
                }
                self.add(Assignment { ours: true, ..found });
            }
            Some(found) => {
                self.report
                    .error(found.name, "a virtual cannot stand behind #rs:")
                    .code("conflict")
                    .help("its lines would belong to another virtual for the original")
                    .original(Original::Accepts);
            }
            None => {
                let suggestion =
                    self.suggest(body, inside).or_else(|| misplaced(body, inside)).unwrap_or_else(|| {
                        "behind #rs: stands a directive of ldirectord-rs; write a comment as `# …`".to_owned()
                    });
                self.report
                    .error(
                        start..start + body.len().max(1).min(line.span.end - start),
                        "Unknown command behind #rs:",
                    )
                    .code("unknown-directive")
                    .help(suggestion)
                    .original(Original::Accepts);
            }
        }
    }

    /// Reads `name = value`, if the name is a directive that may stand here.
    fn assignment(&self, line: &Line, text: &'a str, start: usize, inside: bool) -> Option<Assignment<'a>> {
        let (name, value) = split(text)?;
        let directive = directive::find(&text[name.clone()]).filter(|row| row.scope.allows(inside))?;
        let at = start + value;
        let value = match inside {
            true => Value::expanded(&text[value..], at),
            false => Value::verbatim(&text[value..], at),
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

    /// A line that is none of `#rs:`.
    fn plain(&mut self, found: Assignment<'a>) {
        if found.directive.extension {
            let name = found.directive.name;
            self.report
                .warning(found.span(), format!("the original does not know {name} and refuses the file"))
                .code("unmarked-extension")
                .directive(name)
                .help(format!("write it as `#rs: {name}={}`, which is a comment there", found.value.text()))
                .original(Original::Refuses);
        }
        self.add(found);
    }

    fn add(&mut self, found: Assignment<'a>) {
        self.check_encoding(&found);
        if found.directive.kind == Kind::Virtual {
            self.place = Place::Inside;
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
                .warning(found.value.span(), "this value is not UTF-8; it is read as Latin-1")
                .code("not-utf8")
                .directive(found.directive.name)
                .help("save the file as UTF-8");
        }
    }

    fn unknown(&mut self, line: &Line, text: &str, inside: bool) {
        let help = self.suggest(text, inside).or_else(|| misplaced(text, inside)).unwrap_or_else(|| {
            match split(text) {
                Some(_) => "no directive of this name",
                None => "a line is `directive = value`, a comment that begins with #, or empty",
            }
            .to_owned()
        });
        self.unknown_with(line, inside, &help);
    }

    fn suggest(&self, text: &str, inside: bool) -> Option<String> {
        if self.report.explains() { suggest(text, inside) } else { None }
    }

    fn unknown_with(&mut self, line: &Line, inside: bool, help: &str) {
        if self.report.is_muted() {
            // To look for secrets in the line takes most of the time.
            self.report.error(line.span.clone(), "");
            return;
        }
        let raw = &self.source.text()[line.span.clone()];
        let shown = blank_secret(raw).map_or_else(|| raw.to_owned(), |(_, shown)| shown);
        let from = raw.len() - raw.trim_start_matches(is_blank).len();
        let span = line.span.start + from.min(raw.len())
            ..line.span.start + raw.trim_end_matches(is_blank).len().max(from);
        let message = match inside {
            true => format!("Unknown command \"{}\"", shown.trim_matches(is_blank)),
            false => format!("Unknown command {}", shown.trim_matches(is_blank)),
        };
        self.report.error(span, message).code("unknown-directive").help(help);
    }
}

const SUPERVISED: &str = "supervised";

/// The text behind `#rs:` of such a line.
fn text_tail(raw: &str) -> &str {
    raw.find(OURS).map_or("", |at| &raw[at + OURS.len()..])
}

/// Everything before the first `#`.
fn without_comment(text: &str) -> &str {
    text.split('#').next().unwrap_or(text)
}

/// How wide this indentation is.
fn width(indent: &str) -> usize {
    indent.chars().map(|c| if c == '\t' { TAB } else { 1 }).sum()
}

/// Where the name and the value of `name = value` stand.
fn split(text: &str) -> Option<(Range<usize>, usize)> {
    let end = text.find(|c| is_blank(c) || c == '=').unwrap_or(text.len());
    let rest = text[end..].trim_start_matches(is_blank).strip_prefix('=')?;
    let value = rest.trim_start_matches(is_blank);
    if end == 0 { None } else { Some((0..end, text.len() - value.len())) }
}

/// The nearest directive that may stand here.
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

/// A directive that exists, but not here.
fn misplaced(text: &str, inside: bool) -> Option<String> {
    let name = first_word(text.trim_start_matches(is_blank));
    let row = directive::find(name)?;
    let indented = text.starts_with(is_blank);
    Some(match (row.scope.allows(false), inside || indented) {
        (true, true) => format!("{name} stands outside virtuals, at the beginning of a line"),
        (true, false) => format!("write {name}=…"),
        (false, true) => {
            format!("{name} stands inside a virtual, with no empty line or other directive in between")
        }
        (false, false) => format!("{name} stands inside a virtual, indented by a tab or at least 4 blanks"),
    })
}

fn first_word(text: &str) -> &str {
    text.split(|c| is_blank(c) || "=:".contains(c)).next().unwrap_or(text)
}
