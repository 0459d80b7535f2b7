//! Judges a page or a file, once: at its end, at our size limit, or at the deadline.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::format::spoken;
use super::progress::{PartialContent, Progress};
use super::{format, matching};
use crate::value::{MAX_MONITOR, Pattern, UnknownCause, Verdict};

/// The most bytes of a page or a file that are read and judged.
pub(super) const MAX: usize = 1024 * 1024;

/// The largest content in bytes that needs no permit.
const SMALL: usize = 16 * 1024;

/// The largest content in bytes that needs a permit of the middle class only.
const MIDDLE: usize = 128 * 1024;

/// Permits for contents above [`SMALL`] in memory at the same time, in all checks: 40 MiB together. There are two
/// classes, so that endless contents of one size do not block those of the other.
struct ContentPermits {
    middle: Semaphore,
    large: Semaphore,
}

static PLACES: ContentPermits =
    ContentPermits { middle: Semaphore::const_new(128), large: Semaphore::const_new(24) };

impl ContentPermits {
    /// The class of a content of this size, and the permits of that class.
    fn of(&self, size: usize) -> (u8, Option<&Semaphore>) {
        if size <= SMALL {
            (0, None)
        } else if size <= MIDDLE {
            (1, Some(&self.middle))
        } else {
            (2, Some(&self.large))
        }
    }
}

/// How long a check waits for its permit. After that its verdict is unknown.
const PLACE_WAIT: Duration = Duration::from_millis(500);

/// How a page or a file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ContentEnd {
    /// Complete.
    Whole,
    /// Cut at our limit.
    Cut,
    /// Broken off before its end. The reason.
    Broken(String),
    /// No permit was free for the rest.
    NoPlace,
    /// Incomplete at the deadline.
    Late(Duration),
}

/// Keeps received bytes of a page or a file. Returns the number of bytes received so far.
///
/// # Errors
/// [`ContentEnd::Cut`] at our limit, [`ContentEnd::NoPlace`] if no permit became free.
pub(super) async fn keep(data: &[u8], progress: &Progress) -> Result<usize, ContentEnd> {
    keep_within(&PLACES, data, progress).await
}

async fn keep_within(
    places: &'static ContentPermits,
    data: &[u8],
    progress: &Progress,
) -> Result<usize, ContentEnd> {
    let before = progress.more(&[]);
    if let (rank, Some(places_of_rank)) = places.of(before + data.len())
        && rank > places.of(before).0
    {
        let place = progress.queued(timeout(PLACE_WAIT, places_of_rank.acquire())).await;
        progress.hold(place.ok().and_then(Result::ok).ok_or(ContentEnd::NoPlace)?);
    }
    let room = MAX - before;
    let size = progress.more(&data[..data.len().min(room)]);
    if data.len() > room { Err(ContentEnd::Cut) } else { Ok(size) }
}

/// The verdict on the received content.
pub(super) async fn judge(
    content: &PartialContent,
    end: &ContentEnd,
    receive: Option<&Pattern>,
    progress: &Progress,
) -> Verdict {
    let PartialContent { said, what, monitor, bytes, .. } = content;
    let Some(pattern) = receive else { return with(Verdict::up(said.as_str()), monitor.as_deref()) };
    let size = format::count(bytes.len() as u64, "byte");
    let size = match end {
        ContentEnd::NoPlace => {
            let reason = format!(
                "{said}, and {size} of {what}, but no memory for the rest: too many large bodies at once"
            );
            return Verdict::unknown(UnknownCause::QueueFull, reason);
        }
        ContentEnd::Whole => format!("{what} ({size})"),
        ContentEnd::Cut => format!("the first {size} of {what}"),
        ContentEnd::Broken(why) => format!("{what} ({size}, then {why})"),
        ContentEnd::Late(deadline) => format!("{what} ({size}, incomplete after {})", spoken(*deadline)),
    };
    let source = pattern.source();
    match matching::is_match(pattern, bytes, progress).await {
        Ok(true) => with(Verdict::up(format!("{said}, and {size} matches /{source}/")), monitor.as_deref()),
        Ok(false) => {
            let begins = match bytes.len() {
                0 => String::new(),
                _ => format!("; it begins with {}", format::beginning(bytes, 80)),
            };
            let reason = format!("{said}, but {size} does not match /{source}/{begins}");
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MONITOR)]);
            with(Verdict::down(reason), monitor.as_ref().map(|_| &*shown))
        }
        Err(limit) => with(Verdict::down(format!("{said}, but /{source}/: {limit}")), monitor.as_deref()),
    }
}

