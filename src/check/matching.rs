//! Patterns on what servers answer. Most come to an answer in no time; the others are run on threads of their own, a few at a time,
//! and not for ever: the answer of one server must not delay the checks of all.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::aside::begin_made;
use super::progress::{Progress, Step};
use crate::value::{Pattern, PatternLimit};

/// The most patterns that run at a time outside the loop's thread. A place is free when the work is done.
static PLACES: Semaphore = Semaphore::const_new(4);

/// After this time a pattern has failed on an answer. What goes on then ends at the pattern's own limit of steps.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// Whether a pattern matches.
///
/// # Errors
/// When the pattern needs too many steps, or too long.
pub(super) async fn is_match(
    pattern: &Pattern,
    subject: &[u8],
    progress: &Progress,
) -> Result<bool, PatternLimit> {
    if let Some(answer) = pattern.quick_match(subject) {
        return Ok(answer);
    }
    let copied = || {
        let (own, subject) = (pattern.clone(), subject.to_vec());
        move || own.is_match(&subject)
    };
    let work = progress.queued(begin_made(&PLACES, copied)).await;
    let before = progress.swap(Step::Matching(pattern.source().to_owned()));
    let answer = timeout(LIMIT, work).await;
    progress.step(before);
    answer.ok().and_then(Result::ok).unwrap_or(Err(PatternLimit))
}
