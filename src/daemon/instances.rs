//! `execute`: other configurations, each with its own daemon, which this daemon starts, reloads and stops.

use std::collections::BTreeSet;

use tracing::warn;

use crate::notify::commands::{CommandRunner, Job, Program};

/// The environment variable with the names of the configurations that called a process. It ends the recursion if
/// configurations name each other in a circle.
pub const CALLERS: &str = "LDIRECTORD_CALLERS";

/// The daemons that `execute` controls.
pub struct Instances {
    /// The command line of this program with its options.
    own: Vec<String>,
    /// The name of this configuration and of those whose daemons started this one. They are not called.
    callers: Vec<String>,
    running: BTreeSet<String>,
}

impl Instances {
    /// Creates the set, without daemons.
    #[must_use]
    pub fn new(own: Vec<String>, name: &str) -> Instances {
        Instances { own, callers: callers(name), running: BTreeSet::new() }
    }

    /// Starts the daemons that are new in `wanted`, reloads those that were in it before, and stops the others.
    pub fn follow(&mut self, wanted: &BTreeSet<String>, commands: &mut CommandRunner) {
        let (calling, wanted): (BTreeSet<&String>, BTreeSet<&String>) =
            wanted.iter().partition(|instance| self.callers.contains(&name(instance)));
        for instance in calling {
            warn!("execute={instance} is ignored: it names this configuration or its caller; remove it");
        }
        for gone in self.running.iter().filter(|instance| !wanted.contains(instance)) {
            commands.run(&queue(gone), self.job(gone, "stop", None));
        }
        for instance in &wanted {
            let start = self.job(instance, "start", None);
            let job = match self.running.contains(*instance) {
                true => self.job(instance, "reload", Some(start)),
                false => start,
            };
            commands.run(&queue(instance), job);
        }
        self.running = wanted.into_iter().cloned().collect();
    }

    /// Stops all daemons.
    pub fn stop(&mut self, commands: &mut CommandRunner) {
        self.follow(&BTreeSet::new(), commands);
    }

    fn job(&self, instance: &str, action: &str, otherwise: Option<Job>) -> Job {
        Job {
            what: format!("execute={instance}"),
            program: Program::Words([self.own.clone(), words(instance)].concat()),
            arguments: vec![action.to_owned()],
            variable: Some((CALLERS, self.callers.join("\n"))),
            otherwise: otherwise.map(Box::new),
        }
    }
}

/// The names of all configurations that called this process, and then `name`.
#[must_use]
pub fn callers(name: &str) -> Vec<String> {
    let before = std::env::var(CALLERS).unwrap_or_default();
    before.lines().map(str::to_owned).chain([name.to_owned()]).collect()
}

/// Whether the daemon of this name called this process.
#[must_use]
pub fn has_called(name: &str) -> bool {
    std::env::var(CALLERS).is_ok_and(|before| before.lines().any(|caller| caller == name))
}

fn queue(instance: &str) -> String {
    format!("execute {instance}")
}

/// Splits the value into words as a shell does, with quotes.
#[must_use]
pub fn words(instance: &str) -> Vec<String> {
    shlex::split(instance).unwrap_or_else(|| vec![instance.to_owned()])
}

/// The name of the configuration in an `execute` value, as in the names of its files.
#[must_use]
pub fn name(instance: &str) -> String {
    let words = words(instance);
    words.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned()
}
