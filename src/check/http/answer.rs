//! The answer of a web server.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::sync::SemaphorePermit;

use crate::check::content::ContentEnd;
use crate::check::progress::PartialContent;

/// An answer: status, redirect and body.
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    /// The reason phrase, if it is not the standard one.
    pub(super) phrase: Option<String>,
    pub(super) location: Option<HeaderValue>,
    pub(super) body: Vec<u8>,
    pub(super) end: ContentEnd,
    /// The permit for memory of a large body, held as long as the body is.
    pub(super) place: Option<SemaphorePermit<'static>>,
}

impl HttpAnswer {
    /// The status as the original writes it: `404 Not Found`.
    pub(super) fn status_line(&self) -> String {
        let known = || Cow::Borrowed(self.status.canonical_reason().unwrap_or_default());
        let phrase = self.phrase.as_deref().map_or_else(known, Cow::Borrowed);
        format!("{} {phrase}", self.status.as_u16()).trim_end().to_owned()
    }

    /// A content for the body, still empty. `name` is the request, which begins the reason.
    pub(super) fn page(&self, name: &str) -> PartialContent {
        let status = self.status_line();
        PartialContent {
            said: format!("{name}: {status}"),
            what: "the body",
            monitor: Some(status),
            ..PartialContent::default()
        }
    }

    /// The `Location`, if the answer is a redirect.
    pub(super) fn redirect(&self) -> Option<String> {
        let follow = matches!(
            self.status,
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let location = self.location.as_ref().filter(|_| follow)?;
        Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_a_status_without_words_ends_without_a_blank() {
        let said = |status, phrase: Option<&str>| {
            let phrase = phrase.map(str::to_owned);
            let (location, body, end) = (None, Vec::new(), ContentEnd::NoPlace);
            let status = StatusCode::from_u16(status).unwrap();
            HttpAnswer { status, phrase, location, body, end, place: None }.status_line()
        };
        assert_eq!(said(200, Some("")), "200");
        assert_eq!(said(200, Some("Fine")), "200 Fine");
        assert_eq!(said(404, None), "404 Not Found");
        assert_eq!(said(599, None), "599");
    }
}
