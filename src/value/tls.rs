//! How TLS is spoken to a server.

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that was read with the configuration. It is shared, and prints without its content, which may be a key.
#[derive(Clone)]
pub struct PemFile {
    path: PathBuf,
    content: Arc<[u8]>,
}

impl PemFile {
    /// A file with what is in it.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, content: Arc<[u8]>) -> PemFile {
        PemFile { path: path.into(), content }
    }

    /// Where it was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it. For the TLS library only.
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

/// What is the same for all servers that are spoken to alike: one TLS client serves them all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsPolicy {
    /// `tlsverify`, with the roots to verify with; absent: any certificate will do.
    pub verify: Option<Roots>,
    /// `tlscert` and `tlskey`: what is shown to servers that ask for it.
    pub identity: Option<Identity>,
    /// `tlslegacy`: versions and ciphers that were given up long ago are spoken, too.
    pub legacy: bool,
}

impl TlsPolicy {
    /// The files that it was made of.
    pub fn files(&self) -> impl Iterator<Item = &PemFile> {
        let roots = self.verify.iter().filter_map(|roots| match roots {
            Roots::System => None,
            Roots::File(file) => Some(file),
        });
        roots.chain(self.identity.iter().flat_map(|identity| [&identity.certificates, &identity.key]))
    }
}

/// Who is believed about certificates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Roots {
    /// Whom this machine believes.
    System,
    /// `tlsca`: those in a file, and nobody else.
    File(PemFile),
}

/// A certificate of our own and its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The certificate, and those between it and its root.
    pub certificates: PemFile,
    /// Its private key.
    pub key: PemFile,
}

/// How TLS is spoken to one server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tls {
    /// What it shares with others; equal ones of one configuration are one.
    pub policy: Arc<TlsPolicy>,
    /// The name that is asked for (SNI) and verified; absent: none is sent, and the address is verified.
    pub server_name: Option<String>,
    /// `tlswarn`: a certificate that ends in fewer days is warned of; 0: none is.
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
