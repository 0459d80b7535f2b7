//! Builds a [`Config`] from the lines: reads all values, resolves inheritance, and reports errors and warnings.

mod address;
mod command;
mod globals;
mod judge;
mod kernel;
mod kind;
mod lint;
mod mail;
mod place;
mod real;
mod service;
mod shared;
mod tls;
mod value;
mod virtuals;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub(super) use tls::name_of_host;

use place::ValueSlot;

use super::ast::{Assignment, Ast};
use super::diagnostic::{Original, Report};
use super::directive::ValueKind;
use super::names::NameLookup;
use super::{Config, Virtual};
use crate::value::{Family, TlsPolicy, VirtualId};

/// Maximum number of real servers. More are a mistake, most likely in a range.
const MAX_REALS: usize = 65_536;

/// Reads all values. The configuration can be used if `report` has no errors.
pub(super) fn read(ast: &Ast<'_>, report: &mut Report<'_>, names: &dyn NameLookup) -> Config {
    let mut reader =
        Reader { report, names, family: Family::V4, mark: false, reals: 0, policies: Vec::new() };
    let globals = globals::read(&ast.globals, &mut reader);
    let mut virtuals: Vec<Virtual> = Vec::with_capacity(ast.virtuals.len());
    let mut heads = Vec::with_capacity(ast.virtuals.len());
    let mut seen: BTreeMap<VirtualId, usize> = BTreeMap::new();
    for block in &ast.virtuals {
        let Some(found) = virtuals::read(block, &globals, &mut reader) else { continue };
        match seen.get(&found.id) {
            Some(line) => {
                let help = format!("{} is in line {line} already", found.id);
                let found = reader.report.error(block.head.span(), "duplicate virtual server");
                found.code("duplicate-virtual").directive(block.head.directive.name).help(help);
            }
            None => {
                seen.insert(found.id, found.line);
                heads.push((found.id, &block.head));
                virtuals.push(found);
            }
        }
    }
    kernel::judge_twins(&heads, &seen, &mut reader);
    if ast.virtuals.is_empty() && !reader.report.has_errors() {
        let found = reader.report.warning(0..0, "the file has no virtual service");
        found.code("no-service").help("a service begins with a line virtual=ADDRESS:PORT").as_advice();
    }
    Config { globals: globals.own, virtuals }
}

/// The context for reading values.
struct Reader<'r, 's> {
    report: &'r mut Report<'s>,
    names: &'r dyn NameLookup,
    /// Address family of the virtual service that is being read.
    family: Family,
    /// Whether that service is a firewall mark.
    mark: bool,
    /// Number of real servers so far.
    reals: usize,
    /// The TLS policies, each once.
    policies: Vec<Arc<TlsPolicy>>,
}

impl Reader<'_, '_> {
    /// Returns the value, or reports its error and returns nothing.
    fn take<T>(&mut self, line: &Assignment<'_>, value: Result<T, ValueError>) -> Option<T> {
        value.map_err(|wrong| self.report_error(line, wrong)).ok()
    }

    /// Reads a line by the kind of its directive, and stores the value in `place`. Returns whether the value is
    /// accepted.
    fn put(&mut self, line: &Assignment<'_>, place: Option<&mut dyn ValueSlot>) -> bool {
        if let Some(message) = line.directive.deprecated {
            let warning = self.report.warning(line.span(), message);
            warning.code("deprecated").directive(line.directive.name).original(Original::Warns);
        }
        let value = kind::read(line, self);
        let value = self.take(line, value);
        let accepted = value.is_some();
        if accepted && line.directive.kind.is_word() {
            value::advise_on_the_rest(line, self);
        }
        if let (Some(place), Some(value)) = (place, value) {
            place.put(value);
        }
        accepted
    }

    fn report_error(&mut self, line: &Assignment<'_>, wrong: ValueError) {
        let span = wrong.part.map_or_else(|| line.span(), |part| line.value.part(part));
        let diagnostic = self.report.error(span, wrong.message).directive(line.directive.name);
        let replaced = line.directive.kind == ValueKind::Refused;
        diagnostic.code(if replaced { "replaced-directive" } else { wrong.code });
        // Extensions are comments for the original.
        diagnostic.original(if line.directive.extension { Original::Accepts } else { wrong.original });
        if let Some(help) = wrong.help {
            diagnostic.help(help);
        }
    }

    /// Reports a warning about a part of a value.
    fn warn(&mut self, line: &Assignment<'_>, part: Range<usize>, message: impl Into<String>, help: &str) {
        self.report.warning(line.value.part(part), message).directive(line.directive.name).help(help);
    }
}

/// Why a value is not accepted.
#[derive(Debug)]
struct ValueError {
    /// The part of the value's text. Absent: the whole line.
    part: Option<Range<usize>>,
    message: String,
    code: &'static str,
    help: Option<String>,
    original: Original,
}

impl ValueError {
    /// An error about the whole line.
    fn new(message: impl Into<String>) -> ValueError {
        ValueError {
            part: None,
            message: message.into(),
            code: "invalid-value",
            help: None,
            original: Original::Refuses,
        }
    }

    /// Marks a part of the value as wrong.
    fn at(mut self, part: Range<usize>) -> ValueError {
        self.part = Some(part);
        self
    }

    fn code(mut self, code: &'static str) -> ValueError {
        self.code = code;
        self
    }

    fn help(mut self, help: impl Into<String>) -> ValueError {
        self.help = Some(help.into());
        self
    }

    /// Adds what to do about it where nothing more exact is known.
    fn or_help(mut self, help: impl FnOnce() -> Option<String>) -> ValueError {
        self.help = self.help.or_else(help);
        self
    }

    /// Marks an error that the original does not report: it accepts the value and does something that cannot be
    /// intended.
    fn stricter_than_original(mut self) -> ValueError {
        self.original = Original::Accepts;
        self
    }
}
