//! `checktype=external` and `external-perl`: an operator command, in its own process group.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use tokio::sync::Semaphore;

use super::format;
use super::progress::{CheckStep, Progress};
use crate::net::{cause, local_cause};
use crate::spec::ExternalProbe;
use crate::sys::command::{self, CommandEnd, aside};
use crate::sys::process::Signal;
use crate::value::mask::Mask;
use crate::value::{UnknownCause, Verdict, shown};

/// The most commands that are looked up in the file system at the same time. If it hangs, only these threads hang: the
/// daemon needs the others for patterns, names and its own files.
static PLACES: Semaphore = Semaphore::const_new(64);

/// Runs the command and judges its exit status.
pub(super) async fn run(external: &ExternalProbe, progress: &Progress) -> Verdict {
    let name = name(external);
    progress.step(CheckStep::Starting(name.clone()));
    let asked = external.clone();
    // The semaphore is never closed.
    let place = PLACES.acquire().await;
    let look = move || {
        let _place = place;
        words(&asked)
    };
    let words = match aside(look).await {
        Ok(words) => words,
        Err(why) => return Verdict::down(format!("run {name}: {why}")),
    };
    let busy = || progress.step(CheckStep::Busy(name.clone()));
    let running = match command::start(&words, None, busy).await {
        Ok(running) => running,
        Err(error) => return cannot_run(external, &words, &error),
    };
    progress.step(CheckStep::Command(name.clone()));
    match running.end(|piece| progress.received(piece)).await {
        Ok(ended) => judge(external, &words, &ended),
        Err(error) => {
            let reason = format!("run {name}: no exit status: {}", cause(&error));
            Verdict::unknown(UnknownCause::NotStarted, reason)
        }
    }
}

/// The verdict of a dry run.
pub(super) fn not_run(external: &ExternalProbe) -> Verdict {
    Verdict::unknown(UnknownCause::DryRun, format!("run {}: {}", name(external), UnknownCause::DryRun))
}

/// The command as shown: without its arguments, which may contain a password.
fn name(external: &ExternalProbe) -> String {
    shown::command(&external.command).into_owned()
}

/// The program, the arguments in the configuration, and those that every check command gets.
fn words(external: &ExternalProbe) -> Result<Vec<String>, &'static str> {
    let mut words = command::words(&external.command)?;
    if external.perl {
        words.insert(0, "perl".to_owned());
    }
    words.extend(external.arguments.iter().cloned());
    Ok(words)
}

fn judge(external: &ExternalProbe, words: &[String], ended: &CommandEnd) -> Verdict {
    let printed = match ended.first_line() {
        Some(line) => {
            // Without the addresses at the end.
            let configured = &words[1..words.len() - external.arguments.len()];
            let line =
                Mask::of_arguments(configured.iter().map(String::as_str)).hide_in_output(line).into_owned();
            format!("; it printed {}", format::beginning(&line, 200))
        }
        None => String::new(),
    };
    let name = name(external);
    match (ended.status.code(), ended.status.signal()) {
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

/// The verdict if the command cannot be started: down, as in the original, except for a limit of this machine.
fn cannot_run(external: &ExternalProbe, words: &[String], error: &io::Error) -> Verdict {
    let program = words.first().map(String::as_str).unwrap_or_default();
    let name = name(external);
    let mut reason = format!("run {name}: ");
    if name.split(' ').next() != Some(program) {
        reason.push_str(&format!("{program}: "));
    }
    let no_interpreter =
        error.kind() == io::ErrorKind::NotFound && program.contains('/') && Path::new(program).exists();
    match no_interpreter {
        true => reason.push_str("cannot be run: the interpreter in its first line (#!) does not exist"),
        false => reason.push_str(&format!("cannot be run: {}", cause(error))),
    }
    match local_cause(error) {
        Some(cause @ UnknownCause::OwnLimit(_)) => Verdict::unknown(cause, reason),
        // This includes EACCES and EPERM: the file is not executable.
        _ => Verdict::down(reason),
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::value::Outcome;

    #[test]
    fn what_this_machine_lacks_says_nothing_about_the_server() {
        let arguments = ["10.0.0.1", "80", "10.0.0.2", "80"].map(str::to_owned);
        let external = ExternalProbe { command: "/bin/chk".to_owned(), perl: false, arguments };
        for (errno, outcome) in [
            (Errno::EMFILE, None),
            (Errno::ENFILE, None),
            (Errno::EAGAIN, None),
            (Errno::ENOMEM, None),
            (Errno::EACCES, Some(Outcome::Down)),
        ] {
            let error = io::Error::from_raw_os_error(errno as i32);
            let verdict = cannot_run(&external, &["/bin/chk".to_owned()], &error);
            let definite = (!verdict.is_unknown()).then_some(verdict.outcome);
            assert_eq!(definite, outcome, "{verdict:?}");
            assert!(verdict.reason.starts_with("run /bin/chk: cannot be run: "), "{verdict:?}");
        }
    }
}
