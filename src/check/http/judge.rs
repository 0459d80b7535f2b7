//! Judges an answer: its status, then whether its body matches.

use super::answer::HttpAnswer;
use crate::check::content;
use crate::check::progress::{PartialContent, Progress};
use crate::value::{Pattern, Verdict};

/// The verdict on an answer.
pub(super) async fn judge(
    name: &str,
    mut answer: HttpAnswer,
    receive: Option<&Pattern>,
    progress: &Progress,
) -> Verdict {
    if !answer.status.is_success() {
        let status = answer.status_line();
        return Verdict::down(format!("{name}: {status}")).with_monitor(status);
    }
    let bytes = std::mem::take(&mut answer.body);
    let content = PartialContent { bytes, ..answer.page(name) };
    content::judge(&content, &answer.end, receive, progress).await
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;
    use crate::check::content::ContentEnd;
    use crate::value::{Outcome, UnknownCause};

    #[tokio::test]
    async fn b4_a_body_without_a_place_is_not_the_fault_of_its_server() {
        let answer = HttpAnswer {
            status: StatusCode::OK,
            phrase: None,
            location: None,
            body: vec![b'x'; 16 * 1024],
            end: ContentEnd::NoPlace,
            place: None,
        };
        let fine = Pattern::parse("fine").unwrap();
        let progress = Progress::new(std::time::Instant::now(), "127.0.0.1:80".parse().unwrap());
        let verdict = judge("GET /", answer, Some(&fine), &progress).await;
        assert_eq!(verdict.outcome, Outcome::Unknown(UnknownCause::QueueFull));
        assert!(
            verdict.reason.contains("16,384 bytes of the body, but no memory for the rest"),
            "{}",
            verdict.reason
        );
    }
}
