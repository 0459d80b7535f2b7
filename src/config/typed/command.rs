//! Commands of the operator, which no shell runs.

use std::ops::Range;

use super::{Reader, Wrong, value};
use crate::config::ast::Assignment;

/// A command. Outside virtual services quotes group words and stay; inside they enclose the command.
pub(super) fn command(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<String, Wrong> {
    warn_of_shell(line, reader);
    if line.inside { value::text(line) } else { value::whole(line) }
}

/// Says so when a command has signs that a shell would act on.
fn warn_of_shell(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    if let Some(part) = shell_sign(line.value.text()) {
        let sign = &line.value.text()[part.clone()];
        let help = "write the command into a script, or into sh -c '…'";
        reader.warn(line, part, format!("no shell runs this command: {sign} is a sign like any other"), help);
    }
}

/// The first sign that a shell would act on, quotes and backslashes aside.
fn shell_sign(text: &str) -> Option<Range<usize>> {
    let mut quote = None;
    for (at, sign) in text.char_indices() {
        match (quote, sign) {
            (None, '"' | '\'') => quote = Some(sign),
            (Some(open), _) if open == sign => quote = None,
            (None | Some('"'), '$' | '`')
            | (None, '&' | ';' | '|' | '<' | '>' | '(' | ')' | '*' | '?' | '~') => {
                return Some(at..at + sign.len_utf8());
            }
            _ => {}
        }
    }
    None
}
