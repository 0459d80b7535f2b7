//! TLS towards servers. By default nobody is verified: a check asks whether a server works, not who it is.

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

/// What servers say, in one alert, that only offer what was given up long ago.
const OLD_TLS: &str = "the server offers only old TLS (1.0, 1.1, or ciphers without forward secrecy); cure: renew the server's TLS";

/// The rest of it: how this program can be brought to speak it.
const SPEAK_OLD_TLS: &str = if cfg!(feature = "legacy-tls") {
    "or set `#rs: tlslegacy=yes` for it"
} else {
    "or set `#rs: tlslegacy=yes` for it with a program that is built with the feature legacy-tls"
};

/// Why there is no client for a policy.
#[derive(Debug, Error)]
pub enum ClientError {
    /// A file does not hold what it should.
    #[error("{directive}: {}: {cause}", path.display())]
    File {
        /// Which directive names it.
        directive: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Nobody is believed here.
    #[error("tlsverify: this machine has no root certificates ({0}); install ca-certificates, or give tlsca")]
    NoRoots(String),
    /// The program lacks what is wanted.
    #[error(
        "tlslegacy=yes, but this program was built without legacy-tls; build it with `--features legacy-tls`, \
             or remove tlslegacy"
    )]
    NoLegacy,
    /// A fault of the build.
    #[error("the TLS library refuses its own defaults: {0}")]
    Library(String),
}

impl ClientError {
    fn file(directive: &'static str, file: &PemFile, cause: impl ToString) -> ClientError {
        ClientError::File { directive, path: Path::to_owned(file.path()), cause: cause.to_string() }
    }
}

/// Installs the one crypto provider of the program, if none is; harmless when repeated.
pub fn install_provider() {
    // The error only says that a provider is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Who shakes hands with all servers of one policy. Cheap to clone.
#[derive(Clone)]
pub struct Client(Kind);

#[derive(Clone)]
enum Kind {
    Rustls(Arc<ClientConfig>),
    #[cfg(feature = "legacy-tls")]
    Legacy(legacy::Client),
}

impl Client {
    /// Makes one from files that were read already. The first that verifies with the roots of this machine reads those.
    ///
    /// # Errors
    /// When a file does not hold what it should, or the program lacks what is wanted.
    pub fn new(policy: &TlsPolicy) -> Result<Client, ClientError> {
        if policy.legacy {
            #[cfg(feature = "legacy-tls")]
            return Ok(Client(Kind::Legacy(legacy::Client::new(policy)?)));
            #[cfg(not(feature = "legacy-tls"))]
            return Err(ClientError::NoLegacy);
        }
        let library = |error: Error| ClientError::Library(error.to_string());
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
                    let cause =
                        "no private key in it in the form of PEM (one with a passphrase cannot be used)";
                    ClientError::file("tlskey", &own.key, cause)
                })?;
                let chain = certificates("tlscert", &own.certificates)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    let cause = match error {
                        Error::InconsistentKeys(_) => "not the key of tlscert".to_owned(),
                        other => other.to_string(),
                    };
                    ClientError::file("tlskey", &own.key, cause)
                })?
            }
        };
        // A check is to see a whole handshake, and tickets of 10,000 servers are memory.
        config.resumption = Resumption::disabled();
        Ok(Client(Kind::Rustls(Arc::new(config))))
    }

    /// The same client for one dialogue of several connections: a later one resumes the session of the first, which some
    /// servers of FTP demand. (Old TLS has no memory: each of its connections shakes hands anew.)
    #[must_use]
    pub fn with_memory(&self) -> Client {
        Client(match &self.0 {
            Kind::Rustls(config) => {
                let mut own = ClientConfig::clone(config);
                own.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(2)));
                Kind::Rustls(Arc::new(own))
            }
            #[cfg(feature = "legacy-tls")]
            Kind::Legacy(client) => Kind::Legacy(client.clone()),
        })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// What [`explain`] puts into words.
    pub async fn connect(&self, name: ServerName<'static>, stream: TcpStream) -> io::Result<Stream> {
        match &self.0 {
            Kind::Rustls(config) => {
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
            #[cfg(feature = "legacy-tls")]
            Kind::Legacy(client) => client.connect(&name, stream).await,
        }
    }
}

/// The certificates in a file, of which there must be one.
fn certificates(
    directive: &'static str,
    file: &PemFile,
) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.reveal()).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(ClientError::file(directive, file, "no certificate in it in the form of PEM"))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(ClientError::file(directive, file, error)),
    }
}

/// Whom to ask for and to verify: a DNS name is sent as SNI; with an address, and anything else, none is sent.
#[must_use]
pub fn server_name(name: Option<&str>, address: IpAddr) -> ServerName<'static> {
    let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    name.unwrap_or(ServerName::IpAddress(address.into()))
}

/// Says what went wrong in a handshake.
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

/// What the TLS library found wrong, in words for the operator; also behind the handshake, when TLS 1.3 says who it does not
/// let in.
#[must_use]
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            format!("{OLD_TLS}, {SPEAK_OLD_TLS} (or it demands a client certificate: tlscert and tlskey)")
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension,
        )
        | Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite) => {
            format!("{OLD_TLS}, {SPEAK_OLD_TLS}")
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server demands a client certificate: give tlscert and tlskey".to_owned()
        }
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied
            | AlertDescription::UnsupportedCertificate),
        ) => format!("the server refuses our client certificate, or the lack of one ({alert:?})"),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server does not know the name that was asked for (tlsname, else virtualhost)".to_owned()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS on this port".to_owned()
        }
        Error::InvalidCertificate(error) => distrust(error),
        other => other.to_string(),
    }
}

/// Why a certificate is not believed.
fn distrust(error: &CertificateError) -> String {
    let day = |time: &rustls::pki_types::UnixTime| certificate::day(time.as_secs().cast_signed());
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate is not valid any more, it ended on {}", day(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid yet, it begins on {}", day(not_before))
        }
        CertificateError::UnknownIssuer => {
            "no root that is believed stands behind the certificate (tlsca, else those of this machine)"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "a signature of the certificate is wrong, or it is by another root of the same name".to_owned()
        }
        other => format!("the certificate is not believed: {other}"),
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
        // An address is verified where it is given.
        let other: IpAddr = "10.0.0.3".parse().unwrap();
        assert_eq!(server_name(Some("10.0.0.3"), address), ServerName::IpAddress(other.into()));
    }

    #[test]
    fn a_client_can_be_made_twice() {
        install_provider();
        install_provider();
        assert!(Client::new(&TlsPolicy::default()).is_ok());
        assert!(Client::new(&TlsPolicy::default()).is_ok());
    }
}
