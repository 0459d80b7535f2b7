//! TLS for the PostgreSQL library, by the TLS clients that all checks share.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_postgres::tls::TlsConnect;

use crate::check::clients::{HandshakeError, ShownCertificate, handshake};
use crate::net::limited::{ByteLimit, Limited};
use crate::net::stream::Stream;
use crate::net::tls::TlsClient;
use crate::value::Tls;

/// Does the handshake for the library.
pub(super) struct Sealer {
    pub(super) client: TlsClient,
    pub(super) tls: Tls,
    pub(super) address: IpAddr,
    /// What the certificate says.
    pub(super) shown: Arc<OnceLock<ShownCertificate>>,
}

/// The most bytes that are read from a server in one check: the library buffers all of them.
pub(super) const MAX_ANSWER: usize = 4 * 1024 * 1024;

impl TlsConnect<Limited<TcpStream, ByteLimit>> for Sealer {
    type Stream = Limited<Stream, ByteLimit>;
    type Error = HandshakeError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, HandshakeError>> + Send>>;

    fn connect(self, stream: Limited<TcpStream, ByteLimit>) -> Self::Future {
        Box::pin(async move {
            let (sealed, shown) =
                handshake(&self.client, &self.tls, self.address, stream.into_inner()).await?;
            // Only one handshake happens, so the cell is empty.
            drop(self.shown.set(shown));
            Ok(Limited::new(sealed, ByteLimit::new(MAX_ANSWER)))
        })
    }
}
