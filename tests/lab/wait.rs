//! Bounded waiting: a condition is polled until it holds or its time is over.

use std::thread;
use std::time::{Duration, Instant};

/// Polls `attempt` until it succeeds. Panics with its last error when `limit` has passed.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(reason) if begin.elapsed() > limit => {
                panic!("{what}: not within {} s\n{reason}", limit.as_secs())
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}
