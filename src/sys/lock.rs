//! `NAME.lock`: the process that holds it is the daemon of this name.
//!
//! Only root and the user of the daemon can open the file, so no other user can hold the lock. A pid file is readable
//! for every user, so every user can lock it. It is a lock of the open file (`F_OFD_SETLK`, fcntl(2)): a child process
//! shares it, and it ends with the last of these processes, however that ends. Asking for the holder does not take the
//! lock, so it never blocks a start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::unistd::geteuid;

use super::process::{self, Process};

/// The most bytes that are read of a lock file: a path and a few words.
const LARGEST: u64 = 8192;

/// A held lock. It ends when this value and all copies in child processes are dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

/// The holder of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The lock is free.
    Nobody,
    /// A start whose daemon does not run yet.
    Start,
    /// A daemon.
    Daemon(Process),
}

impl Lock {
    /// Takes the lock. None if another process holds it.
    ///
    /// # Errors
    /// The file cannot be opened for writing, is not a regular file, or has a second name.
    pub fn take(path: &Path) -> io::Result<Option<Lock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(FLAGS.bits());
        loop {
            let file = options.open(path)?;
            is_usable(&file)?;
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
            // The former holder may have removed the file between open and lock: then this locks a deleted file.
            if is_same_file(&file, path) {
                if file.metadata()?.uid() != geteuid().as_raw() {
                    // The owner of the file could write any process id into it.
                    fs::remove_file(path)?;
                    continue;
                }
                // Remove the text of a crashed holder.
                let _ = file.set_len(0);
                return Ok(Some(Lock { path: path.to_owned(), file }));
            }
        }
    }

    /// Releases the lock and removes its file.
    pub fn remove(self) {
        if is_same_file(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Writes into the lock file that this process is the daemon, with `about`. The daemon must be able to receive
    /// signals from now on. On a full disk the file stays empty; the pid file then names the daemon.
    pub fn name_own_process(&mut self, about: &str) {
        let text = format!("{}\n{}\n{about}", Process::own(), pid_namespace());
        let _ = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(text.as_bytes()));
    }
}

/// The holder of the lock at this path.
///
/// # Errors
/// The file cannot be opened, so the holder is unknown.
pub fn holder(path: &Path) -> io::Result<Holder> {
    described(path).map(|(holder, _)| holder)
}

/// The holder of the lock at this path, and what a daemon has written there about itself.
///
/// # Errors
/// As [`holder`].
pub fn described(path: &Path) -> io::Result<(Holder, String)> {
    let nobody = (Holder::Nobody, String::new());
    let file = match OpenOptions::new().read(true).custom_flags(FLAGS.bits()).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(nobody),
        opened => opened?,
    };
    is_usable(&file)?;
    let mut asked = whole(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked))?;
    if i32::from(asked.l_type) == libc::F_UNLCK {
        return Ok(nobody);
    }
    let owner = file.metadata()?.uid();
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text)?;
    // An owner who is not root may name only its own processes: otherwise it could make root end others.
    let may_name = |pid| owner == 0 || owner == geteuid().as_raw() || process::user(pid) == Some(owner);
    let text = String::from_utf8_lossy(&text);
    let (process, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let (namespace, about) = rest.split_once('\n').unwrap_or((rest, ""));
    // A pid of another namespace means another process here.
    let named = process.parse::<Process>().ok().filter(|_| namespace == pid_namespace());
    let named = named.filter(|process| process.lives() && may_name(process.pid));
    Ok(named.map_or((Holder::Start, String::new()), |process| (Holder::Daemon(process), about.to_owned())))
}

/// What the last daemon that held a lock wrote about itself: a crashed daemon leaves its file. None if the lock is
/// held, or if another user could have written the file.
#[must_use]
pub fn last(path: &Path) -> Option<String> {
    let file = OpenOptions::new().read(true).custom_flags(FLAGS.bits()).open(path).ok()?;
    let owner = file.metadata().ok()?.uid();
    if is_usable(&file).is_err() || (owner != 0 && owner != geteuid().as_raw()) {
        return None;
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).ok()?;
    let about = text.splitn(3, '\n').nth(2)?.to_owned();
    (holder(path).ok()? == Holder::Nobody).then_some(about)
}

