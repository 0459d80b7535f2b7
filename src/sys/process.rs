//! Other processes: whether one lives, and how to send it a signal.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, Pid, access};

pub use nix::sys::signal::Signal;

/// Whether a process lives and is an ldirectord: the original's rule, which goes by the command line, so that it and this
/// program see each other.
#[must_use]
pub fn is_ldirectord(pid: i32) -> bool {
    // A zombie has an empty command line and so counts as gone.
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.windows(b"ldirectord".len()).any(|part| part == b"ldirectord"))
}

/// Whether a process is one of this program, of whatever version, and not of the original.
#[must_use]
pub fn is_ours(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    // Behind the name stands that it was deleted, after an upgrade.
    program
        .is_ok_and(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ldirectord-rs")))
}

/// Whether a process is surely the original: Perl with its script.
#[must_use]
pub fn is_original(pid: i32) -> bool {
    let perl = fs::read_link(format!("/proc/{pid}/exe"))
        .is_ok_and(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"perl")));
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    perl && words.split(|byte| *byte == 0).any(|word| word.ends_with(b"/ldirectord"))
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
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may have any sign in it; behind it come the state and the parent.
    let behind = line.rsplit(|byte| *byte == b')').next()?;
    String::from_utf8_lossy(behind).split_whitespace().nth(1)?.parse().ok()
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
