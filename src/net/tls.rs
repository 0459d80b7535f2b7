//! TLS towards servers that nobody verifies: a check asks whether a server works, not who it is.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, PeerIncompatible,
    SignatureScheme,
};

/// What servers say, in one alert, that only offer what was given up long ago.
const OLD_TLS: &str = "the server offers only old TLS (1.0, 1.1, or ciphers without forward secrecy), which this build does not \
                       speak; cure: renew the server's TLS, or use checktype=external with a client that still speaks it";

/// Installs the one crypto provider of the program, if none is; harmless when repeated.
pub fn install_provider() {
    // The error only says that a provider is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// The configuration that all checks share: any certificate and signature will do, nothing is remembered.
///
/// # Errors
/// When the crypto provider offers none of the protocol versions, which is a fault of the build.
pub fn unverified() -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified))
        .with_no_client_auth();
    // A check is to see a whole handshake, and tickets of 10,000 servers are memory.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name to ask for: a valid DNS name is sent as SNI; with anything else the address stands in, and none is sent.
#[must_use]
pub fn server_name(name: Option<&str>, address: IpAddr) -> ServerName<'static> {
    let dns = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    match dns {
        Some(dns @ ServerName::DnsName(_)) => dns,
        _ => ServerName::IpAddress(address.into()),
    }
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
    match tls {
        Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension,
        ) => format!("TLS handshake: {OLD_TLS}"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "TLS handshake: the server does not speak TLS on this port".to_owned()
        }
        other => format!("TLS handshake: {other}"),
    }
}

/// Accepts whatever a server shows.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// All that there are: as no signature is looked at, what the provider can compute does not limit what a server may use.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::ED448,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::ECDSA_SHA1_Legacy,
            SignatureScheme::RSA_PKCS1_SHA1,
        ]
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
    }

    #[test]
    fn a_configuration_can_be_made_twice() {
        install_provider();
        install_provider();
        assert!(unverified().is_ok());
        assert!(unverified().is_ok());
    }
}
