//! `execute`: other configurations, each with a daemon of its own, which follow this one's start, reload and stop.

use std::collections::BTreeSet;

use tracing::warn;

use crate::notify::commands::{Commands, Job, Program};

/// The variable that names the configurations that a process works for, so that those that name each other in a circle do not
/// call each other for ever.
pub const CALLERS: &str = "LDIRECTORD_CALLERS";

/// The daemons that follow this one.
pub struct Instances {
    /// This program with its options, as a command line.
    own: Vec<String>,
    /// The name of this daemon's own configuration, and of those whose daemons have started it: they are not called from here.
    callers: Vec<String>,
    running: BTreeSet<String>,
}

impl Instances {
    /// None yet.
    #[must_use]
    pub fn new(own: Vec<String>, name: &str) -> Instances {
        Instances { own, callers: callers(name), running: BTreeSet::new() }
    }

    /// Makes them those that the configuration names: new ones are started, those that stay are reloaded, others stopped.
    pub fn follow(&mut self, wanted: &BTreeSet<String>, commands: &mut Commands) {
        let (calling, wanted): (BTreeSet<&String>, BTreeSet<&String>) =
            wanted.iter().partition(|instance| self.callers.contains(&name(instance)));
        for instance in calling {
            warn!(
                "execute={instance} is passed over: it names this configuration, or one that has started it"
            );
        }
        for gone in self.running.iter().filter(|instance| !wanted.contains(instance)) {
            commands.run(&lane(gone), self.job(gone, "stop", None));
        }
        for instance in &wanted {
            let start = self.job(instance, "start", None);
            let job = match self.running.contains(*instance) {
                true => self.job(instance, "reload", Some(start)),
                false => start,
            };
            commands.run(&lane(instance), job);
        }
        self.running = wanted.into_iter().cloned().collect();
    }

    /// Stops them all.
    pub fn stop(&mut self, commands: &mut Commands) {
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

/// The name of a configuration, and of all that have called it.
#[must_use]
pub fn callers(name: &str) -> Vec<String> {
    let before = std::env::var(CALLERS).unwrap_or_default();
    before.lines().map(str::to_owned).chain([name.to_owned()]).collect()
}

/// Whether the daemon of this name has called this process.
#[must_use]
pub fn has_called(name: &str) -> bool {
    std::env::var(CALLERS).is_ok_and(|before| before.lines().any(|caller| caller == name))
}

fn lane(instance: &str) -> String {
    format!("execute {instance}")
}

/// The value as a shell would split it; quotes may group it.
#[must_use]
pub fn words(instance: &str) -> Vec<String> {
    shlex::split(instance).unwrap_or_else(|| vec![instance.to_owned()])
}

/// The name of its configuration, as in the names of its files.
#[must_use]
pub fn name(instance: &str) -> String {
    let words = words(instance);
    words.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned()
}
