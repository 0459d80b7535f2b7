//! The queue of one destination: delivers, waits, retries, and reports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::backlog::{Backlog, QueuedMessage};
use super::{Delivery, DeliveryFailure, QueueItem, Rejected, Wording};

/// The pause after the first failure of a destination. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause before a rejected message is retried.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(60);
/// How long a rejected message is retried. An older one is useless.
pub(super) const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an idle session is kept open.
const IDLE: Duration = Duration::from_secs(5);

/// The queue of one destination.
#[derive(Debug)]
pub(super) struct DestinationQueue<M> {
    limit: usize,
    wording: Wording,
    backlog: Mutex<Backlog<M>>,
    wake: Notify,
}

/// Whether the destination works.
struct DeliveryState {
    /// The number of delayed messages since delivery began to fail. None while it works.
    delayed: Option<usize>,
    pause: Duration,
}

impl<M: QueueItem> DestinationQueue<M> {
    pub(super) fn new(limit: usize, wording: Wording) -> DestinationQueue<M> {
        let backlog = Mutex::new(Backlog::new(limit));
        DestinationQueue { limit, wording, backlog, wake: Notify::new() }
    }

    pub(super) fn backlog(&self) -> MutexGuard<'_, Backlog<M>> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message. Drops the oldest if the queue is full.
    pub(super) fn push(&self, message: M) {
        let mut backlog = self.backlog();
        let begins_to_drop = backlog.push(message);
        let waiting = backlog.len();
        drop(backlog);
        if begins_to_drop {
            self.report_full(waiting);
        }
        self.wake.notify_one();
    }

    /// Makes [`DestinationQueue::run`] end when all messages are delivered, or the destination accepts none.
    pub(super) fn begin_end(&self) {
        self.backlog().is_closing = true;
        self.wake.notify_one();
    }

    /// Delivers messages until the end.
    pub(super) async fn run<D: Delivery<Message = M>>(self: Arc<Self>, mut delivery: D) {
        let mut course = DeliveryState { delayed: None, pause: FIRST_PAUSE };
        while let Some(entry) = self.next(&mut delivery).await {
            let result = delivery.deliver(&entry.message).await;
            if let Err(DeliveryFailure::Closed(_)) = result
                && self.gives_up(&entry)
            {
                return;
            }
            self.after_attempt(entry, result, &mut course).await;
        }
        delivery.close().await;
    }

    /// Whether the daemon stops: then a destination that accepts nothing is not tried again. Puts the message back, to
    /// count it as undelivered.
    fn gives_up(&self, entry: &QueuedMessage<M>) -> bool {
        let mut backlog = self.backlog();
        if backlog.is_closing {
            backlog.push_front(entry.clone());
        }
        backlog.is_closing
    }

    /// Waits for the next message to deliver. None when the daemon stops.
    async fn next(&self, delivery: &mut impl Delivery<Message = M>) -> Option<QueuedMessage<M>> {
        loop {
            let (next, is_closing, retry_at) = {
                let mut backlog = self.backlog();
                (backlog.next(Instant::now()), backlog.is_closing, backlog.retry_at())
            };
            if next.is_some() || is_closing {
                return next;
            }
            let retry = async {
                match retry_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = retry => {}
                () = tokio::time::sleep(IDLE), if delivery.is_open() => delivery.close().await,
            }
        }
    }

    async fn after_attempt(
        &self,
        entry: QueuedMessage<M>,
        result: Result<Vec<Rejected<M>>, DeliveryFailure>,
        course: &mut DeliveryState,
    ) {
        match result {
            Ok(rejected) => {
                course.pause = FIRST_PAUSE;
                if let Some(delayed) = &mut course.delayed {
                    *delayed += 1;
                }
                for Rejected { message, failure } in rejected {
                    self.keep(entry.part(message), failure);
                }
                if self.backlog().has_only_retries() {
                    self.report_recovery(course.delayed.take());
                }
            }
            Err(failure @ DeliveryFailure::Closed(_)) => {
                if course.delayed.is_none() {
                    self.report_closed(failure.reason());
                }
                course.delayed.get_or_insert(0);
                self.keep(entry, failure);
                self.pause(course.pause).await;
                course.pause = (course.pause * 2).min(LONGEST_PAUSE);
            }
            Err(failure) => {
                // The destination answers again. The first delivered message is the recovery.
                course.pause = FIRST_PAUSE;
                // One bad recipient must not keep the message from the others.
                let parts = entry.message.split();
                if parts.len() < 2 {
                    return self.keep(entry, failure);
                }
                let mut backlog = self.backlog();
                for part in parts.into_iter().rev() {
                    backlog.push_front(entry.part(part));
                }
            }
        }
    }

