//! The TLS clients that all checks share: one per policy, for any number of servers.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::net::TcpStream;

use super::progress::Progress;
use crate::net::stream::Stream;
use crate::net::tls::certificate::Certificate;
use crate::net::tls::{self, TlsClient, TlsClientError};
use crate::value::{Tls, TlsPolicy};

/// The clients created so far, each with its policy.
#[derive(Default)]
pub(super) struct Clients {
    known: Mutex<Vec<(Arc<TlsPolicy>, TlsClient)>>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The server or the network failed.
    #[error("{}", tls::explain(.0))]
    Failed(#[from] std::io::Error),
    /// The client cannot be created. Rare: the configuration was read with the same files.
    #[error(transparent)]
    Client(#[from] TlsClientError),
}

impl Clients {
    /// The client for a policy, created at the first use.
    pub(super) fn of(&self, policy: &Arc<TlsPolicy>) -> Result<TlsClient, TlsClientError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = known.iter().find(|(own, _)| Arc::ptr_eq(own, policy)) {
            return Ok(client.clone());
        }
        // A reload creates new values for equal policies, and drops the old ones soon.
        let client = match known.iter().find(|(own, _)| own == policy) {
            Some((_, client)) => client.clone(),
            None => TlsClient::new(policy)?,
        };
        known.retain(|(own, _)| Arc::strong_count(own) > 1);
        known.push((Arc::clone(policy), client.clone()));
        Ok(client)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Does the TLS handshake on a connection, and adds a warning if the certificate expires soon.
    pub(super) async fn handshake(
        &self,
        tls: &Tls,
        address: IpAddr,
        stream: TcpStream,
        progress: &Progress,
    ) -> Result<Stream, HandshakeError> {
        handshake_with(&self.of(&tls.policy)?, tls, address, stream, progress).await
    }
}

/// The same with a given client.
pub(super) async fn handshake_with(
    client: &TlsClient,
    tls: &Tls,
    address: IpAddr,
    stream: TcpStream,
    progress: &Progress,
) -> Result<Stream, HandshakeError> {
    let (stream, shown) = handshake(client, tls, address, stream).await?;
    shown.report(progress);
    Ok(stream)
}

/// What a server's certificate says.
#[derive(Clone, Debug, Default)]
pub(super) struct ShownCertificate {
    expires: Option<i64>,
    warning: Option<String>,
}

impl ShownCertificate {
    fn read(stream: &Stream, warn_days: u32) -> ShownCertificate {
        let Some(shown) = stream.certificate() else { return ShownCertificate::default() };
        let certificate = Certificate::read(&shown);
        let warning = match &certificate {
            _ if warn_days == 0 => None,
            Some(certificate) => certificate.warning(SystemTime::now(), warn_days),
            None => Some("the certificate cannot be read".to_owned()),
        };
        ShownCertificate { expires: certificate.map(|certificate| certificate.expires()), warning }
    }

    /// Adds it to the verdict of the check.
    pub(super) fn report(self, progress: &Progress) {
        progress.warn(self.warning);
        if let Some(expires) = self.expires {
            progress.certificate(expires);
        }
    }
}

/// Does the handshake. Returns what the certificate says as well.
pub(super) async fn handshake(
    client: &TlsClient,
    tls: &Tls,
    address: IpAddr,
    stream: TcpStream,
) -> Result<(Stream, ShownCertificate), HandshakeError> {
    let name = tls::server_name(tls.server_name.as_deref(), address);
    let stream = client.connect(name, stream).await?;
    let shown = ShownCertificate::read(&stream, tls.warn_days);
    Ok((stream, shown))
}
