//! The services that are ours, remembered in a file: after a crash, or a restart with another configuration, a service that
//! the new configuration does not have is still known to be ours and is removed. Foreign services never stand there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use ipvs_rs::ServiceKey;

use crate::desired;
use crate::value::VirtualId;

/// The file, a line for each service.
pub struct OwnedServices {
    path: PathBuf,
    written: Option<BTreeSet<ServiceKey>>,
    /// The last attempt to write failed, which was reported.
    failing: bool,
}

impl OwnedServices {
    /// The file at this path, which need not exist.
    #[must_use]
    pub fn open(path: PathBuf) -> OwnedServices {
        OwnedServices { path, written: None, failing: false }
    }

    /// What an earlier run left behind; lines that make no sense are passed over.
    #[must_use]
    pub fn read(&self) -> BTreeSet<ServiceKey> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(|line| line.parse::<VirtualId>().ok()).map(desired::service_key).collect()
    }

    /// Notes what is ours now, if it is not what the file says already.
    ///
    /// # Errors
    /// When the file cannot be written: after a crash services of an older configuration would stay. The next calls try again, and
    /// give no error until it has worked once.
    pub fn write(&mut self, owned: &BTreeSet<ServiceKey>) -> io::Result<()> {
        if self.written.as_ref() == Some(owned) {
            return Ok(());
        }
        let mut text = String::new();
        for id in owned.iter().filter_map(|key| desired::virtual_id(*key)) {
            text.push_str(&id.qualified());
            text.push('\n');
        }
        match self.replace(&text) {
            Ok(()) => {
                self.failing = false;
                self.written = Some(owned.clone());
                Ok(())
            }
            Err(_) if std::mem::replace(&mut self.failing, true) => Ok(()),
            Err(error) => {
                let what = format!("{} cannot be written: {error}", self.path.display());
                Err(io::Error::new(error.kind(), what))
            }
        }
    }

    /// A crash in the middle leaves the old file or the new one, never half of one.
    fn replace(&self, text: &str) -> io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, &self.path)
    }

    /// Forgets all: what the stop left in the table is left on purpose.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_rubbish_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services");
        let key = |text: &str| desired::service_key(text.parse().unwrap());
        let owned = BTreeSet::from([key("tcp:10.0.0.1:80"), key("fwm6:5"), key("udp:[fd00::1]:53")]);
        OwnedServices::open(path.clone()).write(&owned).unwrap();
        assert_eq!(OwnedServices::open(path.clone()).read(), owned);
        fs::write(&path, "tcp:10.0.0.1:80\nrubbish\n\n").unwrap();
        assert_eq!(OwnedServices::open(path.clone()).read(), BTreeSet::from([key("tcp:10.0.0.1:80")]));
        let directory = dir.path().join("none").join("services");
        let mut unwritable = OwnedServices::open(directory);
        assert!(unwritable.write(&owned).is_err(), "b3: said once");
        assert!(unwritable.write(&owned).is_ok() && unwritable.written.is_none());
        OwnedServices::open(path.clone()).remove();
        assert!(OwnedServices::open(path).read().is_empty());
    }
}
