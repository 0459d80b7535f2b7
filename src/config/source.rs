//! The decoded text of a configuration and its lines.

use std::ops::Range;

/// What some editors write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A decoded text. All spans of this module are byte ranges of [`SourceText::text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    text: String,
    starts: Vec<usize>,
    latin1: bool,
    marked: bool,
}

/// A line: its number and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// From 1.
    pub number: usize,
    /// Without the newline.
    pub span: Range<usize>,
}

impl SourceText {
    /// Decodes UTF-8. Bytes that are not valid UTF-8 are read as Latin-1, in which every sequence of bytes is valid.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> SourceText {
        let (bytes, marked) = match bytes.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => (rest, true),
            None => (bytes, false),
        };
        let (text, latin1) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (bytes.iter().copied().map(char::from).collect(), true),
        };
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        SourceText { text, starts, latin1, marked }
    }

    /// The decoded text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the bytes were not UTF-8.
    #[must_use]
    pub fn is_latin1(&self) -> bool {
        self.latin1
    }

    /// Whether the file begins with a byte order mark.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// All lines, in order. What follows a final newline is not a line.
    pub fn lines(&self) -> impl Iterator<Item = SourceLine> + '_ {
        (1..=self.starts.len())
            .map(|number| self.line(number))
            .filter(|line| line.span.start < self.text.len())
    }

    /// The line that contains this offset.
    #[must_use]
    pub fn line_at(&self, offset: usize) -> SourceLine {
        self.line(self.starts.partition_point(|start| *start <= offset).max(1))
    }

    /// The line of this number, from 1. The number must be that of a line of the text.
    #[must_use]
    pub fn line(&self, number: usize) -> SourceLine {
        let start = self.starts[number - 1];
        let end = self.starts.get(number).map_or(self.text.len(), |next| next - 1);
        // The CR of CR LF is not part of a line.
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        SourceLine { number, span: start..end }
    }
}

/// White space in the original's regular expressions, which match bytes.
#[must_use]
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// A letter, digit or underscore as in the original's regular expressions.
#[must_use]
pub(crate) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
