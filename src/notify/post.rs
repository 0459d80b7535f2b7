//! Brings letters on their way: a lane for each relay, so that a dead one delays neither checks nor the mail of others.
//!
//! All of it runs in a runtime of its own: whatever a relay sends costs the checks no time.

#![expect(
    clippy::disallowed_methods,
    reason = "a lane waits by the clock; what is due when is told to it by nobody"
)]

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

/// After a failure a lane waits so long, then twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A lane waits so long at most.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// After so long a letter that was not taken, while the place works, is tried again.
const REFUSED_RETRY: Duration = Duration::from_secs(60);
/// A letter that is not taken, while the place works, is tried so long: an alert that is older helps nobody.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a session without a message is kept open.
const IDLE: Duration = Duration::from_secs(5);
/// Bytes of letters that wait in a lane, whatever `[mail] queue` says.
const QUEUE_LIMIT: usize = 16 * 1024 * 1024;

/// All lanes.
#[derive(Debug)]
pub struct Post {
    settings: Arc<settings::Mail>,
    /// False in a dry run.
    sends: bool,
    lanes: BTreeMap<Option<Relay>, (Arc<Lane>, JoinHandle<()>)>,
    /// Made for the first letter.
    runtime: Option<Runtime>,
}

impl Drop for Post {
    fn drop(&mut self) {
        // A name that is still looked up must not delay the end.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Post {
    /// No lane yet. Unless it `sends`, each message is only logged.
    #[must_use]
    pub fn new(settings: settings::Mail, sends: bool) -> Post {
        Post { settings: Arc::new(settings), sends, lanes: BTreeMap::new(), runtime: None }
    }

    /// Takes a letter over; never waits. When the lane is full its oldest letter is lost, which is counted and said.
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

    /// Tries what is left for so long at most, then gives it up and says so.
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

/// The letters for one relay.
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
    /// Those that were not taken, in the order in which they are tried again.
    later: VecDeque<Parcel>,
    bytes: usize,
    /// Dropped since the last report of it.
    lost: usize,
    /// Dropped since the start.
    lost_in_all: usize,
    closing: bool,
}

impl Queue {
    /// Whether another letter of this size fits.
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

    /// The next letter to try. At the end of the daemon all are due.
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

/// How a lane fares.
struct Course {
    /// How many letters were late since the lane is in trouble.
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
                "{} ({}): {waiting} messages wait, which is all that [mail] queue allows; the oldest are dropped from now on",
                self.words(),
                self.place()
            );
        }
        self.wake.notify_one();
    }

    /// The original's words for a failure.
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

    /// Whether the daemon ends: then a place that takes nothing is not tried again. The letter counts with those that are left.
    fn give_up(&self, parcel: &Parcel) -> bool {
        let mut queue = self.queue();
        if queue.closing {
            queue.bytes += parcel.size();
            queue.letters.push_front(parcel.clone());
        }
        queue.closing
    }

    /// The next letter, when there is one to try; none at the end of the daemon.
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
            // One bad recipient must not keep the letter from the others.
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
        error!(
            "{} to {to} ({}): {reason}; it is not tried again: {}",
            self.words(),
            self.place(),
            parcel.subject
        );
    }

    /// Back into the queue, unless newer letters have taken the room or it was tried for long: to the front where all have to wait,
    /// else among those that are tried later, so that it does not hold up the others.
    fn keep(&self, mut parcel: Parcel, failure: Failure) {
        if let Failure::Never(reason) = &failure {
            self.say_refusal(&parcel, reason);
            return;
        }
        let mut queue = self.queue();
        if queue.closing {
            queue.lose();
            drop(queue);
            warn!("{}: given up at the end: {}: {}", self.words(), parcel.subject, failure.reason());
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
            self.say_refusal(&parcel, &format!("not taken for a day: {reason}"));
            return;
        }
        parcel.again_at = Some(now + REFUSED_RETRY);
        let to = parcel.recipients().join(", ");
        queue.bytes += parcel.size();
        queue.later.push_back(parcel);
        drop(queue);
        if first {
            warn!("{} to {to} ({}): {reason}; it is tried again for a day", self.words(), self.place());
        }
    }

    /// Waits, but not at the end of the daemon.
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
            "{} ({}): {reason}; up to {} letters are kept and tried again, said again when they go; see the section [mail] of \
             the settings, and try: ldirectord-rs alert-test",
            self.words(),
            self.place(),
            self.settings.queue
        );
    }

    fn say_recovery(&self, trouble: Option<usize>) {
        let lost = std::mem::take(&mut self.queue().lost);
        if let Some(late) = trouble {
            info!("email messages go again ({}): {late} late, {lost} lost", self.place());
        } else if lost > 0 {
            warn!("{} ({}): {lost} lost, as too many came at once", self.words(), self.place());
        }
    }

    /// What did not go until the end of the daemon.
    fn say_end(&self, in_time: bool) {
        let queue = self.queue();
        // One was on its way when the time was over.
        let left = queue.len() + usize::from(!in_time);
        let lost = queue.lost_in_all;
        drop(queue);
        if left > 0 {
            warn!("{}: {left} not sent before the end, and given up", self.words());
        }
        if lost > 0 {
            warn!("{} ({}): {lost} lost since the start of the daemon", self.words(), self.place());
        }
    }
}

#[cfg(test)]
mod tests;
