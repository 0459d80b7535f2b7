//! How many descriptors this process may hold, what the commands that it starts may, what happens at the limit of file sizes, and how
//! memory is given back.

#![expect(
    unsafe_code,
    reason = "a handler for a signal is unsafe: it may do only what is async-signal-safe; so is a call of the C library"
)]

use std::sync::OnceLock;

use nix::sys::signal::{SigHandler, Signal, signal};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The soft limit before it was raised; none is no limit.
static BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// Raises the soft limit of open files to the hard one and gives it. Checks in flight need one each.
#[must_use]
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = BEFORE.set(limit.current);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_ok();
    let granted = if raised { limit.maximum } else { limit.current };
    granted.unwrap_or(u64::MAX)
}

/// Gives a command that was just started the limit that the daemon was started with: programs that close every descriptor there
/// could be take long over a large one. Also no core file is written by a command that crashes in each check. What the system
/// refuses (a unit may forbid it, the command may be somebody else by now) is left as it is. Done from outside, because whatever is
/// done between fork and exec makes the start of a command three times as expensive.
pub fn for_command(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let limit = |resource, soft| {
        // That of the command is the same: it was inherited.
        let maximum = getrlimit(resource).maximum;
        let _ = prlimit(Some(pid), resource, Rlimit { current: soft, maximum });
    };
    if let Some(soft) = BEFORE.get() {
        limit(Resource::Nofile, *soft);
    }
    limit(Resource::Core, Some(0));
}

/// A write beyond the limit of file sizes (RLIMIT_FSIZE) is an error from now on and does not end the process. A handler and not
/// `SIG_IGN`, which commands would inherit.
pub fn survive_file_size_limit() {
    extern "C" fn nothing(_: nix::libc::c_int) {}
    // SAFETY: the handler does nothing.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::Handler(nothing)) };
}

/// Makes the allocator return blocks of 128 KiB and more to the system when they are freed. By default the GNU C library raises this
/// threshold as large blocks are freed, and hundreds of servers with pages of 1 MiB then cost tens of MiB. Call it before the first
/// thread starts.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: nix::libc::c_int = 128 * 1024;
        // SAFETY: mallopt only sets a parameter. A fixed threshold disables its growth.
        unsafe { nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, LARGE) };
    }
}
