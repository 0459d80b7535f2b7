//! A queue, bounded in bytes, and the thread that writes its items: a file that hangs blocks this thread and nothing
//! else.

#![expect(clippy::disallowed_methods, reason = "waiting for a thread with a limit needs the clock")]

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The stack of a thread that formats a line and writes it.
const STACK: usize = 256 * 1024;

/// Items that the thread takes at once.
const BATCH: usize = 256;

/// The size of an entry without its text in bytes.
const OVERHEAD: usize = 128;

/// A queue for one destination. When it is dropped, its thread writes the queued items and ends.
#[derive(Debug)]
pub struct WriteQueue<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    limit: usize,
    queue: Mutex<Queue<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue<T> {
    entries: VecDeque<Entry<T>>,
    bytes: usize,
    /// Items dropped since the last entry.
    lost: u64,
    /// Entries that the thread is writing.
    writing: usize,
    closed: bool,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    size: usize,
    lost_before: u64,
}

impl<T: Send + 'static> WriteQueue<T> {
    /// An empty queue for at most `limit` bytes. Without [`WriteQueue::start`] nothing is written.
    #[must_use]
    pub fn new(limit: usize) -> WriteQueue<T> {
        let queue = Queue { entries: VecDeque::new(), bytes: 0, lost: 0, writing: 0, closed: false };
        WriteQueue { shared: Arc::new(Shared { limit, queue: Mutex::new(queue), changed: Condvar::new() }) }
    }

    /// Starts the thread. `write` gets the queued items, at most 256 at once, each with the number of items that were
    /// dropped just before it.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        &self,
        name: &str,
        mut write: impl FnMut(&[(T, u64)]) + Send + 'static,
    ) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            while let Some(batch) = shared.next() {
                write(&batch);
                shared.lock().writing = 0;
                shared.changed.notify_all();
            }
        };
        thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work).map(drop)
    }

    /// Queues an item whose text has this many bytes. Never waits: without room the item is dropped and counted.
    pub fn push(&self, item: T, text: usize) {
        let mut queue = self.shared.lock();
        let size = text + OVERHEAD;
        if queue.bytes + size > self.shared.limit {
            queue.lost += 1;
            return;
        }
        let lost_before = std::mem::take(&mut queue.lost);
        queue.bytes += size;
        queue.entries.push_back(Entry { item, size, lost_before });
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Queues an item and removes the queued items that it makes obsolete. Ignores the limit, so use it only for queues
    /// with a few kinds of items.
    pub fn replace(&self, item: T, is_obsolete: impl Fn(&T) -> bool) {
        let mut queue = self.shared.lock();
        let mut lost_before = std::mem::take(&mut queue.lost);
        let Queue { entries, bytes, .. } = &mut *queue;
        entries.retain(|entry| {
            let goes = is_obsolete(&entry.item);
            if goes {
                *bytes -= entry.size;
                lost_before += entry.lost_before;
            }
            !goes
        });
        queue.bytes += OVERHEAD;
        queue.entries.push_back(Entry { item, size: OVERHEAD, lost_before });
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, for at most `limit`. Returns the rest: entries in the queue, and dropped
    /// items that were not reported yet.
    pub fn flush(&self, limit: Duration) -> u64 {
        let end = Instant::now() + limit;
        let mut queue = self.shared.lock();
        while queue.writing > 0 || !queue.entries.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let queued: u64 = queue.entries.iter().map(|entry| 1 + entry.lost_before).sum();
        queue.lost + queued + u64::try_from(queue.writing).unwrap_or(u64::MAX)
    }
}

impl<T> Drop for WriteQueue<T> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next entries. None when the queue is dropped and empty.
    fn next(&self) -> Option<Vec<(T, u64)>> {
        let mut queue = self.lock();
        loop {
            let count = queue.entries.len().min(BATCH);
            if count > 0 {
                let batch: Vec<Entry<T>> = queue.entries.drain(..count).collect();
                queue.bytes -= batch.iter().map(|entry| entry.size).sum::<usize>();
                queue.writing = count;
                return Some(batch.into_iter().map(|entry| (entry.item, entry.lost_before)).collect());
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const GENEROUS: Duration = Duration::from_secs(20);

    #[test]
    fn b4_a_queue_is_bounded_in_bytes_and_counts_what_it_drops() {
        let queue = WriteQueue::new(10 * (1000 + OVERHEAD));
        let (release, gate) = mpsc::channel::<()>();
        let (seen, written) = mpsc::channel();
        queue
            .start("test", move |batch: &[(u32, u64)]| {
                let _ = gate.recv();
                batch.iter().for_each(|entry| seen.send(*entry).unwrap());
            })
            .unwrap();
        // The thread takes the first item and hangs.
        queue.push(0, 1000);
        let limit = Instant::now() + GENEROUS;
        while queue.shared.lock().writing == 0 {
            assert!(Instant::now() < limit);
            thread::yield_now();
        }
        (1..=15).for_each(|item| queue.push(item, 1000));
        assert!(queue.shared.lock().bytes <= 10 * (1000 + OVERHEAD));
        assert_eq!(queue.flush(Duration::from_millis(10)), 16, "ten wait, one is written, five are dropped");
        release.send(()).unwrap();
        assert_eq!(written.recv_timeout(GENEROUS), Ok((0, 0)));
        drop(release);
        for item in 1..=10 {
            assert_eq!(written.recv_timeout(GENEROUS), Ok((item, 0)));
        }
        queue.push(16, 1000);
        assert_eq!(written.recv_timeout(GENEROUS), Ok((16, 5)));
        assert_eq!(queue.flush(GENEROUS), 0);
    }

    #[test]
    fn b4_a_dropped_queue_writes_what_is_queued() {
        let (seen, written) = mpsc::channel();
        let queue = WriteQueue::new(10_000);
        (0..3).for_each(|item| queue.push(item, 10));
        queue
            .start("test", move |batch: &[(u32, u64)]| {
                batch.iter().for_each(|(item, _)| seen.send(*item).unwrap());
            })
            .unwrap();
        drop(queue);
        assert_eq!(written.iter().collect::<Vec<u32>>(), [0, 1, 2]);
    }

    #[test]
    fn b3_of_items_of_one_kind_the_newest_is_written() {
        let (seen, written) = mpsc::channel();
        let queue = WriteQueue::new(OVERHEAD);
        for item in [("state", 1), ("sign", 1), ("state", 2), ("sign", 2), ("state", 3)] {
            queue.replace(item, |(kind, _)| *kind == item.0);
        }
        assert_eq!(queue.shared.lock().bytes, 2 * OVERHEAD);
        queue
            .start("test", move |batch: &[((&str, u32), u64)]| {
                batch.iter().for_each(|(item, _)| seen.send(*item).unwrap());
            })
            .unwrap();
        drop(queue);
        assert_eq!(written.iter().collect::<Vec<_>>(), [("sign", 2), ("state", 3)]);
    }
}
