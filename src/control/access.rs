//! The two ends between the loop and its readers. The control socket and the HTTP listener share one access: requests
//! to the loop, the events, the turns for rendering, and the sign that the daemon stops.

#![expect(clippy::disallowed_methods, reason = "a state is shared for a limited time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::pieces::RenderTurn;
use super::recent::Recent;
use super::request::{LoopRequest, ReplyChannel};
use crate::report::{CounterSource, Scrape, View};

/// Maximum number of requests that wait for the loop. Further ones wait for their turn.
const REQUESTS: usize = 8;
/// Maximum number of events buffered for a slow client before it loses some.
const EVENTS: usize = 4096;

/// A timer of this length makes the runtime look at its sockets.
const LAST_CONNECTION: Duration = Duration::from_millis(10);

/// The end of the readers. A clone reaches the same daemon.
#[derive(Clone, Debug)]
pub struct DaemonAccess {
    requests: mpsc::Sender<LoopRequest>,
    events: broadcast::Sender<Arc<str>>,
    /// One permit: several large answers at once would take the processor from the checks.
    rendering: Arc<Semaphore>,
    views: Arc<Recent<View>>,
    scrapes: Arc<Recent<Scrape>>,
    counters: CounterSource,
    stopping: CancellationToken,
    busy: TaskTracker,
}

/// The end of the loop.
#[derive(Debug)]
pub struct DaemonInbox {
    requests: mpsc::Receiver<LoopRequest>,
    events: broadcast::Sender<Arc<str>>,
    stopping: CancellationToken,
    busy: TaskTracker,
}

/// Creates both ends. `counters` reads connections and traffic of the kernel.
#[must_use]
pub fn access(counters: CounterSource) -> (DaemonInbox, DaemonAccess) {
    let (sender, requests) = mpsc::channel(REQUESTS);
    let (events, _) = broadcast::channel(EVENTS);
    let (stopping, busy) = (CancellationToken::new(), TaskTracker::new());
    let inbox =
        DaemonInbox { requests, events: events.clone(), stopping: stopping.clone(), busy: busy.clone() };
    let access = DaemonAccess {
        requests: sender,
        events,
        rendering: Arc::new(Semaphore::new(1)),
        views: Arc::default(),
        scrapes: Arc::default(),
        counters,
        stopping,
        busy,
    };
    (inbox, access)
}

impl DaemonAccess {
    /// Asks the loop for something to read. `None` if the daemon is stopping.
    pub async fn ask<T>(&self, request: impl FnOnce(ReplyChannel<T>) -> LoopRequest) -> Option<T> {
        tokio::select! {
            biased;
            answer = self.exchange(request) => answer,
            () = self.stopping.cancelled() => None,
        }
    }

    /// Asks the loop for a change. Also waits for the answer while the daemon stops: the change may be done. `None` if
    /// the loop did not get the request.
    pub async fn carry_out<T>(&self, request: impl FnOnce(ReplyChannel<T>) -> LoopRequest) -> Option<T> {
        let answer = self.exchange(request).await;
        self.views.outdate();
        self.scrapes.outdate();
        answer
    }

    async fn exchange<T>(&self, request: impl FnOnce(ReplyChannel<T>) -> LoopRequest) -> Option<T> {
        let (reply, answer) = ReplyChannel::pair();
        self.send(request(reply)).await.then_some(())?;
        answer.await.ok()
    }

    /// Waits for the turn to render the state of all services, and gets it: as it is now, or as another reader that is
    /// not finished got it shortly before. `None` if the daemon is stopping.
    pub async fn view(&self) -> Option<(RenderTurn, Arc<View>)> {
        let turn = self.turn().await;
        let before = match self.views.get(Instant::now()) {
            Ok(view) => return Some((turn, view)),
            Err(before) => before,
        };
        let view = self.ask(LoopRequest::View).await?;
        self.views.add(&view, before, Instant::now());
        Some((turn, view))
    }

