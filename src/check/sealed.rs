//! TLS for the PostgreSQL library, made by the clients that all checks share.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::bounded::Bounded;
use super::clients::{Clients, HandshakeError};
use super::progress::Progress;
use crate::net::stream::Stream;
use crate::value::Tls;

/// What the library is given to shake hands with.
pub(super) struct Sealer<'a> {
    pub(super) clients: &'a Clients,
    pub(super) tls: &'a Tls,
    pub(super) address: IpAddr,
    pub(super) progress: &'a Progress,
}

/// What a server says in a check is read up to this; the library keeps it all.
pub(super) const MAX_ANSWER: usize = 4 * 1024 * 1024;

impl<'a> TlsConnect<Bounded<TcpStream>> for Sealer<'a> {
    type Stream = Bounded<Stream>;
    type Error = HandshakeError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, HandshakeError>> + Send + 'a>>;

    fn connect(self, stream: Bounded<TcpStream>) -> Self::Future {
        Box::pin(async move {
            let sealed =
                self.clients.shake_hands(self.tls, self.address, stream.stream, self.progress).await?;
            Ok(Bounded::new(sealed, MAX_ANSWER))
        })
    }
}

impl TlsStream for Bounded<Stream> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
