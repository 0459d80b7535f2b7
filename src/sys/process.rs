//! Other processes: whether they run, which program they run, and signals to them.

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

/// A process. The start time distinguishes it from a later process with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The pid.
    pub pid: i32,
    /// The start time in clock ticks since boot. 0: unknown, if /proc hides it.
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

    /// The process that has this pid now.
    #[must_use]
    pub fn at(pid: i32) -> Process {
        Process { pid, started: started(pid).unwrap_or(0) }
    }

    /// Whether it still runs. A zombie does not count.
    #[must_use]
    pub fn lives(self) -> bool {
        match started(self.pid) {
            Some(started) => self.started == 0 || self.started == started,
            // Without /proc, as in some containers and rescue systems.
            None if started(own_pid_number()).is_none() => {
                signal::kill(Pid::from_raw(self.pid), None) != Err(Errno::ESRCH)
            }
            None => false,
        }
    }

    /// Opens a handle, so that a signal cannot reach a later process with the same pid.
    ///
    /// # Errors
    /// The process has ended (`ESRCH`).
    pub fn hold(self) -> io::Result<ProcessHandle> {
        let gone = || io::Error::from(Errno::ESRCH);
        let pid = rustix::process::Pid::from_raw(self.pid).ok_or_else(gone)?;
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Some(handle),
            // Before Linux 5.3.
            Err(rustix::io::Errno::NOSYS) => None,
            Err(errno) => return Err(errno.into()),
        };
        // Check only after opening the handle: the pid may have been reused before.
        if self.lives() { Ok(ProcessHandle { process: self, handle }) } else { Err(gone()) }
    }
}

/// A handle to a process, to send signals and wait for its end.
#[derive(Debug)]
pub struct ProcessHandle {
    process: Process,
    handle: Option<OwnedFd>,
}

impl ProcessHandle {
    /// Sends a signal.
    ///
    /// # Errors
    /// The process has ended, or belongs to another user.
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

/// The start time of a process in clock ticks since boot. None if it has ended.
fn started(pid: i32) -> Option<u64> {
    let fields = stat(pid)?;
    let mut fields = fields.split_whitespace();
    // A zombie has ended.
    if matches!(fields.next()?, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

/// The fields of /proc/PID/stat after the program name, which is in parentheses and may contain any character.
fn stat(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Some(String::from_utf8_lossy(line.rsplit(|byte| *byte == b')').next()?).into_owned())
}

/// Whether a file of this owner may name this process, which root may then end. A user who is not root may name its own
/// processes, and of other users only a certain daemon: the file may be a leftover of an earlier daemon. The word
/// `ldirectord` in the command line is not enough: it would also match root's editor.
pub(super) fn may_name(owner: u32, pid: i32) -> bool {
    owner == 0 || user(pid) == Some(owner) || is_ours(pid) || is_original(pid)
}

/// Whether a process runs and is an ldirectord: by the command line, which is the original's rule, so that both
/// programs see each other. Or because it runs this program under another name.
#[must_use]
pub fn is_ldirectord(pid: i32) -> bool {
    // A zombie has an empty command line, so it does not count.
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.windows(b"ldirectord".len()).any(|part| part == b"ldirectord"))
        || runs_own_program(pid)
}

/// Whether a process runs the executable of this one, or the executable that an upgrade has replaced by it. A zombie
/// has none.
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

/// Whether a process runs this program, of any version.
#[must_use]
pub fn is_ours(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    // After an upgrade " (deleted)" follows the name.
    program
        .is_ok_and(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ldirectord-rs")))
        || runs_own_program(pid)
}

/// Whether a process is certainly the original: Perl with its script.
#[must_use]
pub fn is_original(pid: i32) -> bool {
    let perl = fs::read_link(format!("/proc/{pid}/exe"))
        .is_ok_and(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"perl")));
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    perl && words.split(|byte| *byte == 0).any(|word| word == b"ldirectord" || word.ends_with(b"/ldirectord"))
}

/// Whether a process runs although /proc does not show it (`hidepid`, or no /proc).
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

/// Whether this process is not allowed to see which program a process runs.
#[must_use]
pub fn is_hidden(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe"))
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Blocks the signals of the daemon until it handles them: other processes can find it before that.
pub fn hold_signals() {
    let _ = awaited().thread_block();
}

/// Delivers the blocked signals.
pub fn release_signals() {
    let _ = awaited().thread_unblock();
}

fn awaited() -> SigSet {
    use signal::Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    SigSet::from_iter([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])
}

/// The pid of a running original, if any.
#[must_use]
pub fn original() -> Option<i32> {
    let entries = fs::read_dir("/proc").ok()?;
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid| is_original(*pid))
}

/// All running originals, each with the words of its command line. Without the processes that they fork.
#[must_use]
pub fn originals() -> Vec<(i32, Vec<String>)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let words = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        Some((pid, words.collect()))
    };
    pids.filter(|pid| is_original(*pid)).filter_map(words).collect()
}

/// The uid of a process if its four uids are the same. None for an ended process.
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

/// Whether the original has forked a process to check a virtual service (`fork=yes`). Its command line is then
/// `ldirectord VIRTUAL`.
#[must_use]
pub fn is_forked_checker(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"ldirectord "))
}

/// Whether this process may execute a file.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

/// Sends a signal.
///
/// # Errors
/// The process has ended, or belongs to another user.
pub fn send(pid: i32, signal: Signal) -> io::Result<()> {
    signal::kill(Pid::from_raw(pid), signal)
        .map_err(|errno: Errno| io::Error::from_raw_os_error(errno as i32))
}

/// Kills a whole process group, given by its leader. The exit status of the leader must not have been collected yet:
/// until then its pid cannot be reused.
pub fn kill_group(leader: u32) {
    // A group of 0 would be our own, 1 is init's: neither is a child's.
    if let Some(leader) = i32::try_from(leader).ok().filter(|leader| *leader > 1) {
        // An error means that the group has already ended.
        let _ = signal::killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

/// Sets the umask to 022 regardless of the parent: new files are readable for all and writable only for their owner.
pub fn set_umask() {
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
}

/// Whether a process of a group still runs.
#[must_use]
pub fn lives_group(leader: u32) -> bool {
    // A group of 0 would be our own, 1 is init's.
    let leader = i32::try_from(leader).ok().filter(|leader| *leader > 1);
    leader.is_some_and(|leader| signal::killpg(Pid::from_raw(leader), None) != Err(Errno::ESRCH))
}

/// The pid of this process.
#[must_use]
pub fn own_pid() -> u32 {
    std::process::id()
}