    /// Puts a message back into the queue, unless the queue is full or the message has been retried for too long. If
    /// all messages have to wait, it goes to the front; a rejected message is retried later and does not delay the
    /// others.
    fn keep(&self, mut entry: QueuedMessage<M>, failure: DeliveryFailure) {
        if let DeliveryFailure::Never(reason) = &failure {
            self.report_dropped(&entry.message, reason);
            return;
        }
        let mut backlog = self.backlog();
        if backlog.is_closing {
            backlog.count_lost();
            drop(backlog);
            let (failed, title) = (self.wording.failed, entry.message.title());
            warn!("{failed}: dropped, the daemon stops: {title}: {}", failure.reason());
            return;
        }
        if !backlog.has_room(entry.message.size()) {
            let (is_first, waiting) = (backlog.count_lost(), backlog.len());
            drop(backlog);
            if is_first {
                self.report_full(waiting);
            }
            return;
        }
        let DeliveryFailure::NotNow(reason) = failure else {
            backlog.push_front(entry);
            return;
        };
        let now = Instant::now();
        let is_first = entry.rejected_since.is_none();
        if now - *entry.rejected_since.get_or_insert(now) >= PATIENCE {
            drop(backlog);
            self.report_dropped(&entry.message, &format!("rejected for 24 hours: {reason}"));
            return;
        }
        entry.retry_at = Some(now + RETRY_PAUSE);
        let failed = self.failed_for(&entry.message);
        backlog.push_retry(entry);
        drop(backlog);
        if is_first {
            warn!("{failed}: {reason}; retried for 24 hours");
        }
    }

    /// Waits, unless the daemon stops.
    async fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.backlog().is_closing {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = self.wake.notified() => {}
            }
        }
    }

    /// The start of a line about one message: `failed to send email message to a@example.net (/usr/sbin/sendmail)`.
    fn failed_for(&self, message: &M) -> String {
        let Wording { failed, destination, .. } = &self.wording;
        match message.recipients() {
            recipients if recipients.is_empty() => format!("{failed} ({destination})"),
            recipients => format!("{failed} to {recipients} ({destination})"),
        }
    }

    fn report_full(&self, waiting: usize) {
        let Wording { failed, destination, limit, .. } = &self.wording;
        error!(
            "{failed} ({destination}): the queue is full ({waiting} messages, see {limit}); the oldest are dropped from now on"
        );
    }

    fn report_dropped(&self, message: &M, reason: &str) {
        error!("{}: {reason}; dropped: {}", self.failed_for(message), message.title());
    }

    fn report_closed(&self, reason: &str) {
        let Wording { failed, destination, advice, .. } = &self.wording;
        error!(
            "{failed} ({destination}): {reason}; up to {} messages are queued and retried, and a recovery is logged; {advice}",
            self.limit
        );
    }

    fn report_recovery(&self, delayed: Option<usize>) {
        let Wording { failed, destination, delivery, .. } = &self.wording;
        let lost = self.backlog().take_lost();
        if let Some(delayed) = delayed {
            info!("{delivery} recovered ({destination}): {delayed} delayed, {lost} lost");
        } else if lost > 0 {
            warn!("{failed} ({destination}): {lost} messages lost because the queue was full");
        }
    }

    /// Reports the messages that were not delivered before the daemon stopped.
    pub(super) fn report_end(&self, in_time: bool) {
        let Wording { failed, destination, .. } = &self.wording;
        let backlog = self.backlog();
        // One message was being delivered when the time was over.
        let left = backlog.len() + usize::from(!in_time);
        let lost = backlog.lost_since_start();
        drop(backlog);
        if left > 0 {
            warn!("{failed}: {left} messages dropped, not sent before the daemon stopped");
        }
        if lost > 0 {
            warn!("{failed} ({destination}): {lost} messages lost since the daemon started");
        }
    }
}
