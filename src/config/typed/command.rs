//! Operator commands, which run without a shell.

use std::ops::Range;

use super::{Reader, ValueError, value};
use crate::config::ast::Assignment;

/// A command. Outside virtual services quotes group words and are kept; inside they enclose the command.
pub(super) fn command(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<String, ValueError> {
    warn_of_shell(line, reader);
    if line.inside { value::text(line) } else { value::whole(line) }
}

/// Warns about characters in a command that a shell would interpret.
fn warn_of_shell(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    let all = line.value.text();
    // Inside a virtual service the quotes around the command are not part of it.
    let command = value::quoted(line).ok().filter(|_| line.inside).unwrap_or(0..all.len());
    if let Some(part) = shell_sign(&all[command.clone()]) {
        let part = part.start + command.start..part.end + command.start;
        let sign = &line.value.text()[part.clone()];
        let help = "put the command into a script, or write sh -c '…'";
        reader.warn(
            line,
            part,
            format!("this command runs without a shell: {sign} has no special meaning"),
            help,
        );
    }
}

/// The first character that a shell would interpret, except quotes and backslashes.
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
