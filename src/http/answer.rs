//! Responses: small texts, large answers in pieces, and streams.

#![expect(clippy::disallowed_methods, reason = "a large answer has a deadline")]

use std::io::{self, Write};
use std::time::Duration;

use futures_util::{Stream, TryStreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::control::{PieceWriter, RenderTurn};

/// How long a client waits for the loop before it is told that the daemon is busy.
const LOOP_LIMIT: Duration = Duration::from_secs(5);
/// Time limit for a whole large answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The body of a response.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// A response.
pub(super) type HttpResponse = Response<AnswerBody>;

/// A response with a short text, which gets a line end.
pub(super) fn text(status: StatusCode, text: &str) -> HttpResponse {
    let body = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {});
    response(status, "text/plain; charset=utf-8", body.boxed_unsync())
}

/// A response with a JSON object on one line. `None`: a bug ended its rendering, which the log has.
pub(super) fn json<T: Serialize>(object: Option<T>) -> HttpResponse {
    match object.and_then(|object| serde_json::to_string(&object).ok()) {
        Some(line) => {
            let body = Full::new(Bytes::from(line + "\n")).map_err(|never| match never {});
            response(StatusCode::OK, "application/json", body.boxed_unsync())
        }
        None => text(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be rendered; see the log"),
    }
}

/// The head of a response whose length is not known.
pub(super) fn head(content_type: &'static str) -> HttpResponse {
    stream_of(content_type, stream::empty())
}

/// A response whose body is a stream.
pub(super) fn stream_of<S>(content_type: &'static str, pieces: S) -> HttpResponse
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let body = StreamBody::new(pieces.map_ok(Frame::data));
    response(StatusCode::OK, content_type, body.boxed_unsync())
}

fn response(status: StatusCode, content_type: &'static str, body: AnswerBody) -> HttpResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Waits for what a large answer is rendered from.
///
/// # Errors
/// The response for a daemon that stops or is busy.
pub(super) async fn in_time<T>(asked: impl Future<Output = Option<T>>) -> Result<T, HttpResponse> {
    match timeout(LOOP_LIMIT, asked).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(text(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping")),
        Err(_) => Err(text(StatusCode::SERVICE_UNAVAILABLE, "the daemon is busy or stuck; try again")),
    }
}

/// A response that is rendered on another thread while the client reads it, so that only a few pieces are in memory.
pub(super) fn large<W>(turn: RenderTurn, content_type: &'static str, write: W) -> HttpResponse
where
    W: FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
{
    // `None` is the end of the answer. Without it the answer is incomplete.
    let (sender, receiver) = mpsc::channel::<Option<Bytes>>(1);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || -> io::Result<()> {
        let send = |piece| sender.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into());
        let mut pieces = PieceWriter::new(turn, runtime, |piece| send(Some(Bytes::copy_from_slice(piece))));
        write(&mut pieces)?;
        pieces.finish()?;
        send(None)
    });
    let limit = Instant::now() + ANSWER_LIMIT;
    let pieces = stream::try_unfold(receiver, move |mut receiver| async move {
        match timeout_at(limit, receiver.recv()).await {
            Ok(Some(Some(piece))) => Ok(Some((piece, receiver))),
            Ok(Some(None)) => Ok(None),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    });
    stream_of(content_type, pieces)
}
