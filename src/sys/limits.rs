//! How many descriptors this process may hold.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The soft limit before it was raised.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of open files to the hard one and gives it. Checks in flight need one each.
#[must_use]
pub fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let _ = BEFORE.set(soft);
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// Gives this process, which is about to become a command, the limit that the daemon was started with: programs that close every
/// descriptor there could be take long over a large one. Also no core file is written by a command that crashes in each check. What
/// the system refuses (a unit may forbid it) is left as it is.
pub fn for_command() {
    let limit = |resource, soft: u64| {
        if let Ok((_, hard)) = getrlimit(resource) {
            let _ = setrlimit(resource, soft.min(hard), hard);
        }
    };
    if let Some(soft) = BEFORE.get() {
        limit(Resource::RLIMIT_NOFILE, *soft);
    }
    limit(Resource::RLIMIT_CORE, 0);
}
