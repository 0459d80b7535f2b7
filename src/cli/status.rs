//! `status`.

use std::collections::BTreeSet;
use std::process::Command;

use super::Exit;
use super::context::Context;
use super::failure::CommandFailure;
use super::other::Other;
use super::running::{state, unreadable};
use super::terminal::{eprint_line, print_line};
use crate::daemon::{self, instances};
use crate::sys::pidfile::DaemonState;
use crate::sys::process::Process;

/// Prints whether the daemon runs. A wrong configuration is only a warning.
pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    let config = context.display_config();
    match state(context).map_err(|error| unreadable(context, error, Exit::Unknown))? {
        DaemonState::Running(Process { pid, .. }) => {
            eprint_line!("ldirectord for {config} is running with pid: {pid}");
            Other::warn_of_file(context);
            match context.find_config() {
                None => eprint_line!(
                    "Warning: Config file {} not found; the daemon keeps its current configuration",
                    context.argument
                ),
                // Resolves no names: a cluster manager asks every few seconds, also while the name server is down.
                Some(path) => match daemon::judge(&path) {
                    Ok(loaded) => of_instances(context, &loaded.spec.config().globals.execute),
                    Err(error) => eprint_line!(
                        "Warning: the configuration file is now invalid (errors: {}); the daemon keeps its current configuration; \
                         to see the errors: ldirectord-rs check {}",
                        error.count(),
                        path.display()
                    ),
                },
            }
            Ok(Exit::Ok)
        }
        DaemonState::Stale(_) => {
            // The original's words, as in all answers of `status`.
            eprint_line!("ldirectord stale pid file {} for {config}", context.pid_file().display());
            print_line!("ldirectord is stopped for {config}");
            Ok(Exit::Failure)
        }
        // A starting daemon does not run yet.
        DaemonState::Stopped | DaemonState::Starting => {
            print_line!("ldirectord is stopped for {config}");
            Ok(Exit::Stopped)
        }
    }
}

/// Runs `status` for the configurations of `execute=`. Their answers do not change this one's exit code. Configurations
/// that name each other in a circle are asked once.
fn of_instances(context: &Context, execute: &BTreeSet<String>) {
    let callers = instances::callers(&context.name);
    for instance in execute.iter().filter(|instance| !callers.contains(&instances::name(instance))) {
        let words = [context.own.clone(), instances::words(instance), vec!["status".to_owned()]].concat();
        let status =
            Command::new(&words[0]).args(&words[1..]).env(instances::CALLERS, callers.join("\n")).status();
        if let Err(error) = status {
            eprint_line!("execute={instance}: {} cannot be run: {error}", words[0]);
        }
    }
}
