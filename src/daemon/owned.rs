//! The file with the virtual services that this daemon owns. So after a crash, or a restart with another
//! configuration, a service that the new configuration does not have is recognized and removed. The file never has
//! services of others.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use ipvs_rs::ServiceKey;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use tracing::error;

use super::notes::NoteWriter;
use crate::desired;
use crate::net::cause;
use crate::sys::command::aside;
use crate::sys::place::TablePlace;
use crate::sys::process::Process;
use crate::sys::regular;
use crate::value::VirtualId;

/// Maximum size of the file in bytes: about 300,000 services.
const LARGEST: u64 = 16 * 1024 * 1024;

/// How long a start waits for the file.
const LIMIT: Duration = Duration::from_secs(5);

/// The file. It has the boot and the network namespace of the table, one line for each service, and another line
/// for each service that stays when the daemon stops.
pub struct OwnedServices {
    path: PathBuf,
}

/// The services of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// All of them.
    pub services: BTreeSet<ServiceKey>,
    /// Services that stay when it stops (`cleanstop=no`).
    pub kept: BTreeSet<ServiceKey>,
    /// Services that another daemon may take.
    pub offered: BTreeSet<ServiceKey>,
    /// Services of its configuration that another daemon owns. They are not in `services`.
    pub wanted: BTreeSet<ServiceKey>,
    /// The path of its configuration file, with links not resolved, because their targets may change.
    pub file: Option<PathBuf>,
    /// Whether it stops. It then claims nothing.
    pub is_stopping: bool,
}

/// The content of the file, as a daemon left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its services.
    pub owned: Owned,
    /// The boot and the network namespace of the table. `None` if an earlier release wrote the file.
    pub place: Option<TablePlace>,
    /// The process that wrote the file.
    pub daemon: Option<Process>,
}

/// The prefixes of lines that are not owned services.
const DAEMON: &str = "daemon ";
const BOOT: &str = "boot ";
const NETWORK: &str = "network ";
const KEPT: &str = "kept ";
const OFFERED: &str = "offered ";
const WANTED: &str = "wanted ";
const FILE: &str = "file ";
const STOPPING: &str = "stopping";

/// The name of the file for the daemon of this name.
#[must_use]
pub fn file_name(name: &str) -> String {
    format!("{name}.services")
}

/// The services of an earlier run. None with a table in memory.
pub async fn of_earlier_run(owned: Option<&OwnedServices>) -> BTreeSet<ServiceKey> {
    match owned {
        Some(owned) => owned.left_or_reported().await,
        None => BTreeSet::new(),
    }
}

impl OwnedServices {
    /// Starts the thread that writes the file.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn noted(self) -> io::Result<NoteWriter<Owned>> {
        let consequence = "after a crash of this daemon its virtual services may stay in the table";
        let path = self.path.clone();
        NoteWriter::start(path, consequence, move |owned| match owned {
            Some(owned) => self.write(owned),
            None => {
                self.remove();
                Ok(())
            }
        })
    }

    /// Creates a handle to the file at this path. The file need not exist.
    #[must_use]
    pub fn open(path: PathBuf) -> OwnedServices {
        OwnedServices { path }
    }

    /// Reads the services of an earlier run. Ignores invalid lines.
    #[must_use]
    pub fn read(&self) -> BTreeSet<ServiceKey> {
        let text = self.text().unwrap_or_default();
        text.lines().filter_map(|line| line.parse::<VirtualId>().ok()).map(desired::service_key).collect()
    }

    /// Reads the services of an earlier run on this table: none after a reboot, or if that run was in another
    /// network namespace. A file of an earlier release, which does not name the table, counts.
    ///
    /// # Errors
    /// As [`OwnedServices::left`].
    pub fn left_here(&self) -> io::Result<BTreeSet<ServiceKey>> {
        let here = TablePlace::here().ok();
        let is_here = |left: &Left| left.place.is_none() || here.is_none() || left.place == here;
        Ok(self.left()?.filter(is_here).map(|left| left.owned.services).unwrap_or_default())
    }

    /// As [`OwnedServices::left_here`], for a start: reports an error, or a file system that hangs, and returns no
    /// services.
    async fn left_or_reported(&self) -> BTreeSet<ServiceKey> {
        let file = OwnedServices { path: self.path.clone() };
        let left = tokio::time::timeout(LIMIT, aside(move || file.left_here())).await;
        let left = left.unwrap_or_else(|_| {
            let what = "the file system did not respond within";
            let what = format!("{} cannot be read: {what} {} s", self.path.display(), LIMIT.as_secs());
            Err(io::Error::new(ErrorKind::TimedOut, what))
        });
        left.unwrap_or_else(|error| {
            error!(
                "{error}: virtual services of an earlier run that the configuration no longer has stay in the table; list them \
                 with ipvsadm -Ln, remove them with ipvsadm -D"
            );
            BTreeSet::new()
        })
    }

    /// Reads the file. `None` if there is none.
    ///
    /// # Errors
    /// The file exists and cannot be read. The error names it.
    pub fn left(&self) -> io::Result<Option<Left>> {
        let unreadable = |error: io::Error| {
            let what = format!("{} cannot be read: {}", self.path.display(), cause(&error));
            io::Error::new(error.kind(), what)
        };
        let text = match self.text() {
            // A missing file and a link count as no file.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => return Ok(None),
            text => text.map_err(unreadable)?,
        };
        let word = |begin: &str| text.lines().find_map(|line| line.strip_prefix(begin)).map(str::to_owned);
        let place = word(BOOT).zip(word(NETWORK)).map(|(boot, network)| TablePlace { boot, network });
        let list = |begin: &str| -> BTreeSet<ServiceKey> {
            let ids = text.lines().filter_map(|line| line.strip_prefix(begin)?.parse::<VirtualId>().ok());
            ids.map(desired::service_key).collect()
        };
        let (services, wanted) = (list(""), list(WANTED));
        let daemon = word(DAEMON).and_then(|words| words.parse().ok());
        let says_nothing = services.is_empty() && daemon.is_none();
        let file = word(FILE).map(PathBuf::from);
        let is_stopping = text.lines().any(|line| line == STOPPING);
        let owned = Owned { services, kept: list(KEPT), offered: list(OFFERED), wanted, file, is_stopping };
        Ok((!says_nothing).then_some(Left { owned, place, daemon }))
    }

    /// Writes the file. Blocks if the file system hangs.
    ///
    /// # Errors
    /// The file cannot be written. After a crash, services of an older configuration would stay.
    pub fn write(&self, owned: &Owned) -> io::Result<()> {
        regular::replace(&self.path, text_of(owned).as_bytes(), 0o644).map_err(|error| {
            let what = format!("{} cannot be written: {}", self.path.display(), cause(&error));
            io::Error::new(error.kind(), what)
        })
    }

    /// Reads the text. Does not read links and pipes: the user that the daemon ran as before may have created them.
    fn text(&self) -> io::Result<String> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let mut text = String::new();
        if file.metadata()?.is_file() {
            file.take(LARGEST).read_to_string(&mut text)?;
        }
        Ok(text)
    }

    /// Removes the file: all services that are still in the table stay there intentionally.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The text of the file. Earlier releases ignore the lines that are not services.
