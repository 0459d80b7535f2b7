//! Valid and invalid certificates for the tests, and servers that use them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::value::{ClientIdentity, PemFile, Roots};

/// The name in the certificates.
pub(super) const NAME: &str = "www.example.net";
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A CA.
pub(super) struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(super) struct Certificate {
    pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Authority { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for [`NAME`] and the loopback addresses, with this validity.
    pub(super) fn certificate(&self, from: SystemTime, to: SystemTime) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params(from, to).signed_by(&key, &self.issuer).unwrap();
        Certificate { pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// A certificate that is valid for a year.
    pub(super) fn good(&self) -> Certificate {
        self.certificate(SystemTime::now() - DAY, SystemTime::now() + 365 * DAY)
    }

    pub(super) fn roots(&self) -> Roots {
        Roots::File(PemFile::new("/etc/ca.pem", self.pem.as_bytes().into()))
    }
}

fn params(from: SystemTime, to: SystemTime) -> CertificateParams {
    let names = [NAME, "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, NAME);
    (params.not_before, params.not_after) = (from.into(), to.into());
    params
}

impl Certificate {
    /// A self-signed certificate.
    pub(super) fn signed_by_itself() -> Certificate {
        let key = KeyPair::generate().unwrap();
        let certificate =
            params(SystemTime::now() - DAY, SystemTime::now() + 365 * DAY).self_signed(&key).unwrap();
        Certificate { pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    pub(super) fn roots(&self) -> Roots {
        Roots::File(PemFile::new("/etc/server.pem", self.pem.as_bytes().into()))
    }

    pub(super) fn identity(&self) -> ClientIdentity {
        ClientIdentity {
            certificates: PemFile::new("/etc/own.pem", self.pem.as_bytes().into()),
            key: PemFile::new("/etc/own.key", self.key.serialize_pem().as_bytes().into()),
        }
    }

    /// A TLS acceptor with this certificate. With `clients` it requires client certificates signed by that CA.
    pub(super) fn acceptor(&self, clients: Option<&Authority>) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![self.der.clone()], key).unwrap()))
    }
}
