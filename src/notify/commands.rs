//! Operator commands that report events. They run in the order of the events and delay nothing else.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::sys::command::{self, CommandEnd, Variable};
use crate::sys::process::{self, Signal};
use crate::value::mask::Mask;
use crate::value::shown;

/// Calls that may be queued behind a slow one. More calls are dropped and reported.
const WAITING: usize = 64;

/// One program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// For the log: `fallbackcommand of tcp:10.0.0.1:80`.
    pub what: String,
    /// The program and its configured arguments.
    pub program: Program,
    /// The arguments that describe the event.
    pub arguments: Vec<String>,
    /// An additional environment variable.
    pub variable: Option<Variable>,
    /// The job to run if this one fails.
    pub otherwise: Option<Box<Job>>,
}

/// How a program is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A line of the configuration: a path, or words quoted as for a shell. No shell is used.
    Line(String),
    /// Program and arguments.
    Words(Vec<String>),
    /// A file. If it is not executable, it is not run, with a warning.
    File(String),
}

/// Running and queued commands. Commands of one queue run one after the other.
pub struct CommandRunner {
    limit: Duration,
    /// False in a dry run.
    runs: bool,
    queues: BTreeMap<String, mpsc::Sender<Job>>,
    tasks: JoinSet<()>,
    ended: Ended,
}

/// The number of commands that ended, by directive, and whether they succeeded.
type Ended = Arc<Mutex<BTreeMap<(String, bool), u64>>>;

impl CommandRunner {
    /// An empty queue. A command that takes longer than `limit` is killed with its process group. Without `runs`
    /// commands are only logged.
    #[must_use]
    pub fn new(limit: Duration, runs: bool) -> CommandRunner {
        CommandRunner { limit, runs, queues: BTreeMap::new(), tasks: JoinSet::new(), ended: Ended::default() }
    }

    /// Appends a command to a queue. Never waits.
    pub fn run(&mut self, queue: &str, job: Job) {
        if !self.queues.contains_key(queue) {
            let (sender, jobs) = mpsc::channel(WAITING);
            self.tasks.spawn(work(jobs, self.limit, self.runs, Arc::clone(&self.ended)));
            self.queues.insert(queue.to_owned(), sender);
        }
        if let Err(refused) = self.queues[queue].try_send(job) {
            let job = refused.into_inner();
            error!("{}: dropped, {WAITING} earlier calls are still queued behind a slow one", job.what);
        }
    }

    /// The number of commands that ended, by directive and result.
    #[must_use]
    pub fn ended(&self) -> Vec<(String, &'static str, u64)> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let word = |succeeded: bool| if succeeded { "ok" } else { "failed" };
        ended.iter().map(|((kind, succeeded), count)| (kind.clone(), word(*succeeded), *count)).collect()
    }

    /// Waits for running and queued commands for at most `grace`, then kills the rest.
    pub async fn shut_down(mut self, grace: Duration) {
        self.queues.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            warn!("{} commands did not end within {grace:?} and were killed", self.tasks.len());
            self.tasks.shutdown().await;
        }
    }
}

async fn work(mut jobs: mpsc::Receiver<Job>, limit: Duration, runs: bool, ended: Ended) {
    while let Some(job) = jobs.recv().await {
        let mut next = Some(job);
        while let Some(job) = next {
            let failed = perform(&job, limit, runs).await.is_err();
            let kind = job.what.split(' ').next().unwrap_or_default().to_owned();
            *ended.lock().unwrap_or_else(PoisonError::into_inner).entry((kind, !failed)).or_default() += 1;
            next = job.otherwise.filter(|_| failed).map(|job| *job);
        }
    }
}

/// Runs one command to its end and logs the result. Without `runs` it logs what it would run.
async fn perform(job: &Job, limit: Duration, runs: bool) -> Result<(), ()> {
    let program = job.program.clone();
    let words = match program {
        Program::Words(words) => Ok(words),
        Program::File(path) => {
            let file = PathBuf::from(&path);
            if !command::aside(move || process::is_executable(&file)).await {
                let path = shown::command(&path);
                warn!("{} {path} is not run: it is not an executable file", job.what);
                return Ok(());
            }
            Ok(vec![path])
        }
        Program::Line(line) => command::aside(move || command::words(&line)).await,
    };
    let line = words.as_ref().map_or_else(|_| String::new(), |own| shown_line(own, &job.arguments));
    let mask = match (&job.program, &words) {
        // Its arguments may contain a password, and a command may print them.
        (Program::Line(_), Ok(own)) => Mask::of_arguments(own.iter().skip(1).map(String::as_str)),
        _ => Mask::default(),
    };
    let words = words.map(|words| [words, job.arguments.clone()].concat());
    let result = match &words {
        Ok(_) if !runs => {
            info!("{}: would run {line}", job.what);
            return Ok(());
        }
        Ok(words) => run(words, job.variable.as_ref(), limit, &mask).await,
        Err(why) => Err((*why).to_owned()),
    };
    match result {
        Ok(()) => {
            info!("{}: {line}", job.what);
            Ok(())
        }
        Err(why) => {
            // The first words are the original's.
            error!("system({line}) failed: {why} ({})", job.what);
            Err(())
        }
    }
}

/// A command for the log. Its configured arguments are hidden, as they may contain a password.
fn shown_line(own: &[String], told: &[String]) -> String {
    let program = own.first().map(String::as_str).into_iter();
    let hidden = (own.len() > 1).then_some("…");
    program.chain(hidden).chain(told.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

async fn run(
    words: &[String],
    variable: Option<&Variable>,
    limit: Duration,
    mask: &Mask,
) -> Result<(), String> {
    let whole = async {
        let running = command::start(words, variable, || {}).await;
        let running = running.map_err(|error| format!("cannot be run: {error}"))?;
        running.end(|_| {}).await.map_err(|error| format!("no exit status: {error}"))
    };
    match tokio::time::timeout(limit, whole).await {
        Err(_) => Err(format!("timed out after {limit:?}; killed its process group")),
        Ok(ended) => judge(&ended?, mask),
    }
}

fn judge(ended: &CommandEnd, mask: &Mask) -> Result<(), String> {
    let printed = match ended.first_line() {
        Some(line) => format!("; its output: \"{}\"", mask.hide_in_output(line).escape_ascii()),
        None => String::new(),
    };
    match (ended.status.code(), ended.status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(format!("exit code {code}{printed}")),
        (None, number) => {
            let signal = number.and_then(|number| Signal::try_from(number).ok());
            let name = signal.map_or_else(|| "a signal".to_owned(), |signal| signal.to_string());
            Err(format!("killed by {name}{printed}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown_line;

    #[test]
    fn c4_a_command_is_logged_without_its_own_arguments() {
        let line = |own: &[&str]| {
            let own: Vec<String> = own.iter().map(|word| (*word).to_owned()).collect();
            shown_line(&own, &["start".to_owned(), "10.0.0.1:80".to_owned()])
        };
        assert_eq!(line(&["/bin/fb", "--password", "geheim"]), "/bin/fb … start 10.0.0.1:80");
        assert_eq!(line(&["/bin/fb"]), "/bin/fb start 10.0.0.1:80");
    }
}
