//! TLS for the PostgreSQL library, made by the connector that all checks share.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use crate::net::stream::Stream;
use crate::net::tls;

/// What the library is given to shake hands with.
pub(super) struct Sealer<'a> {
    pub(super) connector: &'a TlsConnector,
    pub(super) address: IpAddr,
}

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
    type Stream = Stream;
    type Error = Unsealed;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Unsealed>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        let handshake = self.connector.connect(tls::server_name(None, self.address), stream);
        Box::pin(async { handshake.await.map(|tls| Stream::Tls(Box::new(tls))).map_err(Unsealed) })
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
