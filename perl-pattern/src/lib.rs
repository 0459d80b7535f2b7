//! Regular expressions of the Perl dialect, matched against bytes, with a limit on the steps of each match.
//!
//! The engine is `fancy-regex`, whose dialect differs from Perl's. [`Pattern::parse`] therefore reads a pattern as
//! Perl reads it and writes it in the engine's dialect, with the same meaning. What the engine cannot express is an
//! error, with its place in the pattern. No pattern gives another answer than in Perl. An exhausted limit is an
//! error, too.
//!
//! ```
//! use perl_pattern::Pattern;
//!
//! let pattern = Pattern::parse(r"^HTTP/1\.[01] 2\d\d ")?;
//! assert_eq!(pattern.is_match(b"HTTP/1.1 204 No Content\r\n"), Ok(true));
//!
//! let error = Pattern::parse("status: (up").unwrap_err();
//! assert_eq!(error.offset, 8);
//! # Ok::<(), perl_pattern::PatternError>(())
//! ```

#![forbid(unsafe_code)]

mod class;
mod escape;
mod group;
mod node;
mod parse;
mod rewrite;
mod set;

use std::fmt;
use std::sync::{Arc, OnceLock};

use fancy_regex::{BytesMode, CompileError, Error as EngineError, ParseError, Regex, RegexBuilder};
use thiserror::Error;

/// Maximum backtracking steps of [`Pattern::is_match`]: at most a fraction of a second.
const BACKTRACK_LIMIT: usize = 1_000_000;
/// Maximum bytes that a match may read if each step may read the whole text. Texts up to [`FAR_TEXT`] bytes need no
/// such limit.
const FAR_BYTES: usize = 60_000_000;
const FAR_TEXT: usize = 1024;
/// Maximum steps and bytes of [`Pattern::quick_match`]: at most a few milliseconds.
const QUICK_STEPS: usize = 2_000;
const QUICK_TEXT: usize = 64 * 1024;

/// Why a pattern cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong, and if possible what to write instead.
    pub message: String,
    /// The place in the pattern: an offset in bytes, at a character boundary.
    pub offset: usize,
}

/// The match exceeded its limit of steps, so there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the pattern needs too many steps on this text")]
pub struct PatternLimit;

/// A compiled pattern. A clone is cheap. Patterns compare by their source.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    compiled: Arc<Compiled>,
}

struct Compiled {
    /// The pattern in the engine's dialect.
    rewritten: String,
    /// Whether one of its steps may read the whole text.
    far: bool,
    /// The pattern with the limit [`QUICK_STEPS`].
    quick: Regex,
    /// The pattern with the limit [`BACKTRACK_LIMIT`]. Compiled at first use, which is rare.
    patient: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Compiles a pattern of the Perl dialect. The empty pattern always matches.
    ///
    /// # Errors
    /// When the pattern is not a regular expression, or uses a feature that the engine does not support.
    pub fn parse(source: &str) -> Result<Pattern, PatternError> {
        let rewritten = rewrite::rewrite(source)?;
        let quick = engine(&rewritten.pattern)
            .backtrack_limit(QUICK_STEPS)
            .build()
            .map_err(|error| engine_refusal(&error, &rewritten))?;
        let (far, rewritten) = (rewritten.far, rewritten.pattern);
        let compiled = Compiled { rewritten, far, quick, patient: OnceLock::new() };
        Ok(Pattern { source: source.to_owned(), compiled: Arc::new(compiled) })
    }

    /// Whether the pattern matches somewhere in the subject, if a few milliseconds are enough to decide. `None` if
    /// the subject is too long or the match needs more steps; then use [`Pattern::is_match`], which may take a
    /// fraction of a second.
    #[must_use]
    pub fn quick_match(&self, subject: &[u8]) -> Option<bool> {
        let limit = if self.compiled.far { FAR_TEXT } else { QUICK_TEXT };
        if subject.len() > limit {
            return None;
        }
        self.compiled.quick.is_match(subject).ok()
    }

    /// Whether the pattern matches somewhere in the subject.
    ///
    /// # Errors
    /// When the match needs more steps than the limit.
    pub fn is_match(&self, subject: &[u8]) -> Result<bool, PatternLimit> {
        let compiled = &*self.compiled;
        if compiled.far && subject.len() > FAR_TEXT {
            // The longer the text, the fewer steps.
            let steps = (FAR_BYTES / subject.len()).max(20);
            let regex = engine(&compiled.rewritten).backtrack_limit(steps).build();
            return regex.and_then(|regex| regex.is_match(subject)).map_err(|_| PatternLimit);
        }
        let build = || engine(&compiled.rewritten).backtrack_limit(BACKTRACK_LIMIT).build().ok();
        let patient = compiled.patient.get_or_init(build).as_ref().ok_or(PatternLimit)?;
        patient.is_match(subject).map_err(|_| PatternLimit)
    }

    /// The pattern as it was given to [`Pattern::parse`].
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn engine(pattern: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(pattern);
    // With `seek` the engine counts no steps at places where the pattern cannot begin, so a long subject does not
    // exhaust the limit.
    builder.bytes_mode(BytesMode::Ascii).seek(true);
    builder
}

/// The error for a pattern that the engine refuses. The rewritten pattern is valid, so only its size can be wrong.
fn engine_refusal(error: &EngineError, rewritten: &rewrite::Rewritten) -> PatternError {
    match error {
        EngineError::ParseError(_, ParseError::RecursionExceeded) => PatternError {
            message: "groups are nested too deeply here: use fewer nested groups".to_owned(),
            offset: rewritten.deepest,
        },
        EngineError::CompileError(inner)
            if matches!(**inner, CompileError::InnerError(_) | CompileError::PatternTooComplex) =>
        {
            PatternError {
                message: "the pattern becomes too large: use fewer repetitions here".to_owned(),
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
