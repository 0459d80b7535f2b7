//! The pid file, and whether a daemon runs.
//!
//! A daemon runs if it holds its lock ([`super::lock`]). The pid file alone counts if it names the original, which has
//! no lock; if it names a daemon of an earlier release, which locks the pid file itself; or if this process may not
//! open the lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::instance::Instance;
use super::lock::{self, Holder, Lock, is_same_file};
use super::process::{self, Process, may_name};

/// The pause between two attempts to write a pid file.
const LATER: Duration = Duration::from_secs(2);

/// The most bytes that are read of a pid file.
const LARGEST: u64 = 4096;

/// Whether a daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonState {
    /// It runs as this process.
    Running(Process),
    /// A start holds the lock. Its daemon does not run yet.
    Starting,
    /// The pid file names a process that has ended, or a pid that now belongs to another program.
    Stale(i32),
    /// There is no pid file, or it contains no pid.
    Stopped,
}

/// Whether a daemon runs, by pid file and lock.
///
/// # Errors
/// The pid file cannot be read, so the state is unknown.
pub fn state(path: &Path, lock: &Path) -> io::Result<DaemonState> {
    let held = match lock::holder(lock) {
        Ok(Holder::Daemon(process)) => return Ok(DaemonState::Running(process)),
        Ok(Holder::Start) => true,
        Ok(Holder::Nobody) => false,
        // Without permission to open the lock only the pid file counts, as in the original.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return match named(path, |_, _| true)? {
                DaemonState::Stale(pid) if process::is_invisible(pid) => Err(error),
                state => Ok(state),
            };
        }
        Err(_) => false,
    };
    // On a full disk a daemon cannot write into its lock; then only the pid file names it.
    let is_it = |file, pid| if held { is_locked_by_ours(file, pid) } else { is_sure(file, pid) };
    match named(path, is_it)? {
        DaemonState::Stale(_) | DaemonState::Stopped if held => Ok(DaemonState::Starting),
        state => Ok(state),
    }
}

/// Whether a process is certainly a daemon although it holds no lock. The word `ldirectord` in its command line is not
/// enough: an editor of the file may have got the pid of a crashed daemon.
fn is_sure(file: File, pid: i32) -> bool {
    process::is_hidden(pid) || process::is_original(pid) || is_locked_by_ours(file, pid)
}

/// Whether a process is a daemon of ours that locks this pid file. A lock alone is not enough: every user can lock the
/// file.
fn is_locked_by_ours(file: File, pid: i32) -> bool {
    process::is_ours(pid)
        && process::has_open(pid, &file)
        && matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
}

/// Whether a daemon runs by the pid file: its owner may name the process, and `is_sure` confirms it.
fn named(path: &Path, is_sure: impl FnOnce(File, i32) -> bool) -> io::Result<DaemonState> {
    // Opening a pipe must not wait for a writer.
    let mut file = match OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DaemonState::Stopped),
        opened => opened?,
    };
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(Errno::EISDIR.into());
    }
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let owner = found.uid();
    let mut bytes = Vec::new();
    // The file may belong to an unprivileged user, who can make it as large as the disk.
    (&mut file).take(LARGEST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).filter(|pid| *pid > 0) {
        None => DaemonState::Stopped,
        // This process only asks: it has got the pid of a former daemon.
        Some(pid) if u32::try_from(pid) == Ok(process::own_pid()) => DaemonState::Stale(pid),
        Some(pid) if process::is_ldirectord(pid) && may_name(owner, pid) && is_sure(file, pid) => {
            DaemonState::Running(Process::at(pid))
        }
        Some(pid) => DaemonState::Stale(pid),
    })
}

/// A pid file of this process and its locks.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Also locked, for earlier releases. `Err` if another process has locked it, as every user who can read it may.
    file: Result<Flock<File>, File>,
    /// The lock, or the error: a full disk must not keep services from being checked.
    lock: io::Result<Lock>,
    /// The lock of the configuration, so that no daemon of another name uses the same file. `None` with a table in
    /// memory.
    file_lock: io::Result<Option<Lock>>,
    /// The text about this daemon in the locks.
    about: String,
}

