//! Limits how many different states slow readers keep in memory: a reader gets the state of another reader that has not
//! finished, if that is recent enough.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A value of this age is recent.
const FRESH: Duration = Duration::from_millis(250);
/// With this number of values in use, an older value is recent, too: their readers are slow.
const MOST: usize = 3;
/// The oldest value that is given to a further reader. By then readers without progress are dropped.
const OLDEST: Duration = Duration::from_secs(5);

/// The values that readers use.
#[derive(Debug)]
pub(super) struct Recent<T>(Mutex<RecentValues<T>>);

#[derive(Debug)]
struct RecentValues<T> {
    used: Vec<Weak<T>>,
    /// The last value and its time. `None` after a change that the next reader must see.
    last: Option<(Weak<T>, Instant)>,
    /// The number of such changes.
    changes: u64,
}

/// The state of [`Recent`] before a new value is made. A change until then makes the value outdated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BeforeValue(u64);

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent(Mutex::new(RecentValues { used: Vec::new(), last: None, changes: 0 }))
    }
}

impl<T> Recent<T> {
    fn known(&self) -> MutexGuard<'_, RecentValues<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A recent value that is in use.
    ///
    /// # Errors
    /// There is none: a new value is needed.
    pub fn get(&self, now: Instant) -> Result<Arc<T>, BeforeValue> {
        let mut known = self.known();
        known.used.retain(|value| value.strong_count() > 0);
        let limit = if known.used.len() < MOST { FRESH } else { OLDEST };
        let last = known.last.as_ref().filter(|(_, at)| now.saturating_duration_since(*at) < limit);
        last.and_then(|(value, _)| value.upgrade()).ok_or(BeforeValue(known.changes))
    }

    /// Adds a new value.
    pub fn add(&self, value: &Arc<T>, before: BeforeValue, now: Instant) {
        let mut known = self.known();
        known.used.push(Arc::downgrade(value));
        if before == BeforeValue(known.changes) {
            known.last = Some((Arc::downgrade(value), now));
        }
    }

    /// The next reader must see a change.
    pub fn outdate(&self) {
        let mut known = self.known();
        known.last = None;
        known.changes += 1;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs a start time")]
mod tests {
    use super::*;

    fn new(recent: &Recent<u8>, value: u8, now: Instant) -> Arc<u8> {
        let before = recent.get(now).unwrap_err();
        let value = Arc::new(value);
        recent.add(&value, before, now);
        value
    }

    #[test]
    fn a_value_in_use_is_shared_while_it_is_recent() {
        let (recent, begin) = (Recent::default(), Instant::now());
        let ms = Duration::from_millis;
        let first = new(&recent, 1, begin);
        assert!(Arc::ptr_eq(&recent.get(begin + ms(249)).unwrap(), &first));
        let second = new(&recent, 2, begin + ms(250));
        drop(second);
        // No reader uses the second.
        let third = new(&recent, 3, begin + ms(300));
        let fourth = new(&recent, 4, begin + ms(600));
        // Three slow readers: the last value counts for longer.
        assert_eq!(*recent.get(begin + ms(5_500)).unwrap(), 4);
        drop((first, third));
        assert!(recent.get(begin + ms(5_500)).is_err());
        drop(fourth);
    }

    #[test]
    fn a_change_is_seen_by_the_next_reader() {
        let (recent, now) = (Recent::default(), Instant::now());
        let _first = new(&recent, 1, now);
        recent.outdate();
        let before = recent.get(now).unwrap_err();
        // The change came while the value was made.
        recent.outdate();
        let second = Arc::new(2);
        recent.add(&second, before, now);
        assert!(recent.get(now).is_err());
        let third = new(&recent, 3, now);
        assert_eq!(recent.get(now).unwrap(), third);
    }
}
