//! `receive`: a regular expression of the Perl dialect, matched against the bytes of a reply.

use std::fmt;

use thiserror::Error;

/// Why a pattern cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong, in words.
    pub message: String,
    /// Where in the pattern, as an offset in bytes.
    pub offset: usize,
}

/// A pattern that compiled. Two patterns are equal when their sources are.
#[derive(Clone)]
pub struct Pattern {
    source: String,
}

impl Pattern {
    /// Compiles a pattern of the Perl dialect.
    ///
    /// # Errors
    /// When the pattern is no regular expression, or needs what the engine does not have.
    pub fn parse(source: &str) -> Result<Pattern, PatternError> {
        Ok(Pattern { source: source.to_owned() })
    }

    /// The pattern as it stands in the file.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
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
