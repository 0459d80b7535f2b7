//! Libraries that give up on a broken answer by a panic: that is the server's fault, and its verdict, not a bug of the check.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::value::Verdict;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside such a library: then a panic is nothing to report.
#[must_use]
pub fn is_contained() -> bool {
    INSIDE.get()
}

/// The verdict of a check; down when a library could not understand the answer. `what` begins the reason.
pub(super) async fn contain(what: &str, check: impl Future<Output = Verdict>) -> Verdict {
    let mut check = pin!(check);
    poll_fn(|context| {
        INSIDE.set(true);
        let polled = catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(context)));
        INSIDE.set(false);
        polled.unwrap_or_else(|_| {
            Poll::Ready(Verdict::down(format!("{what}: the answer is broken in a way that cannot be read")))
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Outcome;

    #[tokio::test]
    async fn a_panic_is_a_verdict_and_leaves_no_trace() {
        let verdict = contain("mysql 10.0.0.2:3306", async {
            tokio::task::yield_now().await;
            assert!(is_contained());
            panic!("the library gives up (this test wants it)");
        })
        .await;
        assert_eq!(verdict.outcome, Outcome::Down);
        assert!(verdict.reason.starts_with("mysql 10.0.0.2:3306: the answer is broken"), "{verdict:?}");
        assert!(!is_contained());
        assert_eq!(contain("x", async { Verdict::up("fine") }).await, Verdict::up("fine"));
        assert!(!is_contained());
    }
}
