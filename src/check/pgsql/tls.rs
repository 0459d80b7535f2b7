//! TLS for the PostgreSQL library, made by the clients that all checks share.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::check::bounded::Bounded;
use crate::check::clients::{HandshakeError, handshake};
use crate::net::stream::Stream;
use crate::net::tls::Client;
use crate::value::Tls;

/// What the library is given to shake hands with.
pub(super) struct Sealer {
    pub(super) client: Client,
    pub(super) tls: Tls,
    pub(super) address: IpAddr,
    /// What the certificate is to be warned of.
    pub(super) warning: Arc<OnceLock<String>>,
}

/// What a server says in a check is read up to this; the library keeps it all.
pub(super) const MAX_ANSWER: usize = 4 * 1024 * 1024;

impl TlsConnect<Bounded<TcpStream>> for Sealer {
    type Stream = Bounded<Stream>;
    type Error = HandshakeError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, HandshakeError>> + Send>>;

    fn connect(self, stream: Bounded<TcpStream>) -> Self::Future {
        Box::pin(async move {
            let (sealed, warning) = handshake(&self.client, &self.tls, self.address, stream.stream).await?;
            if let Some(warning) = warning {
                // It is the only handshake.
                drop(self.warning.set(warning));
            }
            Ok(Bounded::new(sealed, MAX_ANSWER))
        })
    }
}

impl TlsStream for Bounded<Stream> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
