//! What a configuration says, line by line, before any value is understood.

use std::borrow::Cow;
use std::ops::Range;

use super::directive::Directive;

/// A whole file.
#[derive(Debug, Default)]
pub struct Ast<'a> {
    /// The lines outside virtuals, without the `virtual` lines themselves.
    pub globals: Vec<Assignment<'a>>,
    /// The virtuals, in the order of the file.
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
    /// Whether it stands inside a block: the same directive has other rules there.
    pub inside: bool,
    /// Whether it stands behind `#rs:`, so that the original reads a comment.
    pub ours: bool,
    /// The line of the file, from 1.
    pub line: usize,
    /// Where the name stands.
    pub name: Range<usize>,
    /// What follows `=` and its blanks, to the end of the line.
    pub value: Value<'a>,
}

impl Assignment<'_> {
    /// From the name to the end of the value.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.name.start..self.value.span().end.max(self.name.end)
    }
}

/// The text of a value. Inside a block each tab counts as four blanks, so text and file may differ in length.
#[derive(Debug)]
pub struct Value<'a> {
    raw: &'a str,
    start: usize,
    text: Cow<'a, str>,
}

/// How many blanks a tab inside a block stands for.
pub(crate) const TAB: usize = 4;

impl<'a> Value<'a> {
    /// A value outside a block: the text as it stands.
    #[must_use]
    pub fn verbatim(raw: &'a str, start: usize) -> Value<'a> {
        Value { raw, start, text: Cow::Borrowed(raw) }
    }

    /// A value inside a block: tabs become blanks.
    #[must_use]
    pub fn expanded(raw: &'a str, start: usize) -> Value<'a> {
        let text = match raw.contains('\t') {
            true => Cow::Owned(raw.replace('\t', "    ")),
            false => Cow::Borrowed(raw),
        };
        Value { raw, start, text }
    }

    /// The text, to be understood.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the whole value stands in the file.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// Where a part of the text stands in the file.
    #[must_use]
    pub fn part(&self, part: Range<usize>) -> Range<usize> {
        let start = self.locate(part.start);
        start..self.locate(part.end).max(start)
    }

    /// The place in the file of an offset of the text.
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
