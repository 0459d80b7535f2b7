//! `/healthz`: whether the loop answers in time. It says nothing about servers.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use super::answer::{HttpResponse, text};
use crate::control::{DaemonAccess, LoopRequest};

/// A loop that is late by this time is not healthy.
const LATE: Duration = Duration::from_secs(2);

pub(super) async fn answer(access: &DaemonAccess) -> HttpResponse {
    match timeout(LATE, access.ask(LoopRequest::Ping)).await {
        Ok(Some(())) => text(StatusCode::OK, "ok"),
        Ok(None) => text(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping"),
        Err(_) => {
            let why = format!("the loop of the daemon is late by more than {} s", LATE.as_secs());
            text(StatusCode::SERVICE_UNAVAILABLE, &why)
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::control;
    use crate::report::CounterSource;

    async fn body(answer: HttpResponse) -> (u16, String) {
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_is_late_is_not_healthy() {
        for (milliseconds, expected) in [(0, 200), (1_999, 200), (2_001, 503), (3_600_000, 503)] {
            let (mut inbox, access) = control::access(CounterSource::none());
            let asked = tokio::spawn(async move { body(answer(&access).await).await });
            let LoopRequest::Ping(reply) = inbox.next().await else { panic!("another request") };
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            reply.give(());
            let (status, text) = asked.await.unwrap();
            assert_eq!(status, expected, "{milliseconds} ms: {text}");
            assert_eq!(text == "ok\n", expected == 200);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_of_requests_is_late_too() {
        let (_inbox, access) = control::access(CounterSource::none());
        let answers = (0..20).map(|_| {
            let access = access.clone();
            tokio::spawn(async move { answer(&access).await.status().as_u16() })
        });
        for status in answers.collect::<Vec<_>>() {
            assert_eq!(status.await.unwrap(), 503);
        }
    }

    #[tokio::test]
    async fn a_daemon_that_stops_is_not_healthy() {
        let (mut inbox, access) = control::access(CounterSource::none());
        inbox.stop();
        assert_eq!(body(answer(&access).await).await, (503, "the daemon is stopping\n".to_owned()));
    }
}
