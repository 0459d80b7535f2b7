//! A connection with a limit on the bytes read, for libraries that would buffer any amount.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection, and the number of bytes that may still be read.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    pub(super) stream: S,
    left: usize,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S, limit: usize) -> Bounded<S> {
        Bounded { stream, left: limit }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bounded = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut bounded.stream).poll_read(context, buffer);
        match bounded.left.checked_sub(buffer.filled().len() - before) {
            Some(left) => bounded.left = left,
            None => return Poll::Ready(Err(io::Error::other("the server sends more than the check reads"))),
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
