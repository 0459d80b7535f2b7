//! One HTTP/1 exchange over any stream. The check itself polls the connection: no task, nothing to clean up.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::LOCATION;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::answer::HttpAnswer;
use super::lenient::{Lenient, MAX_HEAD};
use crate::check::content::{self, ContentEnd};
use crate::check::format;
use crate::check::progress::{CheckStep, Progress};
use crate::net::cause;
use crate::value::shown::escaped;

/// The most header lines that are accepted, as in the original's library.
const MAX_HEADERS: usize = 128;

/// How long after the headers the end of the body is waited for, if only the status decides.
const IDLE_BODY: Duration = Duration::from_secs(1);

/// Pieces of a body after which the check yields to others: a server may send each byte as its own piece.
const FRAMES: usize = 64;

/// Why there is no answer, as part of a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct ExchangeError {
    why: String,
    source: hyper::Error,
}

impl ExchangeError {
    fn new(source: hyper::Error, progress: &Progress) -> ExchangeError {
        ExchangeError { why: explain(&source, progress), source }
    }
}

/// What to do with the body of a successful answer.
pub(super) struct Wanted<'a> {
    /// The request, to begin the reason with.
    pub(super) name: &'a str,
    /// Whether the body is judged. If not, the status decides.
    pub(super) body: bool,
}

/// Sends the request and reads the answer.
pub(super) async fn run<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
    wanted: &Wanted<'_>,
    progress: &Progress,
) -> Result<HttpAnswer, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let io = TokioIo::new(Lenient::new(Counted::new(stream, progress)));
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .handshake(io)
        .await
        .map_err(|error| ExchangeError::new(error, progress))?;
    let mut driven = pin!(Driven { connection: Some(connection) });
    let response = driven.as_mut().until(sender.send_request(request)).await;
    let response = response.map_err(|error| ExchangeError::new(error, progress))?;
    let mut answer = HttpAnswer {
        status: response.status(),
        phrase: phrase(&response),
        location: response.headers().get(LOCATION).cloned(),
        body: Vec::new(),
        end: ContentEnd::Whole,
        place: None,
    };
    // The body of an error or a redirect is not needed.
    if answer.status.is_success() {
        progress.begin(answer.page(wanted.name));
        let end = read(response.into_body(), driven, wanted.body, progress);
        answer.end = match wanted.body {
            true => end.await,
            false => timeout(IDLE_BODY, end).await.unwrap_or(ContentEnd::Cut),
        };
        let content = progress.take_content().unwrap_or_default();
        (answer.body, answer.place) = (content.bytes, content.place);
    }
    Ok(answer)
}

/// Reads the body chunk by chunk. If `kept`, the part received before an error or the deadline can still be judged.
async fn read<S>(
    mut incoming: Incoming,
    mut driven: Pin<&mut Driven<'_, S>>,
    kept: bool,
    progress: &Progress,
) -> ContentEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut read = 0;
    let mut turns = (1..=FRAMES).cycle();
    loop {
        if turns.next() == Some(FRAMES) {
            yield_now().await;
        }
        progress.step(CheckStep::Body(read));
        match driven.as_mut().until(incoming.frame()).await {
            None => return ContentEnd::Whole,
            Some(Err(error)) => return ContentEnd::Broken(explain(&error, progress)),
            Some(Ok(frame)) => {
                let Some(data) = frame.data_ref() else { continue };
                if kept {
                    match content::keep(data, progress).await {
                        Ok(bytes) => read = bytes,
                        Err(end) => return end,
                    }
                } else if read + data.len() > content::MAX {
                    return ContentEnd::Cut;
                } else {
                    read += data.len();
                }
            }
        }
    }
}

/// The reason phrase, if it is not the standard one.
fn phrase(response: &Response<Incoming>) -> Option<String> {
    let phrase = response.extensions().get::<hyper::ext::ReasonPhrase>()?;
    let words = String::from_utf8_lossy(phrase.as_bytes());
    Some(escaped(&words.chars().take(100).collect::<String>()).into_owned())
}

/// Describes an error of hyper.
fn explain(error: &hyper::Error, progress: &Progress) -> String {
    if let Some(io) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return match io.kind() {
            io::ErrorKind::UnexpectedEof => closed(progress),
            _ => cause(io),
        };
    }
    if error.is_parse_too_large() {
        return format!("the headers exceed {MAX_HEAD} bytes or {MAX_HEADERS} lines");
    }
    if error.is_parse() {
        let head = progress.head();
        let what = if head.starts_with(b"HTTP/") {
            "the answer is not valid HTTP/1"
        } else {
            "the answer is not HTTP"
        };
        return format!("{what}; it begins with {}", format::beginning(&head, 40));
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return closed(progress);
    }
    error.to_string()
}

fn closed(progress: &Progress) -> String {
    match progress.count() {
        0 => "the server closed the connection without an answer".to_owned(),
        bytes => format!("the server closed the connection after {} bytes", format::number(bytes)),
    }
}

/// The connection as the library reads it: heads normalized, bytes counted.
type Wire<'a, S> = TokioIo<Lenient<Counted<'a, S>>>;

/// A connection that is polled together with the future that waits for its data.
struct Driven<'a, S: AsyncRead + AsyncWrite + Unpin> {
    connection: Option<http1::Connection<Wire<'a, S>, Empty<Bytes>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driven<'_, S> {
    async fn until<F: Future>(mut self: Pin<&mut Self>, awaited: F) -> F::Output {
        let mut awaited = pin!(awaited);
        poll_fn(|context| {
            if let Some(connection) = &mut self.connection
                && Pin::new(connection).poll(context).is_ready()
            {
                // The awaited future reports the connection's error as well, if there is one.
                self.connection = None;
            }
            awaited.as_mut().poll(context)
        })
        .await
    }
}

/// A stream that counts received bytes. It delivers nothing before the request is sent: the library rejects an answer
/// that arrives before its request, but some servers answer before they read.
struct Counted<'a, S> {
    stream: S,
    progress: &'a Progress,
    asked: bool,
    /// The waker of the reader that waits until the request is sent.
    reader: Option<Waker>,
}

impl<'a, S> Counted<'a, S> {
    fn new(stream: S, progress: &'a Progress) -> Counted<'a, S> {
        Counted { stream, progress, asked: false, reader: None }
    }

    /// Wakes the reader when a part of the request was written, or writing failed.
    fn wrote(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.asked |= result.is_ready();
        if self.asked
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
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
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(result)
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
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use hyper::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Like a service started by `xinetd`: it answers at once, and reads the request after that.
    #[tokio::test]
    async fn a9_an_answer_that_comes_before_the_request_counts() {
        for closes in [false, true] {
            let (client, mut server) = duplex(4096);
            server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").await.unwrap();
            if closes {
                server.shutdown().await.unwrap();
            }
            let progress = Progress::new(Instant::now(), "127.0.0.1:80".parse().unwrap());
            let wanted = Wanted { name: "GET /", body: true };
            let answer = run(client, Request::new(Empty::new()), &wanted, &progress).await;
            let answer = answer.unwrap_or_else(|failure| panic!("{failure}, closes: {closes}"));
            assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"fine"[..]));
            let mut request = [0; 5];
            server.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"GET /");
        }
    }
}
