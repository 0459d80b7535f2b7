//! What a page or a file means: it is judged once, at its end, at our limit, or at the deadline.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::progress::{Content, Progress};
use super::say::spoken;
use super::{matching, say};
use crate::value::{MAX_MONITOR, Pattern, UnknownCause, Verdict};

/// Bytes of a page or a file that are read and judged, at most.
pub(super) const MAX: usize = 1024 * 1024;

/// The largest content in bytes that needs no place.
const SMALL: usize = 16 * 1024;

/// The largest content in bytes that needs a place among the middle ones only.
const MIDDLE: usize = 128 * 1024;

/// Contents above [`SMALL`] that are in memory at the same time, in all checks: 40 MiB. Servers that send a little more than that and
/// never come to an end leave room for those that send much, and the other way round.
struct Places {
    middle: Semaphore,
    large: Semaphore,
}

static PLACES: Places = Places { middle: Semaphore::const_new(128), large: Semaphore::const_new(24) };

impl Places {
    /// Those that a content of this size needs one of, with their rank.
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

/// How long one waits for its place; after that its check is unknown.
const PLACE_WAIT: Duration = Duration::from_millis(500);

/// How a page or a file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As announced.
    Whole,
    /// At our limit.
    Cut,
    /// Before its end, and why.
    Broken(String),
    /// There was no place for the rest of it.
    NoPlace,
    /// Not before the deadline.
    Late(Duration),
}

/// Keeps what came of a page or a file, and gives how many bytes are here now.
///
/// # Errors
/// The end of it, at our limit or where all places for large ones stay taken.
pub(super) async fn keep(data: &[u8], progress: &Progress) -> Result<usize, End> {
    keep_within(&PLACES, data, progress).await
}

async fn keep_within(places: &'static Places, data: &[u8], progress: &Progress) -> Result<usize, End> {
    let before = progress.more(&[]);
    if let (rank, Some(places_of_rank)) = places.of(before + data.len())
        && rank > places.of(before).0
    {
        let place = progress.queued(timeout(PLACE_WAIT, places_of_rank.acquire())).await;
        progress.hold(place.ok().and_then(Result::ok).ok_or(End::NoPlace)?);
    }
    let room = MAX - before;
    let size = progress.more(&data[..data.len().min(room)]);
    if data.len() > room { Err(End::Cut) } else { Ok(size) }
}

/// The verdict for what came.
pub(super) async fn judge(
    content: &Content,
    end: &End,
    receive: Option<&Pattern>,
    progress: &Progress,
) -> Verdict {
    let Content { said, what, monitor, bytes, .. } = content;
    let Some(pattern) = receive else { return with(Verdict::up(said.as_str()), monitor.as_deref()) };
    let size = say::count(bytes.len() as u64, "byte");
    let size = match end {
        End::NoPlace => {
            let reason = format!(
                "{said}, and {size} of {what}, but no memory for more: too many large bodies at once"
            );
            return Verdict::unknown(UnknownCause::QueueFull, reason);
        }
        End::Whole => format!("{what} ({size})"),
        End::Cut => format!("the first {size} of {what}"),
        End::Broken(why) => format!("{what} ({size}, then {why})"),
        End::Late(deadline) => format!("{what} ({size}, no end within {})", spoken(*deadline)),
    };
    let source = pattern.source();
    match matching::is_match(pattern, bytes, progress).await {
        Ok(true) => with(Verdict::up(format!("{said}, and {size} matches /{source}/")), monitor.as_deref()),
        Ok(false) => {
            let begins = match bytes.len() {
                0 => String::new(),
                _ => format!("; it begins with {}", say::beginning(bytes, 80)),
            };
            let reason = format!("{said}, but {size} does not match /{source}/{begins}");
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MONITOR)]);
            with(Verdict::down(reason), monitor.as_ref().map(|_| &*shown))
        }
        Err(limit) => with(Verdict::down(format!("{said}, but /{source}/: {limit}")), monitor.as_deref()),
    }
}

/// The verdict when the deadline comes before the end of a page or a file: what came by then counts, as in the original. None where
/// nothing has begun.
pub(super) async fn at_the_deadline(
    deadline: Duration,
    receive: Option<&Pattern>,
    progress: &Progress,
) -> Option<Verdict> {
    let content = progress.take_content()?;
    let end = End::Late(deadline);
    // First a thread for the pattern is waited for, then its answer. A pattern that is too slow ends by its own limit.
    let judged = timeout(matching::LIMIT * 2, judge(&content, &end, receive, progress)).await;
    Some(judged.unwrap_or_else(|_| {
        let reason = format!("{}: no thread was free to match a pattern", content.said);
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

    static ONE: Places = Places { middle: Semaphore::const_new(1), large: Semaphore::const_new(1) };

    fn progress() -> Progress {
        let progress = Progress::new(Instant::now(), "127.0.0.1:21".parse().unwrap());
        progress.begin(Content { said: "RETR 150".to_owned(), what: "the file", ..Content::default() });
        progress
    }

    #[tokio::test(start_paused = true)]
    async fn b4_large_contents_of_all_checks_are_bounded_together() {
        let (first, second) = (progress(), progress());
        assert_eq!(keep_within(&ONE, &[b'x'; SMALL], &first).await, Ok(SMALL));
        assert_eq!(keep_within(&ONE, &[b'x'; SMALL], &second).await, Ok(SMALL), "small ones need no place");
        assert_eq!(keep_within(&ONE, b"x", &first).await, Ok(SMALL + 1));
        assert_eq!(keep_within(&ONE, b"x", &second).await, Err(End::NoPlace));
        let content = second.take_content().unwrap();
        let fine = Pattern::parse("fine").unwrap();
        let verdict = judge(&content, &End::NoPlace, Some(&fine), &second).await;
        assert!(verdict.is_unknown(), "not the fault of its server: {verdict:?}");
        // The place is free with the content.
        second.begin(Content::default());
        drop(first.take_content());
        assert_eq!(keep_within(&ONE, &[b'x'; MAX], &second).await, Ok(MAX));
        assert_eq!(keep_within(&ONE, b"x", &second).await, Err(End::Cut));
    }
    static FEW: Places = Places { middle: Semaphore::const_new(1), large: Semaphore::const_new(1) };

    #[tokio::test(start_paused = true)]
    async fn b4_middle_and_large_contents_leave_each_other_room() {
        let (endless, page) = (progress(), progress());
        assert_eq!(keep_within(&FEW, &[b'x'; MIDDLE + 1], &endless).await, Ok(MIDDLE + 1));
        assert_eq!(keep_within(&FEW, &[b'x'; MIDDLE], &page).await, Ok(MIDDLE), "large ones hold it up");
        assert_eq!(keep_within(&FEW, b"x", &page).await, Err(End::NoPlace));
        drop(page.take_content());
        // One that becomes large gives its place among the middle ones back.
        let (growing, other) = (progress(), progress());
        drop(endless.take_content());
        assert_eq!(keep_within(&FEW, &[b'x'; MIDDLE], &growing).await, Ok(MIDDLE));
        assert_eq!(keep_within(&FEW, b"x", &growing).await, Ok(MIDDLE + 1));
        assert_eq!(keep_within(&FEW, &[b'x'; MIDDLE], &other).await, Ok(MIDDLE));
    }
}
