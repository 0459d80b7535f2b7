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
use std::sync::{Arc, OnceLock};

use fancy_regex::{BytesMode, CompileError, Error as EngineError, ParseError, Regex, RegexBuilder};
use thiserror::Error;

/// After so many steps back a pattern gives up: a fraction of a second at most.
const BACKTRACK_LIMIT: usize = 1_000_000;
/// A pattern whose steps may each read the whole text may read so many bytes; a shorter text than this is no matter.
const FAR_BYTES: usize = 60_000_000;
const FAR_TEXT: usize = 1024;
/// What is tried at once, wherever it is: this takes a few milliseconds at most.
const QUICK_STEPS: usize = 2_000;
const QUICK_TEXT: usize = 64 * 1024;

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
    compiled: Arc<Compiled>,
}

struct Compiled {
    /// The pattern for the engine.
    rewritten: String,
    /// Whether each of its steps may read the whole text.
    far: bool,
    /// Gives up after [`QUICK_STEPS`].
    quick: Regex,
    /// Gives up after [`BACKTRACK_LIMIT`]; made when it is needed, which is rare.
    patient: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Compiles a pattern of the Perl dialect. The empty pattern always matches.
    ///
    /// # Errors
    /// When the pattern is no regular expression, or needs what the engine does not have.
    pub fn parse(source: &str) -> Result<Pattern, PatternError> {
        let rewritten = rewrite::rewrite(source)?;
        let quick = engine(&rewritten.pattern)
            .backtrack_limit(QUICK_STEPS)
            .build()
            .map_err(|error| too_much(&error, &rewritten))?;
        let (far, rewritten) = (rewritten.far, rewritten.pattern);
        let compiled = Compiled { rewritten, far, quick, patient: OnceLock::new() };
        Ok(Pattern { source: source.to_owned(), compiled: Arc::new(compiled) })
    }

    /// Whether the pattern matches, where that takes no time worth mentioning; none where [`Pattern::is_match`] must say, which may
    /// take long.
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
    /// When the pattern does not come to an answer within its limit of steps.
    pub fn is_match(&self, subject: &[u8]) -> Result<bool, PatternLimit> {
        let compiled = &*self.compiled;
        if compiled.far && subject.len() > FAR_TEXT {
            // Fewer steps the longer the text.
            let steps = (FAR_BYTES / subject.len()).max(20);
            let regex = engine(&compiled.rewritten).backtrack_limit(steps).build();
            return regex.and_then(|regex| regex.is_match(subject)).map_err(|_| PatternLimit);
        }
        let build = || engine(&compiled.rewritten).backtrack_limit(BACKTRACK_LIMIT).build().ok();
        let patient = compiled.patient.get_or_init(build).as_ref().ok_or(PatternLimit)?;
        patient.is_match(subject).map_err(|_| PatternLimit)
    }

    /// The pattern as it stands in the file.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn engine(pattern: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(pattern);
    // It seeks: no step is counted where the pattern cannot begin, so a long reply does not use up the limit.
    builder.bytes_mode(BytesMode::Ascii).seek(true);
    builder
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