    /// As [`DaemonAccess::view`], for metrics.
    pub async fn scrape(&self) -> Option<(RenderTurn, Arc<Scrape>)> {
        let turn = self.turn().await;
        let before = match self.scrapes.get(Instant::now()) {
            Ok(scrape) => return Some((turn, scrape)),
            Err(before) => before,
        };
        let scrape = Arc::new(self.ask(LoopRequest::Metrics).await?);
        self.scrapes.add(&scrape, before, Instant::now());
        Some((turn, scrape))
    }

    /// Sends a request without an answer. False if the daemon is stopping.
    pub async fn send(&self, request: LoopRequest) -> bool {
        self.requests.send(request).await.is_ok()
    }

    /// Reads connections and traffic of the kernel.
    #[must_use]
    pub fn counters(&self) -> CounterSource {
        self.counters.clone()
    }

    /// Follows the events from now on. Each is a JSON object.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<str>> {
        self.events.subscribe()
    }

    /// Waits for the turn to ask for a large answer and to render its first piece.
    async fn turn(&self) -> RenderTurn {
        RenderTurn::wait(Arc::clone(&self.rendering)).await
    }

    /// Waits until the daemon stops.
    pub fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.stopping.cancelled()
    }

    /// Waits until the daemon stops, and then until the runtime has looked at its sockets once more: clients that have
    /// connected before are known by then.
    pub async fn stopping_to_accept(&self) {
        self.stopping_for(LAST_CONNECTION).await;
    }

    /// Waits until the daemon has been stopping for this time.
    pub async fn stopping_for(&self, time: Duration) {
        self.stopping.cancelled().await;
        tokio::time::sleep(time).await;
    }

    /// While the caller keeps this token, a daemon that stops waits for it, up to a limit.
    pub fn busy(&self) -> TaskTrackerToken {
        self.busy.token()
    }
}

impl DaemonInbox {
    /// Waits for the next request. Safe to cancel.
    pub async fn next(&mut self) -> LoopRequest {
        match self.requests.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }

    /// Whether a client follows events.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Sends an event, a JSON object, to all clients that follow events.
    pub fn publish(&self, event: &str) {
        // All clients may be gone.
        let _ = self.events.send(Arc::from(event));
    }

    /// Refuses all requests from now on, also those that wait, and ends the streams of events.
    pub fn stop(&mut self) {
        self.stopping.cancel();
        self.requests.close();
        // A dropped request tells its reader that the daemon is stopping.
        while self.requests.try_recv().is_ok() {}
    }

    /// Waits until every reader with a request has its answer.
    pub async fn finished(&self) {
        self.busy.close();
        self.busy.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_that_wait_at_a_stop_are_answered() {
        let (mut inbox, access) = access(CounterSource::none());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..REQUESTS + 2 {
            let access = access.clone();
            waiting.spawn(async move { access.ask(LoopRequest::Status).await });
        }
        // The loop has this request, and works on it.
        let LoopRequest::Status(reply) = inbox.next().await else { panic!("another request") };
        inbox.stop();
        while let Some(answer) = waiting.join_next().await {
            assert_eq!(answer.unwrap(), None);
        }
        reply.give("too late".to_owned());
        assert_eq!(access.ask(LoopRequest::Status).await, None);
        assert!(!access.send(LoopRequest::Reload).await);
    }

    #[tokio::test]
    async fn a_change_that_is_done_is_answered_during_a_stop() {
        let (mut inbox, access) = access(CounterSource::none());
        let asking = tokio::spawn(async move { access.carry_out(LoopRequest::Status).await });
        let LoopRequest::Status(reply) = inbox.next().await else { panic!("another request") };
        inbox.stop();
        tokio::task::yield_now().await;
        reply.give("done".to_owned());
        assert_eq!(asking.await.unwrap().as_deref(), Some("done"));
    }

    #[tokio::test]
    async fn the_end_waits_for_readers_with_a_request() {
        let (inbox, access) = access(CounterSource::none());
        let token = access.busy();
        assert!(!inbox.is_followed());
        let mut events = access.follow();
        assert!(inbox.is_followed());
        inbox.publish("{}");
        assert_eq!(&*events.recv().await.unwrap(), "{}");
        let waiting = tokio::spawn(async move { inbox.finished().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(token);
        waiting.await.unwrap();
    }
}
