//! The feature `legacy-tls`: TLS that rustls no longer supports (1.0 and 1.1, CBC, RSA and DHE key exchange), by the
//! system's OpenSSL.

use std::io;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509VerifyResult};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::TlsClientError;
use crate::net::stream::Stream;
use crate::value::{ClientIdentity, PemFile, Roots, TlsPolicy};

/// A TLS client for old servers. It also works with current ones.
#[derive(Clone)]
pub(super) struct LegacyClient {
    context: SslContext,
    verify: bool,
}

impl LegacyClient {
    pub(super) fn new(policy: &TlsPolicy) -> Result<LegacyClient, TlsClientError> {
        let mut context = everything().map_err(|error| TlsClientError::Library(said(&error)))?;
        match &policy.verify {
            None => context.set_verify(SslVerifyMode::NONE),
            Some(roots) => {
                context.set_verify(SslVerifyMode::PEER);
                trust(&mut context, roots)?;
            }
        }
        if let Some(identity) = &policy.identity {
            introduce(&mut context, identity)?;
        }
        Ok(LegacyClient { context: context.build(), verify: policy.verify.is_some() })
    }

    pub(super) async fn connect(&self, name: &ServerName<'static>, stream: TcpStream) -> io::Result<Stream> {
        let ssl = self.prepare(name).map_err(|error| io::Error::other(said(&error)))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|error| io::Error::other(said(&error)))?;
        if let Err(error) = Pin::new(&mut stream).connect().await {
            return Err(explained(error, stream.ssl().verify_result()));
        }
        Ok(Stream::Legacy(Box::new(stream)))
    }

    fn prepare(&self, name: &ServerName<'static>) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        if let ServerName::DnsName(name) = name {
            ssl.set_hostname(name.as_ref())?;
        }
        if self.verify {
            let expected = ssl.param_mut();
            expected.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
            match name {
                ServerName::IpAddress(address) => expected.set_ip(std::net::IpAddr::from(*address))?,
                other => expected.set_host(&other.to_str())?,
            }
        }
        Ok(ssl)
    }
}

/// A context with all versions and ciphers that the system's OpenSSL still has.
fn everything() -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_min_proto_version(Some(SslVersion::TLS1))?;
    context.set_cipher_list("ALL:COMPLEMENTOFALL:!aNULL:!eNULL:@SECLEVEL=0")?;
    // Servers from before RFC 5746 do not support secure renegotiation.
    context.set_options(SslOptions::ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
    Ok(context)
}

fn trust(context: &mut SslContextBuilder, roots: &Roots) -> Result<(), TlsClientError> {
    let library = |error: ErrorStack| TlsClientError::Library(said(&error));
    match roots {
        Roots::System => context.set_default_verify_paths().map_err(library),
        Roots::File(file) => {
            let mut store = X509StoreBuilder::new().map_err(library)?;
            for certificate in certificates("tlsca", file)? {
                store.add_cert(certificate).map_err(library)?;
            }
            context.set_cert_store(store.build());
            Ok(())
        }
    }
}

fn introduce(context: &mut SslContextBuilder, own: &ClientIdentity) -> Result<(), TlsClientError> {
    let wrong = |error: ErrorStack| TlsClientError::file("tlscert", &own.certificates, said(&error));
    let mut chain = certificates("tlscert", &own.certificates)?.into_iter();
    if let Some(first) = chain.next() {
        context.set_certificate(&first).map_err(wrong)?;
    }
    for next in chain {
        context.add_extra_chain_cert(next).map_err(wrong)?;
    }
    // No prompt for a passphrase: the daemon has no terminal.
    let key = PKey::private_key_from_pem_callback(own.key.reveal(), |_| Ok(0));
    let wrong = |error: ErrorStack| TlsClientError::file("tlskey", &own.key, said(&error));
    context.set_private_key(&*key.map_err(wrong)?).map_err(wrong)?;
    context.check_private_key().map_err(wrong)
}

fn certificates(directive: &'static str, file: &PemFile) -> Result<Vec<X509>, TlsClientError> {
    match X509::stack_from_pem(file.reveal()) {
        Ok(found) if found.is_empty() => {
            Err(TlsClientError::file(directive, file, "no certificate in PEM form found"))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(TlsClientError::file(directive, file, said(&error))),
    }
}

/// The reason without the library's numbers and file names.
fn said(error: &ErrorStack) -> String {
    let reason = error.errors().last().and_then(|error| error.reason().map(ToOwned::to_owned));
    reason.unwrap_or_else(|| "OpenSSL does not say why".to_owned())
}

fn explained(error: openssl::ssl::Error, verified: X509VerifyResult) -> io::Error {
    if verified != X509VerifyResult::OK {
        return io::Error::other(format!("the certificate is not accepted: {}", verified.error_string()));
    }
    if let Some(stack) = error.ssl_error() {
        return io::Error::other(said(stack));
    }
    error.into_io_error().unwrap_or_else(|_| io::ErrorKind::UnexpectedEof.into())
}
