//! Work of libraries that may compute for long between two waits, as the hash of a password whose cost a server chooses: it is done
//! on threads of its own, a few at a time, so that it does not delay the checks of other servers.

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::contain::silenced;
use super::progress::{Progress, Step};

/// The most futures that are polled at a time outside the loop's thread.
static PLACES: Semaphore = Semaphore::const_new(4);

/// Notes that the future wants to be polled again.
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.notify_one();
    }
}

/// What the future gives. It is polled outside the loop's thread only; a panic in it is one in here.
pub(super) async fn polled_aside<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
    progress: &Progress,
) -> T {
    let woken = Arc::new(Woken(Notify::new()));
    let mut future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(future);
    loop {
        let before = progress.swap(Step::Queue);
        // It is never closed.
        let place = PLACES.acquire().await;
        let waker = Waker::from(Arc::clone(&woken));
        let (begun, begins) = oneshot::channel::<()>();
        let polled = spawn_blocking(move || {
            let _place = place;
            drop(begun);
            let polled = silenced(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
            (future, polled)
        });
        // Until a thread is free the director is late, not the server. The channel closes when the work begins.
        let _ = begins.await;
        progress.step(before);
        match polled.await {
            Ok((_, Poll::Ready(result))) => return result,
            Ok((pending, Poll::Pending)) => future = pending,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime ends.
                Err(_) => return poll_fn(|_| Poll::Pending).await,
            },
        }
        woken.0.notified().await;
    }
}
