//! Lines of a listing: coloured pieces, and the wrapping of their last piece.

use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use crate::value::layout::{self, wrap};
use crate::value::shown::escaped;

/// How a snapshot is rendered.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListingStyle {
    /// The columns of the terminal. None: a line for each server, however long.
    pub width: Option<usize>,
    /// With the escape sequences of colours.
    pub colour: bool,
    /// With marks that need UTF-8. Other marks are ASCII.
    pub utf8: bool,
    /// Every server, also those that are up in a long listing.
    pub all: bool,
    /// Only services and servers with a problem.
    pub down: bool,
    /// The duration of each phase of a check, below its server.
    pub phases: bool,
}

/// The colours of a listing, by what they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::report) enum Paint {
    #[default]
    Plain,
    /// Up.
    Good,
    /// Down, or no server left.
    Bad,
    /// Degraded, unknown, a soft failure.
    Warning,
    Draining,
    Maintained,
    /// Less important.
    Dim,
}

impl Paint {
    /// The parameters of its escape sequence (ECMA-48, SGR). None for plain text.
    fn code(self) -> Option<&'static str> {
        match self {
            Paint::Plain => None,
            Paint::Good => Some("32"),
            Paint::Bad => Some("1;31"),
            Paint::Warning => Some("33"),
            Paint::Draining => Some("34"),
            Paint::Maintained => Some("35"),
            Paint::Dim => Some("2"),
        }
    }
}

/// A line in pieces.
#[derive(Clone, Debug, Default)]
pub(in crate::report) struct PaintedLine(Vec<(Paint, String)>);

impl PaintedLine {
    /// A line of one piece.
    pub(in crate::report) fn of(paint: Paint, text: impl Into<String>) -> PaintedLine {
        let mut line = PaintedLine::default();
        line.push(paint, text);
        line
    }

    /// Adds a piece, without characters that act on a terminal: names and reasons come from others.
    pub(in crate::report) fn push(&mut self, paint: Paint, text: impl Into<String>) {
        let text: String = text.into();
        self.0.push((paint, escaped(&text).into_owned()));
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// The line as it is printed, without blanks at its end.
    pub(in crate::report) fn text(&self, colour: bool) -> String {
        let piece = |(paint, text): &(Paint, String)| match paint.code().filter(|_| colour) {
            Some(code) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            None => text.clone(),
        };
        let text: String = self.0.iter().map(piece).collect();
        text.trim_end().to_owned()
    }
}

/// The narrowest column in which a text is wrapped. Where less is left, it goes below, indented.
const NARROW: usize = 24;

/// A terminal counts as at least this wide.
const NARROWEST: usize = 20;

/// How far a text below its line is indented.
const INDENT: usize = 6;

/// A line with a text at its end, which is wrapped below its beginning where it is too long.
pub(in crate::report) fn wrapped(
    mut line: PaintedLine,
    text: &str,
    width: Option<usize>,
) -> Vec<PaintedLine> {
    let Some(width) = width.map(|width| width.max(NARROWEST)) else {
        line.push(Paint::Plain, text);
        return vec![line];
    };
    let left = width.saturating_sub(line.width());
    if left >= NARROW {
        let indent = " ".repeat(line.width());
        let mut pieces = wrap(text, left).into_iter();
        line.push(Paint::Plain, pieces.next().unwrap_or_default());
        let below = pieces.map(|piece| PaintedLine::of(Paint::Plain, format!("{indent}{piece}")));
        return std::iter::once(line).chain(below).collect();
    }
    let indent = " ".repeat(INDENT);
    let below = wrap(text, width.saturating_sub(INDENT).max(1));
    let below = below.into_iter().map(|piece| PaintedLine::of(Paint::Plain, format!("{indent}{piece}")));
    std::iter::once(line).chain(below).collect()
}

/// What is between two parts of a line.
const GAP: &str = "   ";

/// Adds a part to the last line, or below it, indented, if the line would be too long.
pub(in crate::report) fn appended(
    mut lines: Vec<PaintedLine>,
    paint: Paint,
    text: &str,
    width: Option<usize>,
) -> Vec<PaintedLine> {
    let used = lines.last().map_or(0, PaintedLine::width) + GAP.len() + text.width();
    match lines.last_mut() {
        Some(line) if width.is_none_or(|width| used <= width) => line.push(paint, format!("{GAP}{text}")),
        _ => lines.push(PaintedLine::of(paint, format!("  {text}"))),
    }
    lines
}

/// Parts of one kind in as few indented lines as they need.
pub(in crate::report) fn filled(paint: Paint, parts: &[String], width: Option<usize>) -> Vec<PaintedLine> {
    let Some((first, others)) = parts.split_first() else { return Vec::new() };
    let lines = vec![PaintedLine::of(paint, format!("  {first}"))];
    others.iter().fold(lines, |lines, part| appended(lines, paint, part, width))
}

/// A number of seconds in words: `42 s`, `26 min`, `3 h 12 min`, `24 d 14 h`.
pub(in crate::report) fn span(seconds: f64) -> String {
    layout::span(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
