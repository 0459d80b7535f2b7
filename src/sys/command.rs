//! Runs an operator command without a shell, in its own process group. Dropping the future that waits for it kills the
//! group.

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

/// Bytes of output that are kept. More is read and discarded, so that the command never blocks.
const KEPT: usize = 4096;

/// Bytes of output that are read after the end of a command, for its last lines. Its children may go on printing.
const LEFT: usize = 64 * 1024;

/// The pause after each [`LEFT`] bytes of output, so that endless output does not use all of the processor.
const BREATH: Duration = Duration::from_millis(5);

/// How long to wait for a killed process. If it hangs in the kernel, the runtime collects its exit status later.
const GONE: Duration = Duration::from_secs(1);

/// The pause between two attempts to start a command whose file is being written.
const BUSY: Duration = Duration::from_millis(20);

/// A running command. Dropping it kills its process group; the runtime then collects its exit status.
#[derive(Debug)]
pub struct RunningCommand {
    child: Child,
    output: Receiver,
}

/// How a command ended.
#[derive(Debug)]
pub struct CommandEnd {
    /// Its exit status.
    pub status: ExitStatus,
    /// The first bytes of its output, at most 4 KiB, both streams in one.
    pub output: Vec<u8>,
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        // There is no id after its end was noticed. Processes that it left behind then stay, as with the original.
        if let Some(leader) = self.child.id() {
            kill_group(leader);
        }
    }
}

/// Splits a command line into program and arguments: the path of an existing file as a whole, otherwise words quoted as
/// for a shell. Looks into the file system, so it may block.
///
/// # Errors
/// There is no word, or an unmatched quote.
pub fn words(line: &str) -> Result<Vec<String>, &'static str> {
    if line.contains('/') && Path::new(line).exists() {
        return Ok(vec![line.to_owned()]);
    }
    let words = shlex::split(line).ok_or("the command has an unmatched quote")?;
    if words.is_empty() { Err("the command is empty") } else { Ok(words) }
}

/// Runs blocking work on another thread: if a file system hangs, only the caller waits. A late result is dropped on
/// that thread.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down, and the caller with it.
            Err(_) => pending().await,
        },
    }
}

/// A variable of the environment and its value.
pub type Variable = (&'static str, String);

/// Starts a program with its arguments and an additional environment variable. While its file is open for writing,
/// calls `busy` and tries again.
///
/// # Errors
/// The program cannot be started.
pub async fn start(
    words: &[String],
    variable: Option<&Variable>,
    busy: impl FnMut(),
) -> io::Result<RunningCommand> {
    start_reading(words, variable, &|| Ok(Stdio::null()), busy).await
}

/// Starts a program with its arguments and a file as its standard input.
///
/// # Errors
/// The program cannot be started.
pub async fn start_with_input(words: &[String], input: &File) -> io::Result<RunningCommand> {
    start_reading(words, None, &|| input.try_clone().map(Stdio::from), || {}).await
}

async fn start_reading(
    words: &[String],
    variable: Option<&Variable>,
    input: &(dyn Fn() -> io::Result<Stdio> + Sync),
    mut busy: impl FnMut(),
) -> io::Result<RunningCommand> {
    let mut sh = false;
    loop {
        let (words, variable, input) = (words.to_vec(), variable.cloned(), input()?);
        match started(move || spawn(&words, variable, input, sh)).await {
            // The file is being replaced, which does not take long.
            Err(error) if error.raw_os_error() == Some(Errno::ETXTBSY as i32) => {
                busy();
                sleep(BUSY).await;
            }
            // A script without `#!`: run it with sh, as execvp does for the original.
            Err(error) if !sh && error.raw_os_error() == Some(Errno::ENOEXEC as i32) => sh = true,
            result => return result,
        }
    }
}

/// Starts a command on another thread. If the caller is gone by then, that thread kills the command and collects its
/// exit status: the runtime would do that only at the end of the next command.
async fn started(
    spawn: impl FnOnce() -> io::Result<RunningCommand> + Send + 'static,
) -> io::Result<RunningCommand> {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        // The caller gave up while this waited for a thread: do not start the command.
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
        // Not reached: the closure sends a result while this waits, or its panic is propagated.
        Err(_) => pending().await,
    }
}

fn spawn(words: &[String], variable: Option<Variable>, input: Stdio, sh: bool) -> io::Result<RunningCommand> {
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
    // The original sets this for itself, so its commands have always had it.
    if std::env::var_os("PERLIO").is_none() {
        command.env("PERLIO", "perlio");
    }
    let child = command.spawn()?;
    child.id().into_iter().for_each(limits::for_command);
    Ok(RunningCommand { child, output })
}

impl RunningCommand {
    /// Kills its process group and waits for its end. Blocks.
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

    /// Its process, the leader of its group. None after its end.
    #[must_use]
    pub fn leader(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end, and calls `printed` with each piece of output.
    ///
    /// # Errors
    /// The system has no exit status for it.
    pub async fn end(mut self, mut printed: impl FnMut(&[u8])) -> io::Result<CommandEnd> {
        let leader = self.leader();
        let mut kept = Vec::new();
        let mut buffer = vec![0; KEPT];
        let mut open = true;
        let mut since_breath = 0;
        let status = loop {
            tokio::select! {
                // Wait for the end of the process, not of its output: a child may hold that open.
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
        Ok(CommandEnd { status, output: kept })
    }
}

/// Reads the available output, at most one buffer. None at its end.
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

impl CommandEnd {
    /// The first line of its output, if any. May contain control characters.
    #[must_use]
    pub fn first_line(&self) -> Option<&[u8]> {
        let line = self.output.trim_ascii_start().split(|byte| matches!(byte, b'\n' | b'\r')).next();
        line.filter(|line| !line.is_empty())
    }
}
