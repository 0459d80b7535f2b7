//! Matches patterns against answers. Most matches are quick. The others run on separate threads, a few at a time
//! and for a limited time, so that the answer of one server does not delay the checks of others.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::aside::begin_made;
use super::progress::{CheckStep, Progress};
use crate::value::{Pattern, PatternLimit};

/// The most patterns that run at the same time outside the loop's thread. The permit is released when the work is done.
static PLACES: Semaphore = Semaphore::const_new(4);

/// The time after which a match has failed. Its thread continues up to the pattern's own limit of steps.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// Whether a pattern matches.
///
/// # Errors
/// When the pattern needs too many steps or too much time.
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
    let before = progress.swap(CheckStep::Matching(pattern.source().to_owned()));
    let answer = timeout(LIMIT, work).await;
    progress.step(before);
    answer.ok().and_then(Result::ok).unwrap_or(Err(PatternLimit))
}
