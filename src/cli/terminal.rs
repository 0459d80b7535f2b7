//! Output on the terminal. A closed terminal or a full disk does not interrupt an action: the macros of the standard
//! library would panic, in the middle of a start or a stop.

use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, IsTerminal, Write};

use super::Exit;
use super::failure::CommandFailure;
use crate::report::ListingStyle;

/// Prints a line on standard error.
macro_rules! eprint_line {
    ($($words:tt)*) => { $crate::cli::terminal::to_stderr(format_args!($($words)*)) };
}

/// Prints a line on standard output.
macro_rules! print_line {
    ($($words:tt)*) => { $crate::cli::terminal::to_stdout(format_args!($($words)*)) };
}

pub(super) use {eprint_line, print_line};

pub(super) fn to_stderr(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

pub(super) fn to_stdout(line: Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// How a listing is printed on standard output: as wide as the terminal, in colour there, with marks that the locale
/// has.
pub(super) fn look(all: bool) -> ListingStyle {
    let out = io::stdout();
    let width = terminal_size::terminal_size_of(&out).map(|(width, _)| usize::from(width.0));
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|width| *width > 0);
    let width = width.or_else(columns);
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os);
    let locale =
        locale.filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().to_ascii_lowercase());
    // Standard output strips the colours where it is not a terminal, or does not want them.
    let utf8 = locale.take(1).any(|value| value.contains("utf-8") || value.contains("utf8"));
    ListingStyle { width, colour: true, utf8, all, ..ListingStyle::default() }
}

/// Whether a person reads standard error: diagnostics are in colour then.
pub(super) fn is_interactive() -> bool {
    io::stderr().is_terminal()
}

/// Prints why a command failed, and returns its exit code.
pub(super) fn report(failure: &CommandFailure) -> Exit {
    let text = if is_interactive() { format!("{failure:#}") } else { failure.to_string() };
    if !text.is_empty() {
        eprint_line!("{text}");
    }
    match failure {
        // As in the original, the usage goes to standard output.
        CommandFailure::Usage(wrong) => {
            answer(wrong.usage().trim_end(), Exit::Usage).unwrap_or_else(|failure| report(&failure))
        }
        _ => failure.exit(),
    }
}

/// Prints the result of a command, without colours if standard output is not a terminal. Returns `exit`, or a failure
/// if a part of the result is lost. A reader that closes the pipe has read enough.
pub(super) fn answer(text: impl Display, exit: Exit) -> Result<Exit, CommandFailure> {
    write(anstream::stdout().lock(), text, exit)
}

/// As [`answer`], for text without colours: every byte of it is printed.
pub(super) fn answer_as_it_is(text: impl Display, exit: Exit) -> Result<Exit, CommandFailure> {
    write(io::stdout().lock(), text, exit)
}

fn write(mut out: impl Write, text: impl Display, exit: Exit) -> Result<Exit, CommandFailure> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CommandFailure::Output(error)),
        _ => Ok(exit),
    }
}
