//! Catches panics of libraries on a malformed answer: the server is at fault and down. It is not a bug of the check.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::pin::pin;
use std::task::Poll;

use crate::value::Verdict;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs such a library, so that a panic is not reported.
fn is_contained() -> bool {
    INSIDE.get()
}

/// Runs a piece of work of such a library on another thread without reporting a panic. The panic continues in the
/// caller.
pub(super) fn silenced<T>(work: impl FnOnce() -> T) -> T {
    struct Outside;
    impl Drop for Outside {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }
    INSIDE.set(true);
    let _outside = Outside;
    work()
}

/// Installs a panic hook that does not report panics of these libraries, and passes all others to the current hook.
pub fn silence() {
    let report = take_hook();
    set_hook(Box::new(move |panic| {
        if !is_contained() {
            report(panic);
        }
    }));
}

/// The verdict of a check. Down if a library panics on the answer. `what` begins the reason.
pub(super) async fn contain(what: &str, check: impl Future<Output = Verdict>) -> Verdict {
    let mut check = pin!(check);
    poll_fn(|context| {
        INSIDE.set(true);
        let polled = catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(context)));
        INSIDE.set(false);
        polled.unwrap_or_else(|_| {
            Poll::Ready(Verdict::down(format!(
                "{what}: the answer is malformed: the protocol library failed on it"
            )))
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::value::Outcome;

    #[tokio::test]
    async fn c4_contained_panics_are_not_reported() {
        static REPORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            let text = panic.payload_as_str().unwrap_or_default().to_owned();
            REPORTED.lock().unwrap().push(text);
            before(panic);
        }));
        silence();
        contain("ldap 10.0.0.2:389", async { panic!("contained (this test wants it)") }).await;
        assert!(std::thread::spawn(|| panic!("not contained (this test wants it)")).join().is_err());
        let reported = REPORTED.lock().unwrap();
        let times = |text: &str| reported.iter().filter(|line| line.starts_with(text)).count();
        assert_eq!((times("contained ("), times("not contained (")), (0, 1));
    }

    #[tokio::test]
    async fn a_panic_is_a_verdict_and_leaves_no_trace() {
        let verdict = contain("mysql 10.0.0.2:3306", async {
            tokio::task::yield_now().await;
            assert!(is_contained());
            panic!("the library gives up (this test wants it)");
        })
        .await;
        assert_eq!(verdict.outcome, Outcome::Down);
        assert!(verdict.reason.starts_with("mysql 10.0.0.2:3306: the answer is malformed"), "{verdict:?}");
        assert!(!is_contained());
        assert_eq!(contain("x", async { Verdict::up("fine") }).await, Verdict::up("fine"));
        assert!(!is_contained());
    }
}