/// The verdict if the deadline comes before the end of a page or a file: what was received by then counts, as in the
/// original. None if no content has begun.
pub(super) async fn at_the_deadline(
    deadline: Duration,
    receive: Option<&Pattern>,
    progress: &Progress,
) -> Option<Verdict> {
    let content = progress.take_content()?;
    let end = ContentEnd::Late(deadline);
    // Twice the limit: the wait for a thread, then the match. A pattern that is too slow ends by its own limit.
    let judged = timeout(matching::LIMIT * 2, judge(&content, &end, receive, progress)).await;
    Some(judged.unwrap_or_else(|_| {
        let reason = format!("{}: no thread was free to match the pattern", content.said);
        Verdict::unknown(UnknownCause::QueueFull, reason)
    }))
}

fn with(verdict: Verdict, monitor: Option<&str>) -> Verdict {
    match monitor {
        Some(text) => verdict.with_monitor(text),
        None => verdict,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a check begins now")]

    use std::time::Instant;

    use super::*;

    static ONE: ContentPermits =
        ContentPermits { middle: Semaphore::const_new(1), large: Semaphore::const_new(1) };

    fn progress() -> Progress {
        let progress = Progress::new(Instant::now(), "127.0.0.1:21".parse().unwrap());
        progress.begin(PartialContent {
            said: "RETR 150".to_owned(),
            what: "the file",
            ..PartialContent::default()
        });
        progress
    }

    #[tokio::test(start_paused = true)]
    async fn b4_large_contents_of_all_checks_are_bounded_together() {
        let (first, second) = (progress(), progress());
        assert_eq!(keep_within(&ONE, &[b'x'; SMALL], &first).await, Ok(SMALL));
        assert_eq!(
            keep_within(&ONE, &[b'x'; SMALL], &second).await,
            Ok(SMALL),
            "small contents need no permit"
        );
        assert_eq!(keep_within(&ONE, b"x", &first).await, Ok(SMALL + 1));
        assert_eq!(keep_within(&ONE, b"x", &second).await, Err(ContentEnd::NoPlace));
        let content = second.take_content().unwrap();
        let fine = Pattern::parse("fine").unwrap();
        let verdict = judge(&content, &ContentEnd::NoPlace, Some(&fine), &second).await;
        assert!(verdict.is_unknown(), "the server is not at fault: {verdict:?}");
        // The permit is released with the content.
        second.begin(PartialContent::default());
        drop(first.take_content());
        assert_eq!(keep_within(&ONE, &[b'x'; MAX], &second).await, Ok(MAX));
        assert_eq!(keep_within(&ONE, b"x", &second).await, Err(ContentEnd::Cut));
    }
    static FEW: ContentPermits =
        ContentPermits { middle: Semaphore::const_new(1), large: Semaphore::const_new(1) };

    #[tokio::test(start_paused = true)]
    async fn b4_middle_and_large_contents_leave_each_other_room() {
        let (endless, page) = (progress(), progress());
        assert_eq!(keep_within(&FEW, &[b'x'; MIDDLE + 1], &endless).await, Ok(MIDDLE + 1));
        assert_eq!(keep_within(&FEW, &[b'x'; MIDDLE], &page).await, Ok(MIDDLE), "a large content blocks it");
        assert_eq!(keep_within(&FEW, b"x", &page).await, Err(ContentEnd::NoPlace));
        drop(page.take_content());
        // A content that becomes large releases its middle permit.
        let (growing, other) = (progress(), progress());
        drop(endless.take_content());
        assert_eq!(keep_within(&FEW, &[b'x'; MIDDLE], &growing).await, Ok(MIDDLE));
        assert_eq!(keep_within(&FEW, b"x", &growing).await, Ok(MIDDLE + 1));
        assert_eq!(keep_within(&FEW, &[b'x'; MIDDLE], &other).await, Ok(MIDDLE));
    }
}
