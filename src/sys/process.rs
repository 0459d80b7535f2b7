//! Other processes: whether one lives, and how to send it a signal.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::signal;
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

/// Whether a process lives and is an ldirectord: the original's rule, which goes by the command line, so that it and this
/// program see each other.
#[must_use]
pub fn is_ldirectord(pid: i32) -> bool {
    // A zombie has an empty command line and so counts as gone.
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.windows(b"ldirectord".len()).any(|part| part == b"ldirectord"))
}

/// Sends a signal.
///
/// # Errors
/// When the process is not there any more, or belongs to somebody else.
pub fn send(pid: i32, signal: Signal) -> io::Result<()> {
    signal::kill(Pid::from_raw(pid), signal)
        .map_err(|errno: Errno| io::Error::from_raw_os_error(errno as i32))
}

/// This process.
#[must_use]
pub fn own_pid() -> u32 {
    std::process::id()
}
