//! TLS for the PostgreSQL library, by the TLS clients that all checks share.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_postgres::tls::TlsConnect;

use crate::check::clients::{HandshakeError, handshake};
use crate::net::limited::{ByteLimit, Limited};
use crate::net::stream::Stream;
use crate::net::tls::TlsClient;
use crate::value::Tls;

/// Does the handshake for the library.
pub(super) struct Sealer {
    pub(super) client: TlsClient,
    pub(super) tls: Tls,
    pub(super) address: IpAddr,
    /// The warning about the certificate.
    pub(super) warning: Arc<OnceLock<String>>,
}

/// The most bytes that are read from a server in one check: the library buffers all of them.
pub(super) const MAX_ANSWER: usize = 4 * 1024 * 1024;

impl TlsConnect<Limited<TcpStream, ByteLimit>> for Sealer {
    type Stream = Limited<Stream, ByteLimit>;
    type Error = HandshakeError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, HandshakeError>> + Send>>;

    fn connect(self, stream: Limited<TcpStream, ByteLimit>) -> Self::Future {
        Box::pin(async move {
            let (sealed, warning) =
                handshake(&self.client, &self.tls, self.address, stream.into_inner()).await?;
            if let Some(warning) = warning {
                // Only one handshake happens, so the cell is empty.
                drop(self.warning.set(warning));
            }
            Ok(Limited::new(sealed, ByteLimit::new(MAX_ANSWER)))
        })
    }
}
