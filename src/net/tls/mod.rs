//! TLS to servers. By default certificates are not verified: a check tests whether a server works, not its identity.

pub mod certificate;
#[cfg(feature = "legacy-tls")]
mod legacy;
mod verify;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::stream::Stream;
use crate::value::{PemFile, TlsPolicy};

/// The explanation if no TLS version is common.
const OLD_TLS: &str = "the server offers only TLS 1.0 or 1.1: update the server's TLS";

/// The explanation if no cipher or key is common. Servers send the same alert for both.
const NO_CIPHER: &str = "no common cipher or key type (the server offers only ciphers with CBC, or RSA or DHE key exchange, or has a \
                         key of type P-521 with tlsverify=yes): update the server's TLS";

/// The rest of both explanations: how to make this program use old TLS.
const SPEAK_OLD_TLS: &str = if cfg!(feature = "legacy-tls") {
    "or set `#rs: tlslegacy=yes` for it"
} else {
    "or set `#rs: tlslegacy=yes` for it with a program built with the feature legacy-tls"
};

/// Why a client for a policy cannot be created.
#[derive(Debug, Error)]
pub enum TlsClientError {
    /// The content of a file is not usable.
    #[error("{directive}: {}: {cause}", path.display())]
    File {
        /// The directive that names the file.
        directive: &'static str,
        /// The file.
        path: PathBuf,
        /// The problem.
        cause: String,
    },
    /// The system's CA store is empty.
    #[error(
        "tlsverify: this machine has no trusted CA certificates ({0}); install ca-certificates, or set tlsca"
    )]
    NoRoots(String),
    /// The feature is not in this build.
    #[error(
        "tlslegacy=yes, but this program was built without legacy-tls; build it with `--features legacy-tls`, \
             or remove tlslegacy"
    )]
    NoLegacy,
    /// The TLS library itself cannot be set up.
    #[error("the TLS library rejects its own defaults: {0}")]
    Library(String),
}

impl TlsClientError {
    fn file(directive: &'static str, file: &PemFile, cause: impl ToString) -> TlsClientError {
        TlsClientError::File { directive, path: Path::to_owned(file.path()), cause: cause.to_string() }
    }
}

/// Installs the crypto provider of the program. Further calls have no effect.
pub fn install_provider() {
    // The only error is that a provider is already installed.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// The TLS client for all servers with one policy. Cheap to clone.
#[derive(Clone)]
pub struct TlsClient(TlsBackend);

#[derive(Clone)]
enum TlsBackend {
    Rustls(Arc<ClientConfig>),
    #[cfg(feature = "legacy-tls")]
    Legacy(legacy::LegacyClient),
}

impl TlsClient {
    /// Creates a client from files that are already read. The first client that uses the system's CA store reads that.
    ///
    /// # Errors
    /// When the content of a file is not usable, or the feature is not in this build.
    pub fn new(policy: &TlsPolicy) -> Result<TlsClient, TlsClientError> {
        if policy.legacy {
            #[cfg(feature = "legacy-tls")]
            return Ok(TlsClient(TlsBackend::Legacy(legacy::LegacyClient::new(policy)?)));
            #[cfg(not(feature = "legacy-tls"))]
            return Err(TlsClientError::NoLegacy);
        }
        let library = |error: Error| TlsClientError::Library(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = verify::verifier(policy.verify.as_ref(), &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(library)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &policy.identity {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key.reveal());
                let key = key.map_err(|_| {
                    let cause = "no private key in PEM form found (a key with a passphrase is not supported)";
                    TlsClientError::file("tlskey", &own.key, cause)
                })?;
                let chain = certificates("tlscert", &own.certificates)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    let cause = match error {
                        Error::InconsistentKeys(_) => "does not match the certificate in tlscert".to_owned(),
                        other => other.to_string(),
                    };
                    TlsClientError::file("tlskey", &own.key, cause)
                })?
            }
        };
        // A check must do a full handshake, and session tickets of 10,000 servers take memory.
        config.resumption = Resumption::disabled();
        Ok(TlsClient(TlsBackend::Rustls(Arc::new(config))))
    }

    /// The same client for one dialogue of several connections: later ones resume the session of the first, which
    /// some FTP servers require. (With old TLS each connection does a full handshake.)
    #[must_use]
    pub fn with_memory(&self) -> TlsClient {
        TlsClient(match &self.0 {
            TlsBackend::Rustls(config) => {
                let mut own = ClientConfig::clone(config);
                own.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(2)));
                TlsBackend::Rustls(Arc::new(own))
            }
            #[cfg(feature = "legacy-tls")]
            TlsBackend::Legacy(client) => TlsBackend::Legacy(client.clone()),
        })
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// When the handshake fails; [`explain`] describes the error.
    pub async fn connect(&self, name: ServerName<'static>, stream: TcpStream) -> io::Result<Stream> {
        match &self.0 {
            TlsBackend::Rustls(config) => {
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
            #[cfg(feature = "legacy-tls")]
            TlsBackend::Legacy(client) => client.connect(&name, stream).await,
        }
    }
}

