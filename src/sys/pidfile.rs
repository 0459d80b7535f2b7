//! The pid file: who runs, and that only one does.
//!
//! The daemon holds a lock on its file as long as it lives. The lock goes with the process, however it ends, so a file that
//! was left behind never keeps the next start from its work; and only the owner removes the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::process;

/// Between two attempts to write a pid file.
const LATER: Duration = Duration::from_secs(2);

/// Bytes that are read of a pid file.
const LARGEST: u64 = 4096;

/// What a pid file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// An ldirectord with this pid lives.
    Running(i32),
    /// The file names a process that is gone, or is something else now.
    Stale(i32),
    /// There is no file, or none with a pid in it.
    Stopped,
}

/// Reads a pid file.
///
/// # Errors
/// When there is one that cannot be read: nobody knows then who runs.
pub fn state(path: &Path) -> io::Result<State> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Stopped),
        opened => opened?,
    };
    let owner = file.metadata()?.uid();
    let mut bytes = Vec::new();
    // The file may belong to an unprivileged user, who can make it as large as the disk.
    file.take(LARGEST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).filter(|pid| *pid > 0) {
        None => State::Stopped,
        // This process only asks; its pid was that of a daemon once.
        Some(pid) if u32::try_from(pid) == Ok(process::own_pid()) => State::Stale(pid),
        Some(pid) if process::is_ldirectord(pid) && may_name(owner, pid) => State::Running(pid),
        Some(pid) => State::Stale(pid),
    })
}

/// Whether the file of this owner may name this process, which root may then end. A user who is not root may name processes of its
/// own, and of others only what is surely a daemon: the file may be one that an earlier daemon left behind. The word `ldirectord`
/// in the command line alone would also fit root's editor.
fn may_name(owner: u32, pid: i32) -> bool {
    owner == 0 || process::user(pid) == Some(owner) || process::is_ours(pid) || process::is_original(pid)
}

/// A pid file that is ours.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: Flock<File>,
}

impl PidFile {
    /// Takes the file; none when another process holds it.
    ///
    /// # Errors
    /// When it cannot be opened for writing.
    pub fn claim(path: &Path) -> io::Result<Option<PidFile>> {
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, errno)) => return Err(io::Error::from_raw_os_error(errno as i32)),
            };
            // Between opening and locking the former owner may have removed the file; then the lock is on nothing.
            if is_same_file(&file, path) {
                return Ok(Some(PidFile { path: path.to_owned(), file }));
            }
        }
    }

    /// Writes the pid of this process.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn write_own_pid(&mut self) -> io::Result<()> {
        write_own_pid(&mut self.file)
    }

    /// For a disk that is full now: writes the pid of this process as soon as that works. Ends with that.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn write_later(&self) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let (path, mut file) = (self.path.clone(), self.file.try_clone()?);
        Ok(async move {
            while write_own_pid(&mut file).is_err() {
                tokio::time::sleep(LATER).await;
            }
            tracing::info!("{} is written: status and stop find the daemon again", path.display());
        })
    }

    /// Keeps the hands off the file in a process whose child holds it now. To drop it would end the lock for both: it is one lock.
    pub fn leave_to_child(self) {
        std::mem::forget(self);
    }

    /// Removes the file, if it is still ours; where its directory does not let us, it is emptied, which means the same.
    pub fn remove(self) {
        if is_same_file(&self.file, &self.path) && fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

fn write_own_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", process::own_pid())?;
    file.flush()
}

fn is_same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_pid_says_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let check = |text: &str, expected: State| {
            fs::write(&path, text).unwrap();
            assert_eq!(state(&path).unwrap(), expected, "{text:?}");
        };
        assert_eq!(state(&path).unwrap(), State::Stopped);
        check("", State::Stopped);
        check("abc\n", State::Stopped);
        check("-1\n", State::Stopped);
        // Pid 1 of any machine is no ldirectord.
        check("1\n", State::Stale(1));
        // Nor is this process, though its program has the word in its name.
        let own = i32::try_from(process::own_pid()).unwrap();
        assert!(process::is_ldirectord(own));
        check(&format!("{own}\n"), State::Stale(own));
        fs::write(&path, b"\xff\n").unwrap();
        assert_eq!(state(&path).unwrap(), State::Stopped);
        // What cannot be read, even by root, says nothing.
        assert!(state(dir.path()).is_err());
    }

    #[test]
    fn c1_a_user_cannot_name_a_process_of_root() {
        use std::os::unix::process::CommandExt;
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: only root can give a file away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let mut editor =
            std::process::Command::new("sleep").arg0("vi /etc/ha.d/ldirectord.cf").arg("60").spawn().unwrap();
        let pid = i32::try_from(editor.id()).unwrap();
        fs::write(&path, format!("{pid}\n")).unwrap();
        // The command line is there a moment after the process.
        while !process::is_ldirectord(pid) {
            std::thread::yield_now();
        }
        assert_eq!(process::user(pid), Some(0));
        let own = state(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let of_user = state(&path).unwrap();
        editor.kill().unwrap();
        editor.wait().unwrap();
        assert_eq!((own, of_user), (State::Running(pid), State::Stale(pid)));
        assert_eq!(process::user(pid), None);
    }

    #[test]
    fn only_one_holds_it_and_the_lock_goes_with_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let mut first = PidFile::claim(&path).unwrap().unwrap();
        first.write_own_pid().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::own_pid()));
        assert!(PidFile::claim(&path).unwrap().is_none());
        drop(first);
        let second = PidFile::claim(&path).unwrap().unwrap();
        second.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_was_replaced_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let ours = PidFile::claim(&path).unwrap().unwrap();
        fs::rename(&path, dir.path().join("old")).unwrap();
        fs::write(&path, "1\n").unwrap();
        ours.remove();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
