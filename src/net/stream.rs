//! A connection with or without TLS, as one type.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS by rustls.
    Tls(Box<TlsStream<TcpStream>>),
    /// Old TLS versions, by OpenSSL.
    #[cfg(feature = "legacy-tls")]
    Legacy(Box<tokio_openssl::SslStream<TcpStream>>),
}

impl Stream {
    /// The TCP connection below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
            #[cfg(feature = "legacy-tls")]
            Stream::Legacy(tls) => tls.get_ref(),
        }
    }

    /// The server's certificate in DER, if it sent one.
    #[must_use]
    pub fn certificate(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => {
                let shown = tls.get_ref().1.peer_certificates()?.first()?;
                Some(Cow::Borrowed(shown.as_ref()))
            }
            #[cfg(feature = "legacy-tls")]
            Stream::Legacy(tls) => tls.ssl().peer_certificate()?.to_der().ok().map(Cow::Owned),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
            #[cfg(feature = "legacy-tls")]
            Stream::Legacy(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
            #[cfg(feature = "legacy-tls")]
            Stream::Legacy(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(context),
            #[cfg(feature = "legacy-tls")]
            Stream::Legacy(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(context),
            #[cfg(feature = "legacy-tls")]
            Stream::Legacy(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}
