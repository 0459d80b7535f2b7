//! `checktype=external` and `external-perl`: a command of the operator, in a process group of its own.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::progress::{Progress, Step};
use super::say;
use crate::net::{cause, is_own_limit};
use crate::plan::ExternalProbe;
use crate::sys::process::{Signal, kill_group};
use crate::value::Verdict;

/// So much of what a command prints is kept; the rest is read and thrown away, so that the command does not wait for us.
const KEPT: usize = 4096;

/// So much is still read after the end of a command: what it printed last. Somebody it left behind may go on printing.
const LEFT: usize = 64 * 1024;

/// Between two attempts to start a command that somebody is writing to.
const BUSY: Duration = Duration::from_millis(20);

/// A command that runs. Letting go of it kills its whole group; the runtime then takes its exit status from the kernel.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // There is no id any more once its end was seen. What it left behind on purpose may then stay, as with the original.
        if let Some(leader) = self.0.id() {
            kill_group(leader);
        }
    }
}

/// Runs the command and judges its end.
pub(super) async fn run(external: &ExternalProbe, progress: &Progress) -> Verdict {
    progress.step(Step::Command(external.command.clone()));
    let asked = external.clone();
    let words = match aside(move || words(&asked)).await {
        Ok(words) => words,
        Err(why) => return Verdict::down(format!("run {}: {why}", external.command)),
    };
    let (mut running, output) = match start(external, &words, progress).await {
        Ok(started) => started,
        Err(error) => return cannot_run(external, &words, &error),
    };
    progress.step(Step::Command(external.command.clone()));
    let mut kept = Vec::new();
    let mut buffer = vec![0; KEPT];
    let mut open = true;
    let status = loop {
        tokio::select! {
            // Its end counts, not that of the output: a child of it may hold that open.
            biased;
            status = running.0.wait() => break status,
            ready = output.readable(), if open => {
                open = ready.is_ok() && matches!(read(&output, &mut buffer, &mut kept, progress), Ok(Some(_)));
            }
        }
    };
    for _ in 0..LEFT / KEPT {
        if !matches!(read(&output, &mut buffer, &mut kept, progress), Ok(Some(1..))) {
            break;
        }
    }
    match status {
        Ok(status) => judge(external, status, &kept),
        Err(error) => {
            Verdict::unknown(format!("run {}: no exit status: {}", external.command, cause(&error)))
        }
    }
}

/// The program and its own arguments, before those that every check command gets.
fn words(external: &ExternalProbe) -> Result<Vec<String>, &'static str> {
    let command = &external.command;
    let mut words = if command.contains('/') && Path::new(command).exists() {
        vec![command.clone()]
    } else {
        shlex::split(command).ok_or("the command has a quote without its counterpart")?
    };
    if words.is_empty() {
        return Err("the command is empty");
    }
    if external.perl {
        words.insert(0, "perl".to_owned());
    }
    words.extend(external.arguments.iter().cloned());
    Ok(words)
}

/// Asks the file system on another thread: where it hangs, only this check does. What comes too late is let go of there.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and with it this check.
            Err(_) => pending().await,
        },
    }
}

async fn start(
    external: &ExternalProbe,
    words: &[String],
    progress: &Progress,
) -> io::Result<(Running, Receiver)> {
    let mut sh = false;
    loop {
        let own = words.to_vec();
        match aside(move || spawn(&own, sh)).await {
            // Somebody replaces the file at this moment, which says nothing about the server.
            Err(error) if error.raw_os_error() == Some(Errno::ETXTBSY as i32) => {
                progress.step(Step::Busy(external.command.clone()));
                sleep(BUSY).await;
            }
            // A script without `#!` in its first line: execvp gives it to sh, and so it was for the original.
            Err(error) if !sh && error.raw_os_error() == Some(Errno::ENOEXEC as i32) => sh = true,
            result => return result,
        }
    }
}

fn spawn(words: &[String], sh: bool) -> io::Result<(Running, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let reader = Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let words: Vec<&str> =
        sh.then_some("/bin/sh").into_iter().chain(words.iter().map(String::as_str)).collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    // The original sets this for itself, so that its commands have always had it.
    if std::env::var_os("PERLIO").is_none() {
        command.env("PERLIO", "perlio");
    }
    Ok((Running(command.spawn()?), reader))
}

/// Reads what is there, at most one buffer; none at the end of the output.
fn read(
    output: &Receiver,
    buffer: &mut [u8],
    kept: &mut Vec<u8>,
    progress: &Progress,
) -> io::Result<Option<usize>> {
    match output.try_read(buffer) {
        Ok(0) => Ok(None),
        Ok(length) => {
            progress.received(&buffer[..length]);
            let room = KEPT - kept.len();
            kept.extend_from_slice(&buffer[..length.min(room)]);
            Ok(Some(length))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

fn judge(external: &ExternalProbe, status: ExitStatus, output: &[u8]) -> Verdict {
    let printed = match output.trim_ascii_start().split(|byte| matches!(byte, b'\n' | b'\r')).next() {
        Some(line) if !line.is_empty() => format!("; it printed {}", say::beginning(line, 200)),
        _ => String::new(),
    };
    let name = &external.command;
    match (status.code(), status.signal()) {
        (Some(0), _) => Verdict::up(format!("run {name}: exit code 0")),
        (Some(code), _) => Verdict::down(format!("run {name}: exit code {code}{printed}")),
        (None, number) => {
            let signal = number.and_then(|number| Signal::try_from(number).ok());
            let signal =
                signal.map_or_else(|| format!("signal {}", number.unwrap_or(0)), |signal| signal.to_string());
            Verdict::down(format!("run {name}: killed by {signal}{printed}"))
        }
    }
}

/// The original says "down" as well when its `exec` fails; only what this machine lacks says nothing about the server.
fn cannot_run(external: &ExternalProbe, words: &[String], error: &io::Error) -> Verdict {
    let program = words.first().map(String::as_str).unwrap_or_default();
    let mut reason = format!("run {}: ", external.command);
    if program != external.command {
        reason.push_str(&format!("{program}: "));
    }
    let no_interpreter =
        error.kind() == io::ErrorKind::NotFound && program.contains('/') && Path::new(program).exists();
    match no_interpreter {
        true => reason.push_str("cannot be run: the program that its first line names (#!) does not exist"),
        false => reason.push_str(&format!("cannot be run: {}", cause(error))),
    }
    if is_own_limit(error) { Verdict::unknown(reason) } else { Verdict::down(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Outcome;

    #[test]
    fn what_this_machine_lacks_says_nothing_about_the_server() {
        let arguments = ["10.0.0.1", "80", "10.0.0.2", "80"].map(str::to_owned);
        let external = ExternalProbe { command: "/bin/chk".to_owned(), perl: false, arguments };
        for (errno, outcome) in [
            (Errno::EMFILE, Outcome::Unknown),
            (Errno::ENFILE, Outcome::Unknown),
            (Errno::EAGAIN, Outcome::Unknown),
            (Errno::ENOMEM, Outcome::Unknown),
            (Errno::EACCES, Outcome::Down),
        ] {
            let error = io::Error::from_raw_os_error(errno as i32);
            let verdict = cannot_run(&external, &["/bin/chk".to_owned()], &error);
            assert_eq!(verdict.outcome, outcome, "{verdict:?}");
            assert!(verdict.reason.starts_with("run /bin/chk: cannot be run: "), "{verdict:?}");
        }
    }
}
