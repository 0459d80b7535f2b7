//! The messages that wait for one destination, limited in number and bytes. No I/O, no clock.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::QueueItem;

/// The limit in bytes, in addition to the limit in number.
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A message and the course of its delivery.
#[derive(Clone, Debug)]
pub(super) struct QueuedMessage<M> {
    pub(super) message: M,
    /// When it was first rejected.
    pub(super) rejected_since: Option<Instant>,
    /// The time of the next attempt.
    pub(super) retry_at: Option<Instant>,
}

impl<M> QueuedMessage<M> {
    pub(super) fn new(message: M) -> QueuedMessage<M> {
        QueuedMessage { message, rejected_since: None, retry_at: None }
    }

    /// The same course for a part of the message.
    pub(super) fn part(&self, message: M) -> QueuedMessage<M> {
        QueuedMessage { message, rejected_since: self.rejected_since, retry_at: self.retry_at }
    }
}

/// Messages in the order of their delivery.
#[derive(Debug)]
pub(super) struct Backlog<M> {
    limit: usize,
    ready: VecDeque<QueuedMessage<M>>,
    /// Rejected messages, in the order of their retries.
    retries: VecDeque<QueuedMessage<M>>,
    /// Whether the last entry was a retry.
    was_retry: bool,
    bytes: usize,
    /// Dropped since the last report.
    lost: usize,
    /// Dropped since the start.
    lost_since_start: usize,
    /// Whether the daemon stops.
    pub(super) is_closing: bool,
}

impl<M: QueueItem> Backlog<M> {
    pub(super) fn new(limit: usize) -> Backlog<M> {
        Backlog {
            limit,
            ready: VecDeque::new(),
            retries: VecDeque::new(),
            was_retry: false,
            bytes: 0,
            lost: 0,
            lost_since_start: 0,
            is_closing: false,
        }
    }

    /// Adds a message at the end. Drops the oldest messages if there is no room. Returns whether these are the first
    /// that are dropped since the last report.
    pub(super) fn push(&mut self, message: M) -> bool {
        let lost_before = self.lost;
        while !self.has_room(message.size()) && self.drop_oldest() {}
        self.bytes += message.size();
        self.ready.push_back(QueuedMessage::new(message));
        lost_before == 0 && self.lost > 0
    }

    /// Adds an entry at the front, whatever its size.
    pub(super) fn push_front(&mut self, entry: QueuedMessage<M>) {
        self.bytes += entry.message.size();
        self.ready.push_front(entry);
    }

    /// Adds an entry that is retried later. Such entries have to come in the order of their retries.
    pub(super) fn push_retry(&mut self, entry: QueuedMessage<M>) {
        self.bytes += entry.message.size();
        self.retries.push_back(entry);
    }

    /// Whether another message of this size fits.
    pub(super) fn has_room(&self, size: usize) -> bool {
        self.len() < self.limit && self.bytes + size <= MAX_BYTES
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.retries.pop_front().or_else(|| self.ready.pop_front()) else { return false };
        self.bytes -= oldest.message.size();
        self.count_lost();
        true
    }

    /// Counts a dropped message. Returns whether it is the first since the last report.
    pub(super) fn count_lost(&mut self) -> bool {
        self.lost += 1;
        self.lost_since_start += 1;
        self.lost == 1
    }

    /// The number of messages that were dropped since the last call.
    pub(super) fn take_lost(&mut self) -> usize {
        std::mem::take(&mut self.lost)
    }

    pub(super) fn lost_since_start(&self) -> usize {
        self.lost_since_start
    }

    /// Removes the next entry to deliver. Retries take turns with the others: a slow server that rejects many messages
    /// must not delay a new one. When the daemon stops, all are due.
    pub(super) fn next(&mut self, now: Instant) -> Option<QueuedMessage<M>> {
        let is_due = self.retry_at().is_some_and(|at| at <= now);
        let is_last = self.is_closing && self.ready.is_empty();
        let is_turn = is_due && (!self.was_retry || self.ready.is_empty());
        self.was_retry = is_turn || is_last;
        let next = if self.was_retry { self.retries.pop_front() } else { self.ready.pop_front() }?;
        self.bytes -= next.message.size();
        Some(next)
    }

    /// When the next rejected message is retried.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retries.front().and_then(|entry| entry.retry_at)
    }

    /// Whether no message but rejected ones is left.
    pub(super) fn has_only_retries(&self) -> bool {
        self.ready.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.retries.len()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn titles(&self) -> Vec<&str> {
        self.retries.iter().chain(&self.ready).map(|entry| entry.message.title()).collect()
    }
}
