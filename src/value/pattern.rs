//! `receive`: a regular expression of the Perl dialect, matched against the bytes of a reply.
//!
//! The engine has a dialect of its own, so each pattern is read as Perl reads it ([`parse`] with its parts) and
//! written anew ([`rewrite`]). What the engine cannot do is refused, never answered differently.

mod class;
mod escape;
mod group;
mod node;
mod parse;
mod rewrite;
mod set;
#[cfg(test)]
mod tests;

use std::fmt;

use fancy_regex::{BytesMode, CompileError, Error as EngineError, ParseError, Regex, RegexBuilder};
use thiserror::Error;

/// After so many steps back a pattern gives up: a fraction of a second at most.
const BACKTRACK_LIMIT: usize = 1_000_000;
/// The same for a pattern whose steps may each read a whole text, and the text is longer than this.
const FAR_BACKTRACK_LIMIT: usize = 5_000;
const FAR_TEXT: usize = 8 * 1024;

/// Why a pattern cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong, in words.
    pub message: String,
    /// Where in the pattern, as an offset in bytes.
    pub offset: usize,
}

/// A pattern came to no answer within its limit of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the pattern needs too many steps on this text to come to an answer")]
pub struct PatternLimit;

/// A pattern that compiled. Two patterns are equal when their sources are.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
    /// The same with fewer steps, for long texts.
    hurried: Option<Regex>,
}

impl Pattern {
    /// Compiles a pattern of the Perl dialect. The empty pattern always matches.
    ///
    /// # Errors
    /// When the pattern is no regular expression, or needs what the engine does not have.
    pub fn parse(source: &str) -> Result<Pattern, PatternError> {
        let rewritten = rewrite::rewrite(source)?;
        let build = |limit| {
            RegexBuilder::new(&rewritten.pattern)
                .bytes_mode(BytesMode::Ascii)
                .backtrack_limit(limit)
                .build()
                .map_err(|error| too_much(&error, &rewritten))
        };
        let regex = build(BACKTRACK_LIMIT)?;
        let hurried = if rewritten.far { Some(build(FAR_BACKTRACK_LIMIT)?) } else { None };
        Ok(Pattern { source: source.to_owned(), regex, hurried })
    }

    /// Whether the pattern matches somewhere in the subject.
    ///
    /// # Errors
    /// When the pattern does not come to an answer within its limit of steps.
    pub fn is_match(&self, subject: &[u8]) -> Result<bool, PatternLimit> {
        let hurried = self.hurried.as_ref().filter(|_| subject.len() > FAR_TEXT);
        hurried.unwrap_or(&self.regex).is_match(subject).map_err(|_| PatternLimit)
    }

    /// The pattern as it stands in the file.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// What is written anew is well formed, so what the engine finds wrong is its size.
fn too_much(error: &EngineError, rewritten: &rewrite::Rewritten) -> PatternError {
    match error {
        EngineError::ParseError(_, ParseError::RecursionExceeded) => PatternError {
            message: "groups are nested too deeply here: write the pattern with fewer of them".to_owned(),
            offset: rewritten.deepest,
        },
        EngineError::CompileError(inner)
            if matches!(**inner, CompileError::InnerError(_) | CompileError::PatternTooComplex) =>
        {
            PatternError {
                message: "the pattern becomes too large: repeat less often here".to_owned(),
                offset: rewritten.largest,
            }
        }
        other => PatternError { message: format!("the engine cannot run this pattern: {other}"), offset: 0 },
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}
impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}
impl Eq for Pattern {}
impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Pattern) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pattern {
    fn cmp(&self, other: &Pattern) -> std::cmp::Ordering {
        self.source.cmp(&other.source)
    }
}
