//! Other processes: whether one lives, and how to send it a signal.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{self, SigSet};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, Pid, access};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

pub use nix::sys::signal::Signal;

/// A process, told from a later one of the same number by its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine was. 0: not known, where /proc hides it.
    pub started: u64,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for Process {
    type Err = ();

    fn from_str(text: &str) -> Result<Process, ()> {
        let (pid, started) = text.trim().split_once(' ').ok_or(())?;
        let pid = pid.parse().ok().filter(|pid| *pid > 0).ok_or(())?;
        Ok(Process { pid, started: started.parse().map_err(drop)? })
    }
}

impl Process {
    /// This process.
    #[must_use]
    pub fn own() -> Process {
        Process::at(own_pid_number())
    }

    /// The process that has this number now.
    #[must_use]
    pub fn at(pid: i32) -> Process {
        Process { pid, started: started(pid).unwrap_or(0) }
    }

    /// Whether it is there. One that has ended and was not waited for counts as gone.
    #[must_use]
    pub fn lives(self) -> bool {
        match started(self.pid) {
            Some(started) => self.started == 0 || self.started == started,
            // There is no /proc, as in some containers and rescue systems.
            None if started(own_pid_number()).is_none() => {
                signal::kill(Pid::from_raw(self.pid), None) != Err(Errno::ESRCH)
            }
            None => false,
        }
    }

    /// Holds on to it, so that its number cannot come to mean another process.
    ///
    /// # Errors
    /// When it is not there any more (`ESRCH`).
    pub fn hold(self) -> io::Result<Held> {
        let gone = || io::Error::from(Errno::ESRCH);
        let pid = rustix::process::Pid::from_raw(self.pid).ok_or_else(gone)?;
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Some(handle),
            // Before Linux 5.3.
            Err(rustix::io::Errno::NOSYS) => None,
            Err(errno) => return Err(errno.into()),
        };
        // Only now: the number may have been given away before.
        if self.lives() { Ok(Held { process: self, handle }) } else { Err(gone()) }
    }
}

/// A process that can be signalled and waited for.
#[derive(Debug)]
pub struct Held {
    process: Process,
    handle: Option<OwnedFd>,
}

