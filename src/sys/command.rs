//! A program of the operator, run without a shell in a process group of its own, which ends with the future that waits for it.

use std::fs::File;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::process::kill_group;
use super::{left_behind, limits};

/// So much of what a command prints is kept; the rest is read and thrown away, so that the command does not wait for us.
const KEPT: usize = 4096;

/// So much is still read after the end of a command: what it printed last. Somebody it left behind may go on printing.
const LEFT: usize = 64 * 1024;

/// The pause after each [`LEFT`] bytes of output, so that a command that prints for ever does not take the processor.
const BREATH: Duration = Duration::from_millis(5);

/// So long a process that was killed may need to be gone. If it hangs in the kernel, the runtime takes its exit status some day.
const GONE: Duration = Duration::from_secs(1);

/// Between two attempts to start a command that somebody is writing to.
const BUSY: Duration = Duration::from_millis(20);

/// A command that runs. Letting go of it kills its whole group; the runtime then takes its exit status from the kernel.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: Receiver,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// The first bytes (4 KiB at most) of what it printed, both streams as one.
    pub output: Vec<u8>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // There is no id any more once its end was seen. What it left behind on purpose may then stay, as with the original.
        if let Some(leader) = self.child.id() {
            kill_group(leader);
        }
    }
}

/// The program of a command line and its arguments: the path of an existing file as a whole, else a list of words in a shell's
/// notation. Looks into the file system, so it may block.
///
/// # Errors
/// When there is no word, or a quote without its counterpart.
pub fn words(line: &str) -> Result<Vec<String>, &'static str> {
    if line.contains('/') && Path::new(line).exists() {
        return Ok(vec![line.to_owned()]);
    }
    let words = shlex::split(line).ok_or("the command has a quote without its counterpart")?;
    if words.is_empty() { Err("the command is empty") } else { Ok(words) }
}

/// Does blocking work on another thread: where a file system hangs, only the caller does. What comes too late is let go of there.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and with it the caller.
            Err(_) => pending().await,
        },
    }
}

/// A variable of the environment and its value.
pub type Variable = (&'static str, String);

/// Starts a program with its arguments, and with a variable added to its environment. While somebody is writing to its file, says so by `busy` and tries again.
///
/// # Errors
/// When it cannot be started.
pub async fn start(words: &[String], variable: Option<&Variable>, busy: impl FnMut()) -> io::Result<Running> {
    start_reading(words, variable, &|| Ok(Stdio::null()), busy).await
}

/// Starts a program with its arguments and with a file as its standard input.
///
/// # Errors
/// When it cannot be started.
pub async fn start_with_input(words: &[String], input: &File) -> io::Result<Running> {
    start_reading(words, None, &|| input.try_clone().map(Stdio::from), || {}).await
}

async fn start_reading(
    words: &[String],
    variable: Option<&Variable>,
    input: &(dyn Fn() -> io::Result<Stdio> + Sync),
    mut busy: impl FnMut(),
) -> io::Result<Running> {
    let mut sh = false;
    loop {
        let (words, variable, input) = (words.to_vec(), variable.cloned(), input()?);
        match started(move || spawn(&words, variable, input, sh)).await {
            // Somebody replaces the file at this moment, which is soon over.
            Err(error) if error.raw_os_error() == Some(Errno::ETXTBSY as i32) => {
                busy();
                sleep(BUSY).await;
            }
            // A script without `#!` in its first line: execvp gives it to sh, and so it was for the original.
            Err(error) if !sh && error.raw_os_error() == Some(Errno::ENOEXEC as i32) => sh = true,
            result => return result,
        }
    }
}

/// Starts it on another thread. If nobody waits for it any more when it runs at last, it is ended there and its exit status
/// taken: the runtime would take that only with the end of the next command.
async fn started(spawn: impl FnOnce() -> io::Result<Running> + Send + 'static) -> io::Result<Running> {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        // After a file system hung, what waited for a thread meanwhile is not started any more.
        if sender.is_closed() {
            return;
        }
        if let Err(Ok(late)) = sender.send(spawn()) {
            late.end_now();
        }
    };
    aside(work).await;
    match receiver.await {
        Ok(result) => result,
        // As long as this waits, it has sent its result, or its panic has gone on.
        Err(_) => pending().await,
    }
}

fn spawn(words: &[String], variable: Option<Variable>, input: Stdio, sh: bool) -> io::Result<Running> {
    let (reader, writer) = io::pipe()?;
    let output = Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let words: Vec<&str> =
        sh.then_some("/bin/sh").into_iter().chain(words.iter().map(String::as_str)).collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .stdin(input)
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .envs(variable)
        .process_group(0);
    // The original sets this for itself, so that its commands have always had it.
    if std::env::var_os("PERLIO").is_none() {
        command.env("PERLIO", "perlio");
    }
    let child = command.spawn()?;
    child.id().into_iter().for_each(limits::for_command);
    Ok(Running { child, output })
}

impl Running {
    /// Kills its group, and waits until it is gone; for a thread that may block.
    fn end_now(mut self) {
        if let Some(leader) = self.child.id() {
            kill_group(leader);
        }
        for _ in 0..GONE.as_millis() {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its process, which leads its group; none when it has ended.
    #[must_use]
    pub fn leader(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end, and tells of each piece that it prints.
    ///
    /// # Errors
    /// When the system has no exit status for it.
    pub async fn end(mut self, mut printed: impl FnMut(&[u8])) -> io::Result<Ended> {
        let leader = self.leader();
        let mut kept = Vec::new();
        let mut buffer = vec![0; KEPT];
        let mut open = true;
        let mut since_breath = 0;
        let status = loop {
            tokio::select! {
                // Its end counts, not that of the output: a child of it may hold that open.
                biased;
                status = self.child.wait() => break status?,
                ready = self.output.readable(), if open => {
                    let length = ready.and_then(|()| read(&self.output, &mut buffer, &mut kept, &mut printed));
                    open = matches!(length, Ok(Some(_)));
                    since_breath += length.ok().flatten().unwrap_or_default();
                    if since_breath >= LEFT {
                        since_breath = 0;
                        sleep(BREATH).await;
                    }
                }
            }
        };
        for _ in 0..LEFT / KEPT {
            if !matches!(read(&self.output, &mut buffer, &mut kept, &mut printed), Ok(Some(1..))) {
                break;
            }
        }
        leader.into_iter().for_each(left_behind::note);
        Ok(Ended { status, output: kept })
    }
}

/// Reads what is there, at most one buffer; none at the end of the output.
fn read(
    output: &Receiver,
    buffer: &mut [u8],
    kept: &mut Vec<u8>,
    printed: &mut impl FnMut(&[u8]),
) -> io::Result<Option<usize>> {
    match output.try_read(buffer) {
        Ok(0) => Ok(None),
        Ok(length) => {
            printed(&buffer[..length]);
            let room = KEPT - kept.len();
            kept.extend_from_slice(&buffer[..length.min(room)]);
            Ok(Some(length))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

impl Ended {
    /// The first line that it printed, if any; control characters are not looked at.
    #[must_use]
    pub fn first_line(&self) -> Option<&[u8]> {
        let line = self.output.trim_ascii_start().split(|byte| matches!(byte, b'\n' | b'\r')).next();
        line.filter(|line| !line.is_empty())
    }
}
