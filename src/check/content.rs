//! What a page or a file means: it is judged once, at its end, at our limit, or at the deadline.

use std::time::Duration;

use tokio::time::timeout;

use super::progress::{Content, Progress};
use super::{matching, say, spoken};
use crate::value::{MAX_MONITOR, Pattern, UnknownCause, Verdict};

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
