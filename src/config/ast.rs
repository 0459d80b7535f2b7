//! The lines of a configuration, before their values are read.

use std::borrow::Cow;
use std::ops::Range;

use super::directive::Directive;

/// A whole file.
#[derive(Debug, Default)]
pub struct Ast<'a> {
    /// The lines outside virtual services, without the `virtual` lines themselves.
    pub globals: Vec<Assignment<'a>>,
    /// The virtual services, in the order of the file.
    pub virtuals: Vec<Block<'a>>,
}

/// A `virtual` or `virtual6` with the lines that belong to it.
#[derive(Debug)]
pub struct Block<'a> {
    /// The line that opens it.
    pub head: Assignment<'a>,
    /// Its indented lines.
    pub lines: Vec<Assignment<'a>>,
}

/// `directive = value`
#[derive(Debug)]
pub struct Assignment<'a> {
    /// The row of the table of directives.
    pub directive: &'static Directive,
    /// Whether the line is inside a block, where other rules apply to the same directive.
    pub inside: bool,
    /// Whether the line starts with `#rs:`, which makes it a comment for the original.
    pub ours: bool,
    /// The line of the file, from 1.
    pub line: usize,
    /// Place of the name in the file.
    pub name: Range<usize>,
    /// What follows `=` and white space, to the end of the line.
    pub value: ValueText<'a>,
}

impl Assignment<'_> {
    /// From the name to the end of the value.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.name.start..self.value.span().end.max(self.name.end)
    }
}

/// The text of a value. Inside a block each tab counts as four spaces, so text and file may differ in length.
#[derive(Debug)]
pub struct ValueText<'a> {
    raw: &'a str,
    start: usize,
    text: Cow<'a, str>,
}

/// Number of spaces that a tab inside a block counts as.
pub(crate) const TAB: usize = 4;

impl<'a> ValueText<'a> {
    /// A value outside a block: the unchanged text.
    #[must_use]
    pub fn verbatim(raw: &'a str, start: usize) -> ValueText<'a> {
        ValueText { raw, start, text: Cow::Borrowed(raw) }
    }

    /// A value inside a block: tabs become spaces.
    #[must_use]
    pub fn expanded(raw: &'a str, start: usize) -> ValueText<'a> {
        let text = match raw.contains('\t') {
            true => Cow::Owned(raw.replace('\t', "    ")),
            false => Cow::Borrowed(raw),
        };
        ValueText { raw, start, text }
    }

    /// The text to read the value from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Place of the whole value in the file.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// Converts a range of the text to its place in the file.
    #[must_use]
    pub fn part(&self, part: Range<usize>) -> Range<usize> {
        let start = self.locate(part.start);
        start..self.locate(part.end).max(start)
    }

    /// Converts an offset in the text to its place in the file.
    fn locate(&self, offset: usize) -> usize {
        let mut seen = 0;
        for (at, c) in self.raw.char_indices() {
            let wide = if c == '\t' && self.text.len() != self.raw.len() { TAB } else { c.len_utf8() };
            if seen + wide > offset {
                return self.start + at;
            }
            seen += wide;
        }
        self.start + self.raw.len()
    }
}