fn text_of(owned: &Owned) -> String {
    let mut text = match TablePlace::here() {
        Ok(TablePlace { boot, network }) => format!("{BOOT}{boot}\n{NETWORK}{network}\n"),
        Err(_) => String::new(),
    };
    text.push_str(&format!("{DAEMON}{}\n", Process::own()));
    // A path with a line end could forge other lines.
    if let Some(file) = owned.file.as_ref().and_then(|file| file.to_str()).filter(|file| !file.contains('\n'))
    {
        text.push_str(&format!("{FILE}{file}\n"));
    }
    if owned.is_stopping {
        text.push_str(&format!("{STOPPING}\n"));
    }
    let lists =
        [("", &owned.services), (KEPT, &owned.kept), (OFFERED, &owned.offered), (WANTED, &owned.wanted)];
    for (begin, services) in lists {
        for id in services.iter().map(|key| desired::virtual_id(*key)) {
            text.push_str(&format!("{begin}{}\n", id.qualified()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_note_that_cannot_be_read_is_not_taken_for_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let note = OwnedServices::open(file.path().join("web.cf.services"));
        let error = note.left().unwrap_err().to_string();
        assert!(error.contains("/web.cf.services cannot be read: not a directory"), "{error}");
        assert!(note.left_here().is_err() && note.left_or_reported().await.is_empty());
    }

    #[test]
    fn c2_a_link_in_the_place_of_the_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("services"), dir.path().join("victim"));
        fs::write(&victim, "tcp:10.0.0.9:80\n").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("services.new")).unwrap();
        let file = OwnedServices::open(path.clone());
        assert!(file.read().is_empty());
        let owned = BTreeSet::from([desired::service_key("tcp:10.0.0.1:80".parse().unwrap())]);
        file.write(&Owned { services: owned.clone(), ..Owned::default() }).unwrap();
        assert_eq!(file.read(), owned);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "tcp:10.0.0.9:80\n");
        // A pipe without a writer does not block the start.
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(file.read().is_empty());
    }

    #[test]
    fn what_is_written_is_read_and_rubbish_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services");
        let key = |text: &str| desired::service_key(text.parse().unwrap());
        let owned = BTreeSet::from([
            key("tcp:10.0.0.1:80"),
            key("fwm6:5"),
            key("udp:[fd00::1]:53"),
            key("sctp:10.0.0.1:80"),
        ]);
        let kept = BTreeSet::from([key("fwm6:5")]);
        let owned = Owned { services: owned, kept, ..Owned::default() };
        OwnedServices::open(path.clone()).write(&owned).unwrap();
        assert_eq!(OwnedServices::open(path.clone()).read(), owned.services);
        let here = TablePlace::here().ok();
        let left = Left { owned: owned.clone(), place: here, daemon: Some(Process::own()) };
        assert_eq!(OwnedServices::open(path.clone()).left().unwrap(), Some(left));
        fs::write(&path, "tcp:10.0.0.1:80\nrubbish\n\n").unwrap();
        assert_eq!(OwnedServices::open(path.clone()).read(), BTreeSet::from([key("tcp:10.0.0.1:80")]));
        OwnedServices::open(path.clone()).remove();
        assert_eq!(OwnedServices::open(path).left().unwrap(), None);
    }
}