impl PidFile {
    /// Takes the file and the lock. None if another process holds them.
    ///
    /// # Errors
    /// The pid file cannot be opened for writing.
    pub fn claim(path: &Path, lock: &Path) -> io::Result<Option<PidFile>> {
        if let Some(directory) = lock.parent() {
            // An error is reported when the daemon needs the directory.
            let _ = fs::create_dir_all(directory);
        }
        let lock = match Lock::take(lock) {
            Ok(None) => return Ok(None),
            Ok(Some(taken)) => Ok(taken),
            Err(error) => Err(error),
        };
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => Ok(file),
                Err((_, Errno::EWOULDBLOCK)) if lock.is_err() || names_ours(path) => return Ok(None),
                Err((file, Errno::EWOULDBLOCK)) => Err(file),
                Err((_, errno)) => return Err(io::Error::from_raw_os_error(errno as i32)),
            };
            // The former owner may have removed the file between open and lock: then this locks a deleted file.
            if is_same_file(opened(&file), path) {
                let claimed =
                    PidFile { path: path.to_owned(), file, lock, file_lock: Ok(None), about: String::new() };
                if claimed.lock.is_ok() && !matches!(claimed.beside(), Ok(DaemonState::Running(_))) {
                    // Remove the pid of a crashed daemon.
                    let _ = opened(&claimed.file).set_len(0);
                }
                return Ok(Some(claimed));
            }
        }
    }

    /// Also takes the lock of the configuration and stores the identity of this daemon. None if a daemon of another
    /// name holds the lock; then this claim is released. If the lock cannot be created, continues without it.
    #[must_use]
    pub fn known_as(mut self, instance: &Instance, directory: &Path) -> Option<PidFile> {
        self.about = instance.to_string();
        if let Some(path) = instance.file_lock(directory) {
            match Lock::take(&path) {
                Ok(None) => {
                    self.remove();
                    return None;
                }
                taken => self.file_lock = taken,
            }
        }
        Some(self)
    }

    /// The error of the lock, if it could not be taken.
    #[must_use]
    pub fn lock_error(&self) -> Option<&io::Error> {
        self.lock.as_ref().err()
    }

    /// The error of the lock of the configuration, if it could not be taken.
    #[must_use]
    pub fn file_lock_error(&self) -> Option<&io::Error> {
        self.file_lock.as_ref().err()
    }

    /// Whether the pid file names another daemon: the original, or one of an earlier release.
    ///
    /// # Errors
    /// As [`state`].
    pub fn beside(&self) -> io::Result<DaemonState> {
        // If this process locks the pid file, the lock does not show another daemon.
        let is_other = |file, pid| {
            process::is_hidden(pid)
                || process::is_original(pid)
                || (self.file.is_err() && is_locked_by_ours(file, pid))
        };
        named(&self.path, is_other)
    }

    /// Writes the pid of this process. The daemon must be able to receive signals from now on.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write_own_pid(&mut self) -> io::Result<()> {
        for lock in self.lock.iter_mut().chain(self.file_lock.iter_mut().flatten()) {
            lock.name_own_process(&self.about);
        }
        write_own_pid(opened(&self.file))
    }

    /// For a full disk: tries to write the pid of this process until it succeeds.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn write_later(&self) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let (path, file) = (self.path.clone(), opened(&self.file).try_clone()?);
        Ok(async move {
            while write_own_pid(&file).is_err() {
                tokio::time::sleep(LATER).await;
            }
            tracing::info!("{} is written: status and stop find the daemon again", path.display());
        })
    }

    /// Releases the handle without unlocking: after the fork the child owns the locks.
    pub fn leave_to_child(self) {
        std::mem::forget(self);
    }

    /// Removes its files, if they are still ours. If the directory is not writable, it empties the pid file, which has
    /// the same meaning.
    pub fn remove(self) {
        let file = opened(&self.file);
        if is_same_file(file, &self.path) && fs::remove_file(&self.path).is_err() {
            let _ = file.set_len(0);
        }
        for lock in self.file_lock.into_iter().flatten().chain(self.lock) {
            lock.remove();
        }
    }
}

fn opened(file: &Result<Flock<File>, File>) -> &File {
    match file {
        Ok(locked) => locked,
        Err(open) => open,
    }
}

