//! What an answer means: its status, where it sends us, whether its body matches.

use hyper::StatusCode;

use super::super::say;
use super::exchange::{Answer, End};
use crate::value::{MAX_MONITOR, Pattern, UnknownCause, Verdict};

/// What an answer means: its status, then its body.
pub(super) fn judge(name: &str, answer: &Answer, receive: Option<&Pattern>) -> Verdict {
    let status = status_line(answer);
    if !answer.status.is_success() {
        return Verdict::down(format!("{name}: {status}")).with_monitor(status);
    }
    let Some(pattern) = receive else {
        return Verdict::up(format!("{name}: {status}")).with_monitor(status);
    };
    let size = say::count(answer.body.len() as u64, "byte");
    let size = match &answer.end {
        End::NoPlace => {
            let reason = format!(
                "{name}: {status}, and {size} of the body, but no memory for more: too many large bodies at once"
            );
            return Verdict::unknown(UnknownCause::QueueFull, reason);
        }
        End::Whole => format!("the body ({size})"),
        End::Cut => format!("the first {size} of the body"),
        End::Broken(why) => format!("the body ({size}, then {why})"),
    };
    match pattern.is_match(&answer.body) {
        Ok(true) => Verdict::up(format!("{name}: {status}, and {size} matches /{}/", pattern.source()))
            .with_monitor(status),
        Ok(false) => {
            let begins = match answer.body.len() {
                0 => String::new(),
                _ => format!("; it begins with {}", say::beginning(&answer.body, 80)),
            };
            Verdict::down(format!(
                "{name}: {status}, but {size} does not match /{}/{begins}",
                pattern.source()
            ))
            .with_monitor(String::from_utf8_lossy(&answer.body[..answer.body.len().min(MAX_MONITOR)]))
        }
        Err(limit) => Verdict::down(format!("{name}: {status}, but /{}/: {limit}", pattern.source()))
            .with_monitor(status),
    }
}

/// The status as the original names it: `404 Not Found`.
pub(super) fn status_line(answer: &Answer) -> String {
    match &answer.phrase {
        Some(phrase) => format!("{} {phrase}", answer.status.as_u16()),
        None => {
            format!("{} {}", answer.status.as_u16(), answer.status.canonical_reason().unwrap_or_default())
        }
    }
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
    use tokio::sync::Semaphore;

    use super::super::exchange::place;
    use super::*;
    use crate::value::Outcome;

    static NONE: Semaphore = Semaphore::const_new(0);
    static ONE: Semaphore = Semaphore::const_new(1);

    #[tokio::test(start_paused = true)]
    async fn b4_a_body_without_a_place_is_not_the_fault_of_its_server() {
        assert!(place(&NONE).await.is_none());
        let held = place(&ONE).await;
        assert!(held.is_some() && place(&ONE).await.is_none());
        drop(held);
        assert!(place(&ONE).await.is_some());
        let answer = Answer {
            status: StatusCode::OK,
            phrase: None,
            location: None,
            body: vec![b'x'; 16 * 1024],
            end: End::NoPlace,
            place: None,
        };
        let fine = Pattern::parse("fine").unwrap();
        let verdict = judge("GET /", &answer, Some(&fine));
        assert_eq!(verdict.outcome, Outcome::Unknown(UnknownCause::QueueFull));
        assert!(verdict.reason.contains("16,384 bytes of the body, but no memory"), "{}", verdict.reason);
        // Without a pattern nobody looks at the body.
        assert_eq!(judge("GET /", &answer, None).outcome, Outcome::Up);
    }
}
