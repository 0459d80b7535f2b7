//! One connection, to its end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::dispatch::{ClientOrigin, HttpContext, answer};
use super::stalled::Impatient;

/// A client must complete the head of its request within this time, also of a further request on the same connection.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// A client that reads nothing for this time is dropped.
const STALL_LIMIT: Duration = Duration::from_secs(5);
/// When the daemon stops, a client that has connected has this time to send its request.
const LAST_REQUEST: Duration = Duration::from_millis(100);
/// Maximum number of headers of a request.
const MAX_HEADERS: usize = 64;
/// Maximum size of the head of a request, and about the maximum size of what waits to be written, in bytes.
const BUFFER: usize = 16 * 1024;

/// Serves the requests of a connection.
pub(super) async fn serve<S>(stream: S, context: Arc<HttpContext>, origin: ClientOrigin)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = Arc::clone(&context);
    let service = service_fn(move |request: Request<Incoming>| {
        let context = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&context, origin, &request).await) }
    });
    let stream = TokioIo::new(Impatient::new(stream, STALL_LIMIT));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .half_close(true)
        .header_read_timeout(HEAD_LIMIT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(stream, service);
    let mut connection = pin!(connection);
    // What a client does wrong is its own affair: the log would have a line for each.
    tokio::select! {
        // A request that has arrived is read first.
        biased;
        _ended = connection.as_mut() => {}
        () = context.access.stopping_for(LAST_REQUEST) => {
            // Answers the request that has arrived, and then closes the connection.
            connection.as_mut().graceful_shutdown();
            let _ended = connection.await;
        }
    }
}
