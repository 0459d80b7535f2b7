//! `/api/v1/events`: the events from now on, as server-sent events.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use hyper::StatusCode;
use hyper::body::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::answer::{HttpResponse, head, stream_of, text};
use crate::control::DaemonAccess;

/// Maximum number of clients that follow events.
pub(super) const FOLLOWERS: usize = 16;
/// Time between two comments, which keep the connection open and find clients that are gone.
const HEARTBEAT: Duration = Duration::from_secs(5);

const CONTENT_TYPE: &str = "text/event-stream";

/// `followers` has one permit for each client.
pub(super) fn answer(access: &DaemonAccess, followers: &Arc<Semaphore>, is_head: bool) -> HttpResponse {
    if is_head {
        return head(CONTENT_TYPE);
    }
    match Arc::clone(followers).try_acquire_owned() {
        Ok(place) => stream_of(CONTENT_TYPE, follow(access.clone(), place)),
        Err(_) => {
            let why =
                format!("{FOLLOWERS} programs follow the events of this daemon already; stop one of them");
            text(StatusCode::SERVICE_UNAVAILABLE, &why)
        }
    }
}

/// A client that follows events.
struct Follower {
    access: DaemonAccess,
    events: Receiver<Arc<str>>,
    heartbeat: Interval,
    _place: OwnedSemaphorePermit,
}

/// The stream of events. It contains every event after this call.
fn follow(access: DaemonAccess, place: OwnedSemaphorePermit) -> impl Stream<Item = io::Result<Bytes>> {
    let events = access.follow();
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let follower = Follower { access, events, heartbeat, _place: place };
    stream::unfold(follower, |mut follower| async {
        let text = follower.next().await?;
        Some((Ok(Bytes::from(text)), follower))
    })
}

impl Follower {
    /// The next event or comment. `None` when the daemon stops.
    async fn next(&mut self) -> Option<String> {
        tokio::select! {
            biased;
            event = self.events.recv() => match event {
                Ok(event) => Some(format!("data: {event}\n\n")),
                Err(RecvError::Lagged(count)) => Some(format!("event: lost\ndata: {{\"lost\":{count}}}\n\n")),
                Err(RecvError::Closed) => None,
            },
            () = self.access.stopping() => None,
            // The first comment comes at once.
            _ = self.heartbeat.tick() => Some(": heartbeat\n\n".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;
    use tokio::time::Instant;

    use super::*;
    use crate::control;
    use crate::report::CounterSource;

    async fn next(stream: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin)) -> String {
        String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap()
    }

    fn place() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the clock is paused")]
    async fn events_and_heartbeats_come_until_the_stop() {
        let (mut inbox, access) = control::access(CounterSource::none());
        let mut stream = pin!(follow(access, place()));
        inbox.publish("{\"event\":\"up\"}");
        assert_eq!(next(&mut stream).await, "data: {\"event\":\"up\"}\n\n");
        let begin = Instant::now();
        for beat in 0..3 {
            assert_eq!(next(&mut stream).await, ": heartbeat\n\n");
            assert_eq!(begin.elapsed().as_secs(), 5 * beat);
        }
        inbox.publish("{}");
        inbox.stop();
        assert_eq!(next(&mut stream).await, "data: {}\n\n");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_client_that_lags_is_told_how_many_it_lost() {
        let (inbox, access) = control::access(CounterSource::none());
        let mut stream = pin!(follow(access, place()));
        for number in 0..5000 {
            inbox.publish(&format!("{{\"n\":{number}}}"));
        }
        assert_eq!(next(&mut stream).await, "event: lost\ndata: {\"lost\":904}\n\n");
        assert_eq!(next(&mut stream).await, "data: {\"n\":904}\n\n");
    }

    #[tokio::test]
    async fn only_some_clients_may_follow() {
        let (inbox, access) = control::access(CounterSource::none());
        let followers = Arc::new(Semaphore::new(1));
        let first = answer(&access, &followers, false);
        assert!(inbox.is_followed());
        assert_eq!(answer(&access, &followers, false).status(), 503);
        assert_eq!(answer(&access, &followers, true).status(), 200);
        drop(first);
        assert!(!inbox.is_followed());
        assert_eq!(answer(&access, &followers, false).status(), 200);
    }
}
