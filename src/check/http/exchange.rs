//! One HTTP/1 exchange over any stream. The connection is polled by the check itself: no task, nothing to clean up.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::super::progress::{Progress, Step};
use super::super::say;
use super::{MAX_BODY, MAX_HEAD};
use crate::net::cause;
use crate::value::shown::escaped;

/// So many header lines are accepted: what the original's library takes.
const MAX_HEADERS: usize = 128;

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The words after the number, where they are not the usual ones.
    pub(super) phrase: Option<String>,
    pub(super) location: Option<HeaderValue>,
    pub(super) body: Vec<u8>,
    pub(super) end: End,
    /// Kept as long as a large body is.
    pub(super) place: Option<SemaphorePermit<'static>>,
}

/// Why there is no answer, as a piece of a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Failure {
    why: String,
    source: hyper::Error,
}

impl Failure {
    fn new(source: hyper::Error, progress: &Progress) -> Failure {
        Failure { why: explain(&source, progress), source }
    }
}

/// A body of at most so many bytes needs no place.
const SMALL_BODY: usize = 16 * 1024;

/// So many larger bodies are in memory at the same time, in all checks together: 64 MiB.
const PLACES: usize = 64;

static LARGE_BODIES: Semaphore = Semaphore::const_new(PLACES);

/// How long a large body waits for its place. No server is to blame for that.
const PLACE_WAIT: Duration = Duration::from_millis(500);

/// How a body ended.
pub(super) enum End {
    /// As announced.
    Whole,
    /// At our limit.
    Cut,
    /// Before its end, and why.
    Broken(String),
    /// There was no place for the rest of it.
    NoPlace,
}

/// Sends the request and reads the answer.
pub(super) async fn run<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
    progress: &Progress,
) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let io = TokioIo::new(Counted { stream, progress });
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .handshake(io)
        .await
        .map_err(|error| Failure::new(error, progress))?;
    let mut driven = pin!(Driven { connection: Some(connection) });
    let response = driven.as_mut().until(sender.send_request(request)).await;
    let response = response.map_err(|error| Failure::new(error, progress))?;
    let mut answer = Answer {
        status: response.status(),
        phrase: phrase(&response),
        location: response.headers().get(LOCATION).cloned(),
        body: Vec::new(),
        end: End::Whole,
        place: None,
    };
    // Nobody looks at the body of an answer that is bad or points elsewhere.
    if answer.status.is_success() {
        read(&mut answer, response.into_body(), driven, progress).await;
    }
    Ok(answer)
}

/// Reads the body chunk by chunk, so that what came before an error is kept.
async fn read<S>(
    answer: &mut Answer,
    mut incoming: Incoming,
    mut driven: Pin<&mut Driven<'_, S>>,
    progress: &Progress,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        progress.step(Step::Body(answer.body.len()));
        match driven.as_mut().until(incoming.frame()).await {
            None => return,
            Some(Err(error)) => {
                answer.end = End::Broken(explain(&error, progress));
                return;
            }
            Some(Ok(frame)) => {
                let Some(data) = frame.data_ref() else { continue };
                if answer.body.len() + data.len() > SMALL_BODY && answer.place.is_none() {
                    answer.place = place(&LARGE_BODIES).await;
                    if answer.place.is_none() {
                        answer.end = End::NoPlace;
                        return;
                    }
                }
                let room = MAX_BODY - answer.body.len();
                answer.body.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    answer.end = End::Cut;
                    return;
                }
            }
        }
    }
}

/// A place for a large body; none where all stay taken for a while.
pub(super) async fn place(places: &'static Semaphore) -> Option<SemaphorePermit<'static>> {
    timeout(PLACE_WAIT, places.acquire()).await.ok()?.ok()
}

/// The words of the status line when they are not the usual ones.
fn phrase(response: &Response<Incoming>) -> Option<String> {
    let phrase = response.extensions().get::<hyper::ext::ReasonPhrase>()?;
    let words = String::from_utf8_lossy(phrase.as_bytes());
    Some(escaped(&words.chars().take(100).collect::<String>()).into_owned())
}

/// Says what hyper found wrong.
fn explain(error: &hyper::Error, progress: &Progress) -> String {
    if let Some(io) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return match io.kind() {
            io::ErrorKind::UnexpectedEof => closed(progress),
            _ => cause(io),
        };
    }
    if error.is_parse_too_large() {
        return format!("the headers are larger than {MAX_HEAD} bytes or more than {MAX_HEADERS}");
    }
    if error.is_parse() {
        let head = progress.head();
        let what = if head.starts_with(b"HTTP/") {
            "the answer is no valid HTTP/1"
        } else {
            "the answer is not HTTP"
        };
        return format!("{what}; it begins with {}", say::beginning(&head, 40));
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return closed(progress);
    }
    error.to_string()
}

fn closed(progress: &Progress) -> String {
    match progress.count() {
        0 => "the server closed the connection without an answer".to_owned(),
        bytes => format!("the server closed the connection after {} bytes", say::number(bytes)),
    }
}

/// A connection that moves whenever somebody waits for something that it brings.
struct Driven<'a, S: AsyncRead + AsyncWrite + Unpin> {
    connection: Option<http1::Connection<TokioIo<Counted<'a, S>>, Empty<Bytes>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driven<'_, S> {
    async fn until<F: Future>(mut self: Pin<&mut Self>, awaited: F) -> F::Output {
        let mut awaited = pin!(awaited);
        poll_fn(|context| {
            if let Some(connection) = &mut self.connection
                && Pin::new(connection).poll(context).is_ready()
            {
                // Its error, if any, also comes out of what is awaited.
                self.connection = None;
            }
            awaited.as_mut().poll(context)
        })
        .await
    }
}

/// A stream that tells what came in.
struct Counted<'a, S> {
    stream: S,
    progress: &'a Progress,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(new) = buffer.filled().get(before..)
            && !new.is_empty()
        {
            self.progress.received(new);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