impl Held {
    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended, or belongs to somebody else.
    pub fn send(&self, signal: Signal) -> io::Result<()> {
        match &self.handle {
            None => send(self.process.pid, signal),
            Some(handle) => {
                let signal = rustix::process::Signal::from_named_raw(signal as i32)
                    .ok_or_else(|| io::Error::from(Errno::EINVAL))?;
                Ok(pidfd_send_signal(handle, signal)?)
            }
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match &self.handle {
            None => !self.process.lives(),
            Some(handle) => {
                let mut asked = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
                poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
            }
        }
    }
}

fn own_pid_number() -> i32 {
    i32::try_from(own_pid()).unwrap_or(0)
}

/// When a process was started, in clock ticks since the machine was; none where it is gone.
fn started(pid: i32) -> Option<u64> {
    let fields = stat(pid)?;
    let mut fields = fields.split_whitespace();
    // A zombie is gone.
    if matches!(fields.next()?, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

/// What /proc/PID/stat has behind the name of the program, which stands in parentheses and may have any sign in it.
fn stat(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Some(String::from_utf8_lossy(line.rsplit(|byte| *byte == b')').next()?).into_owned())
}

/// Whether a file of this owner may name this process, which root may then end. A user who is not root may name processes of its
/// own, and of others only what is surely a daemon: the file may be one that an earlier daemon left behind. The word `ldirectord`
/// in the command line alone would also fit root's editor.
pub(super) fn may_name(owner: u32, pid: i32) -> bool {
    owner == 0 || user(pid) == Some(owner) || is_ours(pid) || is_original(pid)
}

/// Whether a process lives and is an ldirectord: the original's rule, which goes by the command line, so that it and this
/// program see each other, or a process of this program under any other name.
#[must_use]
pub fn is_ldirectord(pid: i32) -> bool {
    // A zombie has an empty command line and so counts as gone.
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.windows(b"ldirectord".len()).any(|part| part == b"ldirectord"))
        || runs_own_program(pid)
}

/// Whether a process runs the executable of this one, or one that an upgrade has replaced by it since. A zombie has none.
fn runs_own_program(pid: i32) -> bool {
    let (theirs, own) = (format!("/proc/{pid}/exe"), "/proc/self/exe");
    let file = |link: &str| fs::metadata(link).ok().map(|file| (file.dev(), file.ino()));
    let place = |link: &str| {
        let path = fs::read_link(link).ok()?.into_os_string().into_vec();
        Some(path.strip_suffix(b" (deleted)").unwrap_or(&path).to_owned())
    };
    file(&theirs).is_some_and(|theirs| file(own) == Some(theirs))
        || place(&theirs).is_some_and(|theirs| place(own) == Some(theirs))
}

/// Whether a process is one of this program, of whatever version, and not of the original.
#[must_use]
pub fn is_ours(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    // Behind the name stands that it was deleted, after an upgrade.
    program
        .is_ok_and(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ldirectord-rs")))
        || runs_own_program(pid)
}

/// Whether a process is surely the original: Perl with its script.
#[must_use]
pub fn is_original(pid: i32) -> bool {
    let perl = fs::read_link(format!("/proc/{pid}/exe"))
        .is_ok_and(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"perl")));
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    perl && words.split(|byte| *byte == 0).any(|word| word == b"ldirectord" || word.ends_with(b"/ldirectord"))
}

/// Whether a process lives that /proc does not show to this one (`hidepid`, or no /proc).
#[must_use]
pub fn is_invisible(pid: i32) -> bool {
    !Path::new(&format!("/proc/{pid}/cmdline")).exists()
        && signal::kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Whether a process has a file open.
#[must_use]
pub fn has_open(pid: i32, file: &File) -> bool {
    let (Ok(wanted), Ok(entries)) = (file.metadata(), fs::read_dir(format!("/proc/{pid}/fd"))) else {
        return false;
    };
    let is_it = |found: fs::Metadata| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino());
    entries.flatten().any(|entry| fs::metadata(entry.path()).is_ok_and(is_it))
}

/// Whether this process may not see what program a process runs.
#[must_use]
pub fn is_hidden(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe"))
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Keeps the signals that the daemon listens to waiting until it does: it has a name by which others find it before that.
pub fn hold_signals() {
    let _ = awaited().thread_block();
}

/// Lets the signals come that waited.
pub fn release_signals() {
    let _ = awaited().thread_unblock();
}

fn awaited() -> SigSet {
    use signal::Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    SigSet::from_iter([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])
}

/// A process of the original, if one runs.
#[must_use]
pub fn original() -> Option<i32> {
    let entries = fs::read_dir("/proc").ok()?;
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid| is_original(*pid))
}

/// The user of a process, where all its ids are of one; none for a process that is gone.
#[must_use]
pub fn user(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let ids: Vec<u32> = ids.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    ids.first().copied().filter(|first| ids.iter().all(|id| id == first))
}

/// The children of a process.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|child| parent(*child) == Some(pid)).collect()
}

fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process is one that the original has forked to check a virtual (`fork=yes`): it calls itself `ldirectord VIRTUAL`.
#[must_use]
pub fn is_forked_checker(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"ldirectord "))
}

/// Whether this process may run a file.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

/// Sends a signal.
///
/// # Errors
/// When the process is not there any more, or belongs to somebody else.
pub fn send(pid: i32, signal: Signal) -> io::Result<()> {
    signal::kill(Pid::from_raw(pid), signal)
        .map_err(|errno: Errno| io::Error::from_raw_os_error(errno as i32))
}

/// Kills a whole process group at once; the group is named by its leader, which must not have been waited for yet: until then
/// its number cannot belong to anybody else.
pub fn kill_group(leader: u32) {
    // A group of 0 would be our own, 1 is init's: neither can be a child's.
    if let Some(leader) = i32::try_from(leader).ok().filter(|leader| *leader > 1) {
        // The error says that nobody of the group lives any more, which is what is wanted.
        let _ = signal::killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

/// Lets files that this process makes be read by all and written by their owner alone, whatever its parent had set.
pub fn set_umask() {
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
}

/// Whether a process of a group lives.
#[must_use]
pub fn lives_group(leader: u32) -> bool {
    // A group of 0 would be our own, 1 is init's.
    let leader = i32::try_from(leader).ok().filter(|leader| *leader > 1);
    leader.is_some_and(|leader| signal::killpg(Pid::from_raw(leader), None) != Err(Errno::ESRCH))
}

/// This process.
#[must_use]
pub fn own_pid() -> u32 {
    std::process::id()
}
