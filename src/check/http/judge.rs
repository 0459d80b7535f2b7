//! What an answer means: its status, where it sends us, whether its body matches.

use std::borrow::Cow;

use hyper::StatusCode;

use super::super::content;
use super::super::progress::{Content, Progress};
use super::exchange::Answer;
use crate::value::{Pattern, Verdict};

/// What an answer means: its status, then its body.
pub(super) async fn judge(
    name: &str,
    mut answer: Answer,
    receive: Option<&Pattern>,
    progress: &Progress,
) -> Verdict {
    if !answer.status.is_success() {
        let status = status_line(&answer);
        return Verdict::down(format!("{name}: {status}")).with_monitor(status);
    }
    let bytes = std::mem::take(&mut answer.body);
    let content = Content { bytes, ..page(name, &answer) };
    content::judge(&content, &answer.end, receive, progress).await
}

/// The body of an answer, of which nothing came yet.
pub(super) fn page(name: &str, answer: &Answer) -> Content {
    let status = status_line(answer);
    Content {
        said: format!("{name}: {status}"),
        what: "the body",
        monitor: Some(status),
        ..Content::default()
    }
}

/// The status as the original names it: `404 Not Found`.
pub(super) fn status_line(answer: &Answer) -> String {
    let known = || Cow::Borrowed(answer.status.canonical_reason().unwrap_or_default());
    let phrase = answer.phrase.as_deref().map_or_else(known, Cow::Borrowed);
    format!("{} {phrase}", answer.status.as_u16()).trim_end().to_owned()
}

/// Where an answer sends us, if it does.
pub(super) fn redirect(answer: &Answer) -> Option<String> {
    let follow = matches!(
        answer.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = answer.location.as_ref().filter(|_| follow)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::content::End;
    use crate::value::{Outcome, UnknownCause};

    #[test]
    fn d2_a_status_without_words_ends_without_a_blank() {
        let said = |status, phrase: Option<&str>| {
            let phrase = phrase.map(str::to_owned);
            let (location, body, end) = (None, Vec::new(), End::NoPlace);
            let status = StatusCode::from_u16(status).unwrap();
            status_line(&Answer { status, phrase, location, body, end, place: None })
        };
        assert_eq!(said(200, Some("")), "200");
        assert_eq!(said(200, Some("Fine")), "200 Fine");
        assert_eq!(said(404, None), "404 Not Found");
        assert_eq!(said(599, None), "599");
    }

    #[tokio::test]
    async fn b4_a_body_without_a_place_is_not_the_fault_of_its_server() {
        let answer = Answer {
            status: StatusCode::OK,
            phrase: None,
            location: None,
            body: vec![b'x'; 16 * 1024],
            end: End::NoPlace,
            place: None,
        };
        let fine = Pattern::parse("fine").unwrap();
        let progress = Progress::new(std::time::Instant::now(), "127.0.0.1:80".parse().unwrap());
        let verdict = judge("GET /", answer, Some(&fine), &progress).await;
        assert_eq!(verdict.outcome, Outcome::Unknown(UnknownCause::QueueFull));
        assert!(verdict.reason.contains("16,384 bytes of the body, but no memory"), "{}", verdict.reason);
    }
}
