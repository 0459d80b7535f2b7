//! Resource limits: open files of this process and of its commands, behaviour at the limit of file sizes, and when
//! memory is returned to the system.

#![expect(
    unsafe_code,
    reason = "a handler for a signal is unsafe: it may do only what is async-signal-safe; so is a call of the C library"
)]

use std::sync::OnceLock;

use nix::sys::signal::{SigHandler, Signal, signal};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The soft limit of open files before it was raised. `None`: unlimited.
static BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// Raises the soft limit of open files to the hard limit and returns it. Each running check needs a descriptor.
#[must_use]
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = BEFORE.set(limit.current);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_ok();
    let granted = if raised { limit.maximum } else { limit.current };
    granted.unwrap_or(u64::MAX)
}

/// The soft limit of open files of this process.
#[must_use]
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Gives a command that has just started the limit of open files that the daemon was started with: programs that close
/// every possible descriptor are slow with a large limit. Also disables core files, as a command may crash in each
/// check. Errors are ignored: a unit may forbid it, or the command may have ended. Done from the parent, because code
/// between fork and exec makes the start of a command three times as expensive.
pub fn for_command(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let limit = |resource, soft| {
        // The command has inherited the same hard limit.
        let maximum = getrlimit(resource).maximum;
        let _ = prlimit(Some(pid), resource, Rlimit { current: soft, maximum });
    };
    if let Some(soft) = BEFORE.get() {
        limit(Resource::Nofile, *soft);
    }
    limit(Resource::Core, Some(0));
}

/// Makes a write beyond the limit of file sizes (RLIMIT_FSIZE) an error instead of the end of the process. Uses a
/// handler and not `SIG_IGN`, which commands would inherit.
pub fn survive_file_size_limit() {
    extern "C" fn nothing(_: nix::libc::c_int) {}
    // SAFETY: the handler does nothing.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::Handler(nothing)) };
}

/// Makes the allocator return blocks of 128 KiB and more to the system when they are freed. By default the GNU C
/// library raises this threshold as large blocks are freed, and hundreds of servers with pages of 1 MiB then cost tens
/// of MiB. Also limits the number of heaps: threads that write to slow clients would have a heap each, which stays
/// large. Call it before the first thread starts.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: nix::libc::c_int = 128 * 1024;
        const HEAPS: nix::libc::c_int = 2;
        // A fixed threshold disables its growth.
        for (parameter, value) in [(nix::libc::M_MMAP_THRESHOLD, LARGE), (nix::libc::M_ARENA_MAX, HEAPS)] {
            // SAFETY: mallopt only sets a parameter.
            unsafe { nix::libc::mallopt(parameter, value) };
        }
    }
}
