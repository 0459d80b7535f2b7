//! Queues of an outlet, one for each destination: a destination that is down delays neither checks nor the messages of
//! other destinations.
//!
//! A queue is limited in number and bytes, retries with growing pauses, and knows nothing about what it delivers: that
//! is a [`Delivery`]. The queues of an outlet have a runtime of their own, so destinations cost the checks no time.

#![expect(clippy::disallowed_methods, reason = "a queue has its own timers")]

mod backlog;
mod destination;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use destination::DestinationQueue;

/// The threads of an outlet for calls of the system that block, such as name lookups.
const BLOCKING_THREADS: usize = 16;

/// What a queue delivers.
pub trait QueueItem: Clone + Send + 'static {
    /// Its size in the queue in bytes.
    fn size(&self) -> usize;

    /// What it is about, for log lines.
    fn title(&self) -> &str;

    /// Who gets it, for log lines. Empty if the destination is the only recipient.
    fn recipients(&self) -> String {
        String::new()
    }

    /// The same message once for each recipient. A message of fewer than two parts is retried as a whole.
    fn split(&self) -> Vec<Self> {
        Vec::new()
    }
}

/// Delivers messages to one destination, one at a time.
pub trait Delivery: Send + 'static {
    /// What is delivered.
    type Message: QueueItem;

    /// Delivers one message, and returns the parts that were rejected. Limits its own time.
    ///
    /// # Errors
    /// No recipient gets the message; [`DeliveryFailure`] has the reason, and whether a retry makes sense.
    fn deliver(
        &mut self,
        message: &Self::Message,
    ) -> impl Future<Output = Result<Vec<Rejected<Self::Message>>, DeliveryFailure>> + Send;

    /// Whether a session is open, which [`Delivery::close`] ends.
    fn is_open(&self) -> bool {
        false
    }

    /// Ends the session. Called after some idle time and at the end of the queue.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Why a delivery failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// The destination cannot be reached or accepts nothing: all messages wait.
    Closed(String),
    /// The destination rejected this message, perhaps temporarily.
    NotNow(String),
    /// The destination rejected this message for good.
    Never(String),
}

impl DeliveryFailure {
    /// The reason that the destination or the system gave.
    #[must_use]
    pub fn reason(&self) -> &str {
        let (DeliveryFailure::Closed(reason)
        | DeliveryFailure::NotNow(reason)
        | DeliveryFailure::Never(reason)) = self;
        reason
    }
}

/// A part of a message that was rejected: the message for one of its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected<M> {
    /// The part.
    pub message: M,
    /// [`DeliveryFailure::NotNow`] or [`DeliveryFailure::Never`].
    pub failure: DeliveryFailure,
}

/// How the log lines of a queue name its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wording {
    /// The start of a line about a failure: `failed to send email message`.
    pub failed: &'static str,
    /// What recovers: `mail delivery`.
    pub delivery: &'static str,
    /// The destination: `relay mail.example.net port 25`.
    pub destination: String,
    /// The setting that limits the number of messages: `[mail] queue_limit`.
    pub limit: &'static str,
    /// What an operator can do about a destination that accepts nothing.
    pub advice: &'static str,
}

/// The queues of an outlet, by destination.
pub struct Queues<K, M> {
    /// The name of the thread.
    name: &'static str,
    /// Maximum number of messages in each queue.
    limit: usize,
    queues: BTreeMap<K, (Arc<DestinationQueue<M>>, JoinHandle<()>)>,
    /// Created with the first message.
    runtime: Option<Runtime>,
}

impl<K, M> Drop for Queues<K, M> {
    fn drop(&mut self) {
        // A pending name lookup must not delay the end.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl<K: Ord, M: QueueItem> Queues<K, M> {
    /// No queues yet. Each will keep at most `limit` messages. `name`: the name of the thread.
    #[must_use]
    pub fn new(name: &'static str, limit: usize) -> Queues<K, M> {
        Queues { name, limit: limit.max(1), queues: BTreeMap::new(), runtime: None }
    }

    /// Queues a message. Never waits. A full queue drops its oldest message, which is counted and reported. `open`
    /// makes the delivery of a destination that has no queue yet.
    ///
    /// # Errors
    /// The system has no thread left. The message is lost.
    pub fn send<D: Delivery<Message = M>>(
        &mut self,
        destination: K,
        message: M,
        open: impl FnOnce(&K) -> (Wording, D),
    ) -> io::Result<()> {
        let runtime = match &mut self.runtime {
            Some(runtime) => runtime,
            none => none.insert(runtime(self.name)?),
        };
        let limit = self.limit;
        let (queue, _) = self.queues.entry(destination).or_insert_with_key(|destination| {
            let (wording, delivery) = open(destination);
            let queue = Arc::new(DestinationQueue::new(limit, wording));
            let task = runtime.spawn(Arc::clone(&queue).run(delivery));
            (queue, task)
        });
        queue.push(message);
        Ok(())
    }

    /// The number of queued messages, and of those that were dropped since the start.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let counts = self.queues.values().map(|(queue, _)| {
            let backlog = queue.backlog();
            (backlog.len(), backlog.lost_since_start())
        });
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Delivers the queued messages for at most `grace`, then drops and reports the rest.
    pub async fn finish(mut self, grace: Duration) {
        let end = Instant::now() + grace;
        for (queue, _) in self.queues.values() {
            queue.begin_end();
        }
        for (queue, mut task) in std::mem::take(&mut self.queues).into_values() {
            let in_time = tokio::time::timeout_at(end, &mut task).await.is_ok();
            task.abort();
            queue.report_end(in_time);
        }
    }
}

fn runtime(name: &str) -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(name)
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests;
