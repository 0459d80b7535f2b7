//! Detaches the daemon from the terminal. The launcher waits until the daemon reports that it is ready, or why it
//! cannot start.

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
    /// The process that the operator started, with the report of the daemon.
    Launcher(StartResult),
    /// The daemon.
    Daemon(Launcher),
}

/// The result of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartResult {
    /// The daemon is ready.
    Ready {
        /// Warnings for the operator, for standard error. Empty if there are none.
        notes: String,
        /// The daemon. None if it has already been stopped.
        started: Option<Started>,
    },
    /// The daemon could not start.
    Failed {
        /// The exit code for the launcher.
        code: u8,
        /// The reason, for standard error.
        message: String,
    },
}

/// A daemon that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The process.
    pub pid: u32,
    /// The state of all servers in one line.
    pub state: String,
    /// Whether each server has been checked once.
    pub is_checked: bool,
}

/// The daemon's connection to its launcher.
#[derive(Debug)]
pub struct Launcher {
    pipe: File,
    notes: String,
}

impl Launcher {
    /// Makes the launcher print a line when the daemon is ready.
    pub fn note(&mut self, line: &str) {
        self.notes.push_str(line);
        self.notes.push('\n');
    }

    /// Tells the launcher that the daemon is ready, with the state of all servers in one line and whether each has been
    /// checked once. `None` if the daemon has already been stopped.
    pub fn ready(mut self, started: Option<(&str, bool)>) {
        let started = started.map(|(state, is_checked)| {
            format!("{} {} {state}", std::process::id(), if is_checked { CHECKED } else { "" })
        });
        let head = format!("{}\n", started.unwrap_or_default());
        // The daemon runs on even if the launcher has been killed.
        let _ = self.pipe.write_all(&[&[READY], head.as_bytes(), self.notes.as_bytes()].concat());
    }

    /// Makes the launcher print the reason and exit with a code.
    pub fn failed(mut self, code: u8, message: &str) {
        let _ = self.pipe.write_all(&[code]).and_then(|()| self.pipe.write_all(message.as_bytes()));
    }
}

/// Closes all inherited descriptors but the three standard streams: a lock, a pipe or a deleted file of the parent must
/// not stay open as long as the daemon runs. Call it before this process opens anything.
pub fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor above 2 yet.
    let closed = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, nix::libc::c_uint::MAX, 0) };
    if closed == 0 {
        return;
    }
    // Kernels before 5.9. The list includes the descriptor of the listing itself.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let inherited: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in inherited.into_iter().filter(|descriptor| *descriptor > 2) {
        // SAFETY: as above; the listing is closed, and closing a number that is not open does nothing.
        unsafe { nix::libc::close(descriptor) };
    }
}

/// The first byte of a report that the daemon is ready. Otherwise the first byte is an exit code, which is never 0.
const READY: u8 = 0;

/// The second word of the first line of such a report if each server has been checked once. Otherwise it is empty.
const CHECKED: &str = "checked";

/// Forks twice, so that the daemon has no terminal and cannot get one. The daemon runs in `/` with its standard streams
/// on /dev/null.
///
/// # Errors
/// The system has no process or descriptor left.
pub fn detach() -> io::Result<Side> {
    // O_CLOEXEC: the launcher would wait for a command of the daemon that holds the pipe open.
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the process has only this thread, so the child may call anything that this process may.
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
                // SAFETY: ends the intermediate process at once, without the exit handlers of its parent.
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

fn started(head: &str) -> Option<Started> {
    let mut words = head.splitn(3, ' ');
    let (pid, checked, state) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    Some(Started { pid, state: state.to_owned(), is_checked: checked == CHECKED })
}

fn wait_for_verdict(reading: OwnedFd) -> io::Result<StartResult> {
    let mut answer = Vec::new();
    File::from(reading).read_to_end(&mut answer)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match answer.split_first() {
        Some((&READY, report)) => {
            let report = text(report);
            let (head, notes) = report.split_once('\n').unwrap_or_default();
            StartResult::Ready { notes: notes.to_owned(), started: started(head) }
        }
        Some((code, message)) => StartResult::Failed { code: *code, message: text(message) },
        None => StartResult::Failed {
            code: 1,
            message: "the daemon ended before it was ready; see its log".to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let told = |started, notes: &[&str]| {
            let (reading, writing) = pipe2(OFlag::O_CLOEXEC).unwrap();
            let mut launcher = Launcher { pipe: File::from(writing), notes: String::new() };
            notes.iter().for_each(|note| launcher.note(note));
            launcher.ready(started);
            wait_for_verdict(reading).unwrap()
        };
        let ready = |started: Option<(&str, bool)>, notes: &str| StartResult::Ready {
            notes: notes.to_owned(),
            started: started.map(|(state, is_checked)| Started {
                pid: std::process::id(),
                state: state.to_owned(),
                is_checked,
            }),
        };
        for started in [None, Some(("1 of 2 up", true)), Some(("0 of 2 up, no server left", false))] {
            assert_eq!(told(started, &[]), ready(started, ""));
            assert_eq!(told(started, &["one", "two"]), ready(started, "one\ntwo\n"));
        }
    }
}
