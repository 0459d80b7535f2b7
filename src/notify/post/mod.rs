//! Mail queues, one for each relay: a relay that is down delays neither checks nor the mail of other relays.
//!
//! They have their own runtime, so relays cost the checks no time.

#![expect(clippy::disallowed_methods, reason = "a queue has its own timers")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::parcel::{Failure, Parcel, Refusal};
use super::way::{Way, place};
use crate::settings;
use crate::value::Relay;

/// The pause of a queue after the first failure. It doubles with each further failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest pause of a queue.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// The pause before a rejected message is retried.
const REFUSED_RETRY: Duration = Duration::from_secs(60);
/// How long a rejected message is retried. An older alert is useless.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an idle session is kept open.
const IDLE: Duration = Duration::from_secs(5);
/// The limit of a queue in bytes, in addition to `[mail] queue`.
const QUEUE_LIMIT: usize = 16 * 1024 * 1024;

/// The queues of all relays and of sendmail.
#[derive(Debug)]
pub struct Post {
    settings: Arc<settings::Mail>,
    /// False in a dry run.
    sends: bool,
    lanes: BTreeMap<Option<Relay>, (Arc<Lane>, JoinHandle<()>)>,
    /// Created with the first message.
    runtime: Option<Runtime>,
}

impl Drop for Post {
    fn drop(&mut self) {
        // A pending name lookup must not delay the end.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Post {
    /// No queues yet. Without `sends` each message is only logged.
    #[must_use]
    pub fn new(settings: settings::Mail, sends: bool) -> Post {
        Post { settings: Arc::new(settings), sends, lanes: BTreeMap::new(), runtime: None }
    }

    /// Queues a message; never waits. A full queue drops its oldest message, which is counted and reported.
    pub fn send(&mut self, relay: Option<Relay>, parcel: Parcel) {
        if !self.sends {
            let (to, place) = (parcel.recipients().join(", "), place(relay.as_ref(), &self.settings));
            info!("would mail to {to} ({place}): {}", parcel.subject);
            return;
        }
        if self.runtime.is_none() {
            let built = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(16)
                .thread_name("mail")
                .enable_all()
                .build();
            match built {
                Ok(runtime) => self.runtime = Some(runtime),
                Err(error) => {
                    error!("failed to send email message: no thread for mail: {error}: {}", parcel.subject);
                    return;
                }
            }
        }
        let Some(runtime) = &self.runtime else { return };
        let (lane, _) = self.lanes.entry(relay).or_insert_with_key(|relay| {
            let lane = Arc::new(Lane::new(relay.clone(), Arc::clone(&self.settings)));
            let task = runtime.spawn(Arc::clone(&lane).run());
            (lane, task)
        });
        lane.push(parcel);
    }

    /// Sends the queued messages for at most `grace`, then drops and reports the rest.
    pub async fn finish(mut self, grace: Duration) {
        let end = Instant::now() + grace;
        for (lane, _) in self.lanes.values() {
            lane.queue().closing = true;
            lane.wake.notify_one();
        }
        for (lane, mut task) in std::mem::take(&mut self.lanes).into_values() {
            let in_time = tokio::time::timeout_at(end, &mut task).await.is_ok();
            task.abort();
            lane.say_end(in_time);
        }
    }
}

/// The queue of one relay, or of sendmail.
#[derive(Debug)]
struct Lane {
    relay: Option<Relay>,
    settings: Arc<settings::Mail>,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Parcel>,
    /// Rejected messages, in the order of their retries.
    later: VecDeque<Parcel>,
    bytes: usize,
    /// Dropped since the last report.
    lost: usize,
    /// Dropped since the start.
    lost_in_all: usize,
    closing: bool,
}

impl Queue {
    /// Whether another message of this size fits.
    fn has_room(&self, size: usize, most: usize) -> bool {
        self.letters.len() + self.later.len() < most && self.bytes + size <= QUEUE_LIMIT
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.later.pop_front().or_else(|| self.letters.pop_front()) else { return false };
        self.bytes -= oldest.size();
        self.lose();
        true
    }