/// The name of a daemon that runs or starts, whose lock is in this directory and belongs to this user. Ignores the lock
/// `own`.
///
/// # Errors
/// The directory or one of its locks cannot be read.
pub fn daemon_of(directory: &Path, user: u32, own: &Path) -> io::Result<Option<String>> {
    for entry in directory.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(ENDING));
        let Some(name) = name.filter(|_| path != own) else { continue };
        let is_theirs = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.uid() == user);
        if is_theirs && holder(&path)? != Holder::Nobody {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// The pid namespace of this process, as `pid:[NUMBER]` (namespaces(7)). Empty without /proc.
fn pid_namespace() -> String {
    fs::read_link("/proc/self/ns/pid").map(|path| path.display().to_string()).unwrap_or_default()
}

/// The name of the lock file of the daemon of this name.
#[must_use]
pub fn file_name(name: &str) -> String {
    format!("{name}{ENDING}")
}

const ENDING: &str = ".lock";

/// Refuses links and does not block on pipes: the directory may belong to the daemon's user.
const FLAGS: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK);

/// Whether a path leads to this open file.
pub(super) fn is_same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}

fn is_usable(file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    let wrong = match (found.is_file(), found.nlink()) {
        (true, ..=1) => return Ok(()),
        (true, _) => "the file has a second name (a hard link), so it may be another file",
        (false, _) => "not a regular file",
    };
    Err(io::Error::new(ErrorKind::InvalidInput, wrong))
}

/// A lock of this kind on the whole file.
fn whole(kind: i32) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_holder_is_seen_and_asking_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf.lock");
        assert_eq!(holder(&path).unwrap(), Holder::Nobody);
        let mut lock = Lock::take(&path).unwrap().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Lock::take(&path).unwrap().is_none());
        assert_eq!(holder(&path).unwrap(), Holder::Start);
        lock.name_own_process("name web.cf\n");
        assert_eq!(described(&path).unwrap(), (Holder::Daemon(Process::own()), "name web.cf\n".to_owned()));
        assert!(Lock::take(&path).unwrap().is_none(), "also after another process has asked");
        drop(lock);
        assert_eq!(holder(&path).unwrap(), Holder::Nobody, "whatever the file says");
        assert_eq!(last(&path).as_deref(), Some("name web.cf\n"), "but who was there last can be known");
        // A name that a former holder left does not name the next holder.
        let next = Lock::take(&path).unwrap().unwrap();
        assert_eq!((holder(&path).unwrap(), last(&path)), (Holder::Start, None));
        next.remove();
        assert!(!path.exists() && holder(&path).unwrap() == Holder::Nobody);
    }

    #[test]
    fn a_process_that_is_gone_or_another_one_is_not_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf.lock");
        let _lock = Lock::take(&path).unwrap().unwrap();
        let own = Process::own();
        let later = format!("{} {}\n{}", own.pid, own.started + 1, pid_namespace());
        let elsewhere = format!("{own}\npid:[1]");
        for text in [later.as_bytes(), elsewhere.as_bytes(), b"0 0", b"x", b"\xff 1"] {
            fs::write(&path, text).unwrap();
            assert_eq!(holder(&path).unwrap(), Holder::Start);
        }
    }

    #[test]
    fn what_another_user_owns_names_no_process_of_root() {
        if !geteuid().is_root() {
            println!("skipped: only root can give a file away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.cf.lock");
        let mut lock = Lock::take(&path).unwrap().unwrap();
        lock.name_own_process("");
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert_eq!(holder(&path).unwrap(), Holder::Start);
        drop(lock);
        // Root replaces a file of another user.
        let _lock = Lock::take(&path).unwrap().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("web.cf.lock"), dir.path().join("other"));
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(Lock::take(&path).is_err() && holder(&path).is_err());
        fs::remove_file(&path).unwrap();
        fs::hard_link(&other, &path).unwrap();
        assert!(Lock::take(&path).is_err() && holder(&path).is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
    }
}
