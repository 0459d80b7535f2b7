//! TLS for the PostgreSQL library, made by the clients that all checks share.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

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

impl<'a> TlsConnect<TcpStream> for Sealer<'a> {
    type Stream = Stream;
    type Error = HandshakeError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, HandshakeError>> + Send + 'a>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(self.clients.shake_hands(self.tls, self.address, stream, self.progress))
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