/// The certificates in a file, at least one.
fn certificates(
    directive: &'static str,
    file: &PemFile,
) -> Result<Vec<CertificateDer<'static>>, TlsClientError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.reveal()).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(TlsClientError::file(directive, file, "no certificate in PEM form found"))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(TlsClientError::file(directive, file, error)),
    }
}

/// The name to request and to verify: a DNS name is sent as SNI. Otherwise the address is verified and no SNI is sent.
#[must_use]
pub fn server_name(name: Option<&str>, address: IpAddr) -> ServerName<'static> {
    let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    name.unwrap_or(ServerName::IpAddress(address.into()))
}

/// Describes a failed handshake.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return "the server closed the connection in the TLS handshake".to_owned();
        }
        return format!("TLS handshake: {}", super::cause(error));
    };
    format!("TLS handshake: {}", reason(tls))
}

/// Describes an error of the TLS library for the operator. It may also come after the handshake: in TLS 1.3 a server
/// rejects a client certificate then.
#[must_use]
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            format!("{NO_CIPHER}, {SPEAK_OLD_TLS} (or it demands a client certificate: tlscert and tlskey)")
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension,
        ) => format!("{OLD_TLS}, {SPEAK_OLD_TLS}"),
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite) => {
            format!("{NO_CIPHER}, {SPEAK_OLD_TLS}")
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server demands a client certificate: set tlscert and tlskey".to_owned()
        }
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied
            | AlertDescription::UnsupportedCertificate),
        ) => format!("the server rejects our client certificate, or requires one ({alert:?})"),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server does not know the requested name (tlsname, else virtualhost)".to_owned()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS on this port".to_owned()
        }
        Error::InvalidCertificate(error) => distrust(error),
        other => other.to_string(),
    }
}

/// Describes why a certificate is rejected.
fn distrust(error: &CertificateError) -> String {
    let day = |time: &rustls::pki_types::UnixTime| certificate::day(time.as_secs().cast_signed());
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired on {}", day(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", day(not_before))
        }
        CertificateError::UnknownIssuer => {
            "the certificate is not signed by a trusted CA (`tlsca`, or the system's CA store)".to_owned()
        }
        CertificateError::BadSignature => {
            "the certificate has an invalid signature, or another CA of the same name signed it".to_owned()
        }
        other => format!("the certificate is not accepted: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_names_are_sent() {
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        for (name, sent) in [
            (Some("www.example.net"), true),
            (Some("under_score.example"), true),
            (Some("10.0.0.3"), false),
            (Some(""), false),
            (Some("a b"), false),
            (Some("www.example.net:443"), false),
            (None, false),
        ] {
            assert_eq!(matches!(server_name(name, address), ServerName::DnsName(_)), sent, "{name:?}");
        }
        // An address is verified if one is given.
        let other: IpAddr = "10.0.0.3".parse().unwrap();
        assert_eq!(server_name(Some("10.0.0.3"), address), ServerName::IpAddress(other.into()));
    }

    #[test]
    fn a_client_can_be_made_twice() {
        install_provider();
        install_provider();
        assert!(TlsClient::new(&TlsPolicy::default()).is_ok());
        assert!(TlsClient::new(&TlsPolicy::default()).is_ok());
    }
}
