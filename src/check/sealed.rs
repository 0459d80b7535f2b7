//! TLS for the PostgreSQL library, made by the connector that all checks share.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use crate::net::tls;

/// What the library is given to shake hands with.
pub(super) struct Sealer<'a> {
    pub(super) connector: &'a TlsConnector,
    pub(super) address: IpAddr,
}

/// A connection in TLS.
pub(super) struct Sealed(tokio_rustls::client::TlsStream<TcpStream>);

/// The handshake failed.
#[derive(Debug)]
pub(super) struct Unsealed(io::Error);

impl fmt::Display for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&tls::explain(&self.0))
    }
}

impl std::error::Error for Unsealed {}

impl TlsConnect<TcpStream> for Sealer<'_> {
    type Stream = Sealed;
    type Error = Unsealed;
    type Future = Pin<Box<dyn Future<Output = Result<Sealed, Unsealed>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        let handshake = self.connector.connect(tls::server_name(None, self.address), stream);
        Box::pin(async { handshake.await.map(Sealed).map_err(Unsealed) })
    }
}

impl TlsStream for Sealed {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Sealed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Sealed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
