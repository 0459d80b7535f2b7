//! The TLS settings of checks.

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that was read with the configuration. Clones share its content, which is not printed because it may be a
/// key.
#[derive(Clone)]
pub struct PemFile {
    path: PathBuf,
    content: Arc<[u8]>,
}

impl PemFile {
    /// Wraps a path and the content of the file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, content: Arc<[u8]>) -> PemFile {
        PemFile { path: path.into(), content }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content, only for the TLS library.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.content
    }
}

impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.path, f)
    }
}

impl Ord for PemFile {
    fn cmp(&self, other: &PemFile) -> Ordering {
        // The checks of one configuration share a file; it may be large.
        let contents = match Arc::ptr_eq(&self.content, &other.content) {
            true => Ordering::Equal,
            false => self.content.cmp(&other.content),
        };
        self.path.cmp(&other.path).then(contents)
    }
}

impl PartialOrd for PemFile {
    fn partial_cmp(&self, other: &PemFile) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PemFile {
    fn eq(&self, other: &PemFile) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PemFile {}

/// TLS settings that several servers can share. One TLS client serves all servers with the same policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsPolicy {
    /// `tlsverify`, with the CA certificates to verify with. Absent: any certificate is accepted.
    pub verify: Option<Roots>,
    /// `tlscert` and `tlskey`: the client certificate for servers that request one.
    pub identity: Option<ClientIdentity>,
    /// `tlslegacy`: whether obsolete versions and ciphers are allowed.
    pub legacy: bool,
}

impl TlsPolicy {
    /// The files that it contains.
    pub fn files(&self) -> impl Iterator<Item = &PemFile> {
        let roots = self.verify.iter().filter_map(|roots| match roots {
            Roots::System => None,
            Roots::File(file) => Some(file),
        });
        roots.chain(self.identity.iter().flat_map(|identity| [&identity.certificates, &identity.key]))
    }
}

/// The trusted CA certificates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Roots {
    /// The CA store of the system.
    System,
    /// `tlsca`: only those in a file.
    File(PemFile),
}

/// A client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientIdentity {
    /// The certificate and its intermediate certificates.
    pub certificates: PemFile,
    /// The private key.
    pub key: PemFile,
}

/// The TLS settings for one server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tls {
    /// The settings shared with other servers. Equal policies of a configuration are one instance.
    pub policy: Arc<TlsPolicy>,
    /// The name that is sent (SNI) and verified. Absent: no name is sent, and the address is verified.
    pub server_name: Option<String>,
    /// `tlswarn`: warn about a certificate that expires in fewer days. 0: never.
    pub warn_days: u32,
}

impl Tls {
    /// The default of [`Tls::warn_days`].
    pub const WARN_DAYS: u32 = 14;
}

impl Default for Tls {
    fn default() -> Tls {
        Tls { policy: Arc::default(), server_name: None, warn_days: Tls::WARN_DAYS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_compared_by_their_content_and_never_shown() {
        let file = |content: &str| PemFile::new("/etc/key.pem", content.as_bytes().into());
        assert_eq!(file("hunter2"), file("hunter2"));
        assert_ne!(file("hunter2"), file("hunter3"));
        assert_ne!(file("hunter2"), PemFile::new("/etc/other.pem", b"hunter2".as_slice().into()));
        assert_eq!(format!("{:?}", file("hunter2")), "\"/etc/key.pem\"");
    }
}
