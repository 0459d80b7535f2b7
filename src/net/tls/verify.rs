//! Verifies certificates: none, or issuer, name and validity.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::Certificate;
use super::{TlsClientError, certificates};
use crate::value::{PemFile, Roots};

/// The verifier for `tlsverify`. Without roots it accepts every certificate.
pub(super) fn verifier(
    roots: Option<&Roots>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsClientError> {
    let (roots, trusted) = match roots {
        None => return Ok(Arc::new(Unverified)),
        Some(Roots::System) => (system_roots()?, Vec::new()),
        Some(Roots::File(file)) => roots_in(file)?,
    };
    let chains = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| TlsClientError::Library(error.to_string()))?;
    Ok(Arc::new(Verified { chains, trusted }))
}

/// The system's CA store: read once, shared by all clients.
fn system_roots() -> Result<Arc<RootCertStore>, TlsClientError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        // Not cached: CA certificates may be installed before the next reload.
        let causes: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let cause = if causes.is_empty() { "none found".to_owned() } else { causes.join("; ") };
        return Err(TlsClientError::NoRoots(cause));
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

/// The CA certificates of a file, as roots and as they are.
fn roots_in(file: &PemFile) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), TlsClientError> {
    let found = certificates("tlsca", file)?;
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(&found) {
        roots.add(certificate.clone()).map_err(|error| {
            let cause = format!("certificate number {number} cannot be a CA: {}", super::reason(&error));
            TlsClientError::file("tlsca", file, cause)
        })?;
    }
    Ok((Arc::new(roots), found))
}

/// Accepts certificates that a root has signed.
struct Verified {
    chains: Arc<WebPkiServerVerifier>,
    /// A server with one of these as its own certificate is accepted as well: this permits self-signed certificates.
    trusted: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified")
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trusted.iter().any(|trusted| trusted == end_entity) {
            let certificate = Certificate::read(end_entity).ok_or(CertificateError::BadEncoding)?;
            certificate.holds_at(now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let verified =
            self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // For a self-signed certificate the library may report another problem instead.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if Certificate::read(end_entity).is_some_and(|certificate| certificate.signed_itself()) =>
            {
                Err(CertificateError::UnknownIssuer.into())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Accepts every certificate.
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

    /// All schemes: signatures are not verified, so the provider's abilities do not limit the server.
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
