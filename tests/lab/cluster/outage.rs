//! Measures how long a client got no answer from a real server.

use std::time::{Duration, Instant};

use crate::client::{Client, Record};
use crate::wait::until;

/// The number of consecutive answers that end an outage.
const HEALTHY: usize = 20;

/// The longest time between two answers of a real server since `begin`. Waits until the outage has ended.
#[track_caller]
pub fn outage(client: &Client, begin: Instant, limit: Duration) -> Duration {
    let records = until("answers of real servers", limit, || {
        let records = client.since(begin);
        let last = &records[records.len().saturating_sub(HEALTHY)..];
        if last.len() == HEALTHY && last.iter().all(is_good) {
            return Ok(records);
        }
        Err(format!("{:?}", last.last()))
    });
    let good: Vec<Instant> =
        records.iter().filter(|record| is_good(record)).map(|record| record.at).collect();
    let gaps = good.windows(2).map(|pair| pair[1] - pair[0]);
    // Failures from the first request on count, too.
    gaps.chain(good.first().map(|first| *first - begin)).max().unwrap_or_default()
}

fn is_good(record: &Record) -> bool {
    record.answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.by.starts_with('s'))
}
