//! Other processes: whether one lives, and how to send it a signal.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal;
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

/// This process.
#[must_use]
pub fn own_pid() -> u32 {
    std::process::id()
}