    fn lose(&mut self) {
        self.lost += 1;
        self.lost_in_all += 1;
    }

    /// The next message to send. When the daemon stops all are due.
    fn next(&mut self, now: Instant) -> Option<Parcel> {
        let is_due = |parcel: &Parcel| parcel.again_at.is_none_or(|at| at <= now);
        let due = self.later.front().is_some_and(is_due) || (self.closing && self.letters.is_empty());
        let next = if due { self.later.pop_front() } else { self.letters.pop_front() }?;
        self.bytes -= next.size();
        Some(next)
    }

    fn len(&self) -> usize {
        self.letters.len() + self.later.len()
    }
}

/// The delivery state of a queue.
struct Course {
    /// The number of delayed messages since delivery began to fail; none while it works.
    trouble: Option<usize>,
    wait: Duration,
}

impl Lane {
    fn new(relay: Option<Relay>, settings: Arc<settings::Mail>) -> Lane {
        Lane { relay, settings, queue: Mutex::default(), wake: Notify::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn most(&self) -> usize {
        self.settings.queue.max(1)
    }

    fn push(&self, parcel: Parcel) {
        let mut queue = self.queue();
        let lost_before = queue.lost;
        while !queue.has_room(parcel.size(), self.most()) && queue.drop_oldest() {}
        queue.bytes += parcel.size();
        queue.letters.push_back(parcel);
        let begins = lost_before == 0 && queue.lost > 0;
        let waiting = queue.len();
        drop(queue);
        if begins {
            error!(
                "{} ({}): the queue is full ({waiting} messages, see [mail] queue); the oldest are dropped from now on",
                self.words(),
                self.place()
            );
        }
        self.wake.notify_one();
    }

    /// The start of the log line for a failure: the original's words.
    fn words(&self) -> &'static str {
        match self.relay {
            Some(_) => "failed to send SMTP email message",
            None => "failed to send email message",
        }
    }

    fn place(&self) -> String {
        place(self.relay.as_ref(), &self.settings)
    }

    async fn run(self: Arc<Lane>) {
        let mut way = Way::new(self.relay.clone(), Arc::clone(&self.settings));
        let mut course = Course { trouble: None, wait: FIRST_RETRY };
        while let Some(parcel) = self.next(&mut way).await {
            let result = way.deliver(&parcel).await;
            if let Err(Failure::Closed(_)) = result
                && self.give_up(&parcel)
            {
                return;
            }
            self.follow_up(parcel, result, &mut course).await;
        }
        way.close().await;
    }

    /// Whether the daemon stops: then a relay that accepts nothing is not tried again. Puts the message back, to count
    /// it as unsent.
    fn give_up(&self, parcel: &Parcel) -> bool {
        let mut queue = self.queue();
        if queue.closing {
            queue.bytes += parcel.size();
            queue.letters.push_front(parcel.clone());
        }
        queue.closing
    }

    /// Waits for the next message to send; none when the daemon stops.
    async fn next(&self, way: &mut Way) -> Option<Parcel> {
        loop {
            let (next, closing, again_at) = {
                let mut queue = self.queue();
                let next = queue.next(Instant::now());
                (next, queue.closing, queue.later.front().and_then(|parcel| parcel.again_at))
            };
            if next.is_some() || closing {
                return next;
            }
            let again_at = async {
                match again_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = again_at => {}
                () = tokio::time::sleep(IDLE), if way.is_open() => way.close().await,
            }
        }
    }

    async fn follow_up(&self, parcel: Parcel, result: Result<Vec<Refusal>, Failure>, course: &mut Course) {
        match result {
            Ok(refused) => {
                course.wait = FIRST_RETRY;
                if let Some(late) = &mut course.trouble {
                    *late += 1;
                }
                for Refusal { to, failure } in refused {
                    if let Some(one) = parcel.to(&to) {
                        self.keep(one, failure);
                    }
                }
                if self.queue().letters.is_empty() {
                    self.say_recovery(course.trouble.take());
                }
            }
            // One bad recipient must not keep the message from the others.
            Err(Failure::Never(_) | Failure::NotTaken(_)) if parcel.envelope().to().len() > 1 => {
                let mut queue = self.queue();
                for one in parcel.split().into_iter().rev() {
                    queue.bytes += one.size();
                    queue.letters.push_front(one);
                }
            }
            Err(failure @ (Failure::Never(_) | Failure::NotTaken(_))) => self.keep(parcel, failure),
            Err(failure @ Failure::Closed(_)) => {
                if course.trouble.is_none() {
                    self.say_trouble(failure.reason());
                }
                course.trouble.get_or_insert(0);
                self.keep(parcel, failure);
                self.pause(course.wait).await;
                course.wait = (course.wait * 2).min(LONGEST_RETRY);
            }
        }
    }

    fn say_refusal(&self, parcel: &Parcel, reason: &str) {
        let to = parcel.recipients().join(", ");
        error!("{} to {to} ({}): {reason}; dropped: {}", self.words(), self.place(), parcel.subject);
    }

    /// Puts a message back into the queue, unless the queue is full or the message has been retried for too long. If
    /// all messages have to wait, it goes to the front; a rejected message is retried later and does not delay the
    /// others.
    fn keep(&self, mut parcel: Parcel, failure: Failure) {
        if let Failure::Never(reason) = &failure {
            self.say_refusal(&parcel, reason);
            return;
        }
        let mut queue = self.queue();
        if queue.closing {
            queue.lose();
            drop(queue);
            warn!("{}: dropped, the daemon stops: {}: {}", self.words(), parcel.subject, failure.reason());
            return;
        }
        if !queue.has_room(parcel.size(), self.most()) {
            queue.lose();
            return;
        }
        let Failure::NotTaken(reason) = failure else {
            queue.bytes += parcel.size();
            queue.letters.push_front(parcel);
            return;
        };
        let now = Instant::now();
        let first = parcel.refused_since.is_none();
        if now - *parcel.refused_since.get_or_insert(now) >= PATIENCE {
            drop(queue);
            self.say_refusal(&parcel, &format!("rejected for 24 hours: {reason}"));
            return;
        }
        parcel.again_at = Some(now + REFUSED_RETRY);
        let to = parcel.recipients().join(", ");
        queue.bytes += parcel.size();
        queue.later.push_back(parcel);
        drop(queue);
        if first {
            warn!("{} to {to} ({}): {reason}; retried for 24 hours", self.words(), self.place());
        }
    }

    /// Waits, unless the daemon stops.
    async fn pause(&self, wait: Duration) {
        let end = Instant::now() + wait;
        while !self.queue().closing {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = self.wake.notified() => {}
            }
        }
    }

    fn say_trouble(&self, reason: &str) {
        error!(
            "{} ({}): {reason}; up to {} messages are queued and retried, and a recovery is logged; see the section [mail] of \
             the settings, and try: ldirectord-rs alert-test",
            self.words(),
            self.place(),
            self.settings.queue
        );
    }

    fn say_recovery(&self, trouble: Option<usize>) {
        let lost = std::mem::take(&mut self.queue().lost);
        if let Some(late) = trouble {
            info!("mail delivery recovered ({}): {late} delayed, {lost} lost", self.place());
        } else if lost > 0 {
            warn!("{} ({}): {lost} messages lost because the queue was full", self.words(), self.place());
        }
    }

    /// Reports the messages that were not sent before the daemon stopped.
    fn say_end(&self, in_time: bool) {
        let queue = self.queue();
        // One message was being sent when the time was over.
        let left = queue.len() + usize::from(!in_time);
        let lost = queue.lost_in_all;
        drop(queue);
        if left > 0 {
            warn!("{}: {left} messages dropped, not sent before the daemon stopped", self.words());
        }
        if lost > 0 {
            warn!("{} ({}): {lost} messages lost since the daemon started", self.words(), self.place());
        }
    }
}

#[cfg(test)]
mod tests;