/// Whether a pid file names a running daemon of ours. A daemon of an earlier release holds no other lock.
fn names_ours(path: &Path) -> bool {
    matches!(named(path, is_locked_by_ours), Ok(DaemonState::Running(_)))
}

fn write_own_pid(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", process::own_pid())?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_pid_says_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let (path, lock) = (dir.path().join("pid"), dir.path().join("lock"));
        let check = |text: &str, expected: DaemonState| {
            fs::write(&path, text).unwrap();
            assert_eq!(state(&path, &lock).unwrap(), expected, "{text:?}");
        };
        assert_eq!(state(&path, &lock).unwrap(), DaemonState::Stopped);
        check("", DaemonState::Stopped);
        check("abc\n", DaemonState::Stopped);
        check("-1\n", DaemonState::Stopped);
        // Pid 1 is never ldirectord.
        check("1\n", DaemonState::Stale(1));
        // Nor is this test, although its program has the word in its name.
        let own = i32::try_from(process::own_pid()).unwrap();
        assert!(process::is_ldirectord(own));
        check(&format!("{own}\n"), DaemonState::Stale(own));
        fs::write(&path, b"\xff\n").unwrap();
        assert_eq!(state(&path, &lock).unwrap(), DaemonState::Stopped);
        // A directory cannot be read, even by root.
        assert!(state(dir.path(), &lock).is_err());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(state(&path, &lock).is_err());
    }

    #[test]
    fn c1_a_user_cannot_name_a_process_of_root() {
        use std::os::unix::process::CommandExt;
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: only root can give a file away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (path, lock) = (dir.path().join("pid"), dir.path().join("lock"));
        let mut editor =
            std::process::Command::new("sleep").arg0("vi /etc/ha.d/ldirectord.cf").arg("60").spawn().unwrap();
        let pid = i32::try_from(editor.id()).unwrap();
        fs::write(&path, format!("{pid}\n")).unwrap();
        // The command line changes shortly after the process has started.
        while !process::is_ldirectord(pid) {
            std::thread::yield_now();
        }
        assert_eq!(process::user(pid), Some(0));
        let own = named(&path, |_, _| true).unwrap();
        let crashed = state(&path, &lock).unwrap();
        let held = Lock::take(&lock).unwrap().unwrap();
        let starting = state(&path, &lock).unwrap();
        drop(held);
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let of_user = named(&path, |_, _| true).unwrap();
        let process = Process::at(pid);
        editor.kill().unwrap();
        editor.wait().unwrap();
        assert_eq!((own, of_user), (DaemonState::Running(process), DaemonState::Stale(pid)));
        assert_eq!(crashed, DaemonState::Stale(pid), "another process that has the daemon's pid now");
        assert_eq!(starting, DaemonState::Starting);
        assert_eq!(process::user(pid), None);
    }

    #[test]
    fn only_one_holds_it_and_the_lock_goes_with_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (path, lock) = (dir.path().join("pid"), dir.path().join("lock"));
        let mut first = PidFile::claim(&path, &lock).unwrap().unwrap();
        first.write_own_pid().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::own_pid()));
        assert!(PidFile::claim(&path, &lock).unwrap().is_none());
        drop(first);
        let second = PidFile::claim(&path, &lock).unwrap().unwrap();
        second.remove();
        assert!(!path.exists());
    }

    /// Every user may lock a file that they may read.
    #[test]
    fn a_stranger_who_locks_the_pid_file_stops_no_start() {
        let dir = tempfile::tempdir().unwrap();
        let (path, lock) = (dir.path().join("pid"), dir.path().join("lock"));
        fs::write(&path, "").unwrap();
        let stranger = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap();
        let mut ours = PidFile::claim(&path, &lock).unwrap().unwrap();
        ours.write_own_pid().unwrap();
        assert!(PidFile::claim(&path, &lock).unwrap().is_none());
        drop(stranger);
        ours.remove();
        assert_eq!(state(&path, &lock).unwrap(), DaemonState::Stopped);
    }

    #[test]
    fn a_file_that_was_replaced_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, lock) = (dir.path().join("pid"), dir.path().join("lock"));
        let ours = PidFile::claim(&path, &lock).unwrap().unwrap();
        fs::rename(&path, dir.path().join("old")).unwrap();
        fs::write(&path, "1\n").unwrap();
        ours.remove();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
