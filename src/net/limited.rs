//! A connection with a limit on what is read, for libraries that would buffer any amount.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::stream::Stream;

/// A limit on what a peer may send.
pub trait ReadLimit {
    /// Counts bytes that were read.
    ///
    /// # Errors
    ///
    /// If the limit is exceeded, with the reason.
    fn count(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// Is called before each write, for a limit on the reply to one command.
    fn before_write(&mut self) {}
}

/// A number of bytes that may still be read.
#[derive(Debug)]
pub struct ByteLimit(usize);

impl ByteLimit {
    /// A limit on all that is read from a connection.
    #[must_use]
    pub fn new(bytes: usize) -> ByteLimit {
        ByteLimit(bytes)
    }
}

impl ReadLimit for ByteLimit {
    fn count(&mut self, bytes: &[u8]) -> Result<(), String> {
        let left = self.0.checked_sub(bytes.len());
        self.0 = left.ok_or_else(|| "the server sends more than the check reads".to_owned())?;
        Ok(())
    }
}

/// A connection and its limit.
#[derive(Debug)]
pub struct Limited<S, L> {
    stream: S,
    limit: L,
}

impl<S, L> Limited<S, L> {
    /// Limits a connection.
    #[must_use]
    pub fn new(stream: S, limit: L) -> Limited<S, L> {
        Limited { stream, limit }
    }

    /// The connection without its limit.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin, L: ReadLimit + Unpin> AsyncRead for Limited<S, L> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let limited = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut limited.stream).poll_read(context, buffer);
        match limited.limit.count(buffer.filled().get(before..).unwrap_or_default()) {
            Ok(()) => result,
            Err(why) => Poll::Ready(Err(io::Error::other(why))),
        }
    }
}

impl<S: AsyncWrite + Unpin, L: ReadLimit + Unpin> AsyncWrite for Limited<S, L> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let limited = self.get_mut();
        limited.limit.before_write();
        Pin::new(&mut limited.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// For the mail library.
impl<L: ReadLimit + Debug + Send + Sync + Unpin> AsyncTokioStream for Limited<Stream, L> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.tcp().peer_addr()
    }
}

/// For the PostgreSQL library.
impl<L: ReadLimit + Unpin> TlsStream for Limited<Stream, L> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
