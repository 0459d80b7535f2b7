//! `/metrics`: the metrics in Prometheus' text format.

use super::answer::{HttpResponse, head, in_time, large};
use crate::control::DaemonAccess;

/// The format that the encoder writes.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn answer(access: &DaemonAccess, is_head: bool) -> HttpResponse {
    if is_head {
        return head(CONTENT_TYPE);
    }
    match in_time(access.scrape()).await {
        Ok((turn, scrape)) => large(turn, CONTENT_TYPE, move |to| scrape.write(to)),
        Err(answer) => answer,
    }
}
