//! The identity of a daemon: its name, its table and its file. The daemon writes it into the lock of its name and into
//! the lock of its file ([`super::lock`]), so that one file has one daemon, whatever name it was started under.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::lock::{self, Holder};
use super::process::Process;

/// The longest name in bytes, so that file names with a prefix and a suffix stay valid.
pub const LONGEST_NAME: usize = 200;

/// The identity of a daemon, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The name under which it was started.
    pub name: String,
    /// The network namespace of its table, as `net:[NUMBER]` (namespaces(7)). None: its table is in memory.
    pub network: Option<String>,
    /// Its configuration, with every link resolved.
    pub file: PathBuf,
}

const NAME: &str = "name ";
const NETWORK: &str = "network ";
const FILE: &str = "file ";

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{NAME}{}", self.name)?;
        if let Some(network) = &self.network {
            writeln!(f, "{NETWORK}{network}")?;
        }
        writeln!(f, "{FILE}{}", self.file.display())
    }
}

impl FromStr for Instance {
    type Err = ();

    fn from_str(text: &str) -> Result<Instance, ()> {
        let word = |begin: &str| text.lines().find_map(|line| line.strip_prefix(begin)).map(str::to_owned);
        // Otherwise a user who owns the file could make root use another path.
        let name = word(NAME).filter(|name| is_name(name)).ok_or(())?;
        Ok(Instance { name, network: word(NETWORK), file: word(FILE).ok_or(())?.into() })
    }
}

impl Instance {
    /// The lock of its file. None with a table in memory: a dry run may run next to the daemon on the kernel's table.
    #[must_use]
    pub fn file_lock(&self, directory: &Path) -> Option<PathBuf> {
        let network = self.network.as_ref()?;
        Some(directory.join(format!("{}.file", digest(&format!("{network}\0{}", self.file.display())))))
    }
}

/// The daemon that a lock names.
///
/// # Errors
/// The lock cannot be opened, so the daemon is unknown.
pub fn held(lock: &Path) -> io::Result<Option<(Process, Instance)>> {
    Ok(match lock::described(lock)? {
        (Holder::Daemon(process), about) => about.parse().ok().map(|instance| (process, instance)),
        _ => None,
    })
}

/// Whether this is a valid name of a daemon.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(['/', '\n', '\0'])
}

/// A short name for a long one, the same in every release.
#[must_use]
pub fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::lock::Lock;

    fn instance(name: &str, network: Option<&str>) -> Instance {
        Instance {
            name: name.to_owned(),
            network: network.map(str::to_owned),
            file: "/etc/ha.d/web.cf".into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for written in [instance("web.cf", None), instance("ldirectord", Some("net:[1]"))] {
            assert_eq!(written.to_string().parse(), Ok(written));
        }
        // Other paths and incomplete texts.
        for text in ["name ../x\nfile /y\n", "name \nfile /y\n", "name x\n", "file /y\n", ""] {
            assert_eq!(text.parse::<Instance>(), Err(()), "{text:?}");
        }
        assert!(is_name(&"x".repeat(200)) && !is_name(&"x".repeat(201)));
    }

    #[test]
    fn a_file_and_a_network_have_one_lock_whatever_the_name() {
        let directory = Path::new("/run/ldirectord-rs");
        let lock = |name, network| instance(name, network).file_lock(directory);
        assert_eq!(lock("web.cf", Some("net:[1]")), lock("ldirectord", Some("net:[1]")));
        assert_ne!(lock("web.cf", Some("net:[1]")), lock("web.cf", Some("net:[2]")));
        assert_eq!(lock("web.cf", None), None);
        // Daemons of other releases must find the same lock.
        let expected = "/run/ldirectord-rs/6ab9d45d5e4a1af22a1e6187a90a7ad8.file";
        assert_eq!(lock("web.cf", Some("net:[1]")).unwrap().to_str(), Some(expected));
    }

    #[test]
    fn the_daemon_of_a_lock_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf.lock");
        assert_eq!(held(&path).unwrap(), None);
        let mut lock = Lock::take(&path).unwrap().unwrap();
        assert_eq!(held(&path).unwrap(), None, "it starts");
        let web = instance("web.cf", Some("net:[1]"));
        lock.name_own_process(&web.to_string());
        assert_eq!(held(&path).unwrap(), Some((Process::own(), web)));
        drop(lock);
        assert_eq!(held(&path).unwrap(), None, "it is gone");
    }
}
