//! Leaving the terminal: the launcher waits until the daemon says that it is ready, or why it cannot be.

#![expect(
    unsafe_code,
    reason = "fork is unsafe: only what is async-signal-safe may follow in a process with threads"
)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};

/// Which of the two processes this is after [`detach`].
#[derive(Debug)]
pub enum Side {
    /// The process that was called; the daemon has said how it went.
    Launcher(Verdict),
    /// The daemon.
    Daemon(Launcher),
}

/// How the start went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The daemon is up.
    Ready {
        /// What the operator should know, for standard error; empty where all is well.
        notes: String,
    },
    /// It gave up.
    Failed {
        /// The exit code for the launcher.
        code: u8,
        /// Why, for standard error.
        message: String,
    },
}

/// The daemon's line to its launcher.
#[derive(Debug)]
pub struct Launcher {
    pipe: File,
    notes: String,
}

impl Launcher {
    /// Has the launcher print a line when the daemon is ready.
    pub fn note(&mut self, line: &str) {
        self.notes.push_str(line);
        self.notes.push('\n');
    }

    /// Lets the launcher go.
    pub fn ready(mut self) {
        // A launcher that was killed meanwhile does not matter to the daemon.
        let _ = self.pipe.write_all(&[&[READY], self.notes.as_bytes()].concat());
    }

    /// Has the launcher print why, and exit with a code.
    pub fn failed(mut self, code: u8, message: &str) {
        let _ = self.pipe.write_all(&[code]).and_then(|()| self.pipe.write_all(message.as_bytes()));
    }
}

/// Closes every descriptor that whoever started this process left open in it, but the three standard streams: a lock, a pipe or a
/// deleted file of theirs must not live as long as the daemon. To be called before this process opens anything.
pub fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor above 2 yet.
    let closed = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, nix::libc::c_uint::MAX, 0) };
    if closed == 0 {
        return;
    }
    // A kernel before 5.9. The listing has a descriptor of its own, which is in the list.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let inherited: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in inherited.into_iter().filter(|descriptor| *descriptor > 2) {
        // SAFETY: as above; the listing is closed, and closing a number that is not open does nothing.
        unsafe { nix::libc::close(descriptor) };
    }
}

/// Stands for "ready" where else an exit code stands; no exit code of ours has this value.
const READY: u8 = 0;

/// Forks twice, so that the daemon has no terminal and cannot get one; it lives in `/` with its standard streams on /dev/null.
///
/// # Errors
/// When the system has no process or descriptor left.
pub fn detach() -> io::Result<Side> {
    // No command of the daemon may hold it open: the launcher would wait for the end of that.
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the caller has no thread besides this one yet, so the child may do whatever this process might.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(writing);
            waitpid(child, None)?;
            wait_for_verdict(reading).map(Side::Launcher)
        }
        ForkResult::Child => {
            drop(reading);
            setsid()?;
            // SAFETY: as above; this process has one thread.
            if let ForkResult::Parent { .. } = unsafe { fork() }? {
                // SAFETY: ends the process between the two at once, without running what its parent has to run at its own end.
                unsafe { nix::libc::_exit(0) }
            }
            chdir("/")?;
            let null = File::options().read(true).write(true).open("/dev/null")?;
            dup2_stdin(&null)?;
            dup2_stdout(&null)?;
            dup2_stderr(&null)?;
            Ok(Side::Daemon(Launcher { pipe: File::from(writing), notes: String::new() }))
        }
    }
}

fn wait_for_verdict(reading: OwnedFd) -> io::Result<Verdict> {
    let mut answer = Vec::new();
    File::from(reading).read_to_end(&mut answer)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match answer.split_first() {
        Some((&READY, notes)) => Verdict::Ready { notes: text(notes) },
        Some((code, message)) => Verdict::Failed { code: *code, message: text(message) },
        None => Verdict::Failed {
            code: 1,
            message: "the daemon died before it was ready; see its log".to_owned(),
        },
    })
}
