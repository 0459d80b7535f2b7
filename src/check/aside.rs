//! Runs library code that may compute for long without yielding, such as a password hash whose cost the server chooses.
//! It runs on separate threads, a few at a time, so that it does not delay the checks of other servers.

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use super::catch_panic::silenced;
use super::progress::Progress;

/// The most futures that are polled outside the loop's thread at the same time.
static PLACES: Semaphore = Semaphore::const_new(4);

/// Records that the future wants to be polled again.
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.notify_one();
    }
}

/// Starts work on a separate thread as soon as a permit and a thread are free.
pub(super) async fn begin<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    begin_made(places, || work).await
}

/// The same for work that needs memory: `make` creates it only when a permit is free.
pub(super) async fn begin_made<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
    places: &'static Semaphore,
    make: impl FnOnce() -> W,
) -> JoinHandle<T> {
    // The semaphore is never closed.
    let place = places.acquire().await;
    let work = make();
    let (begun, begins) = oneshot::channel::<()>();
    let work = spawn_blocking(move || {
        let _place = place;
        drop(begun);
        work()
    });
    // The channel closes when the work begins.
    let _ = begins.await;
    work
}

/// Awaits a future that is polled only outside the loop's thread. A panic in it is passed on to the caller.
pub(super) async fn polled_aside<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
    progress: &Progress,
) -> T {
    let woken = Arc::new(Woken(Notify::new()));
    let mut future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(future);
    loop {
        let waker = Waker::from(Arc::clone(&woken));
        let begun = progress.queued(begin(&PLACES, move || {
            let polled = silenced(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
            (future, polled)
        }));
        match begun.await.await {
            Ok((_, Poll::Ready(result))) => return result,
            Ok((pending, Poll::Pending)) => future = pending,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime shuts down.
                Err(_) => return poll_fn(|_| Poll::Pending).await,
            },
        }
        woken.0.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    static PLACE: Semaphore = Semaphore::const_new(0);

    #[tokio::test]
    async fn b4_work_takes_no_memory_before_it_has_a_place() {
        let made = Cell::new(false);
        let make = || {
            made.set(true);
            || 7
        };
        let mut begun = pin!(begin_made(&PLACE, make));
        assert!(begun.as_mut().now_or_never().is_none());
        assert!(!made.get());
        PLACE.add_permits(1);
        assert_eq!((begun.await.await.unwrap(), made.get()), (7, true));
    }
}
