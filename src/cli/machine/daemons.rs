//! The ldirectord daemons of this machine, ours and the original.

use std::path::Path;

use super::super::ask::ask;
use super::super::context::Context;
use super::super::list;
use super::super::running::as_it_runs;
use crate::control::{ControlRequest, CounterDetail};
use crate::diagnosis::{Runs, Seen, SeenDaemon};
use crate::report::{Overridden, ServerEntry, StateSnapshot, VirtualService};
use crate::sys::pidfile::DaemonState;
use crate::sys::process;
use crate::value::shown::escaped;

/// All daemons that run.
pub(super) fn look(context: &Context, path: &Path) -> Seen<Vec<SeenDaemon>> {
    let (found, is_whole) = list::found(context);
    let own = context.instance();
    let mut daemons = Vec::new();
    for found in found {
        let DaemonState::Running(process) = found.state else { continue };
        if process::is_original(process.pid) {
            continue;
        }
        let runs = match (&found.instance, &own) {
            (Some(instance), Some(own)) if instance.file == own.file && instance.network == own.network => {
                Runs::ThisFile
            }
            (Some(instance), _) => {
                Runs::OtherFile(escaped(&instance.file.display().to_string()).into_owned())
            }
            // In the foreground it has no lock, which names its file.
            (None, _) if found.name == context.name => Runs::ThisFile,
            (None, _) => Runs::OtherFile(escaped(&found.name).into_owned()),
        };
        daemons.push(SeenDaemon { pid: process.pid, runs });
    }
    for (pid, words) in process::originals() {
        let runs = match is_meant(context, path, &words) {
            true => Runs::OriginalThisFile,
            false => Runs::Original,
        };
        daemons.push(SeenDaemon { pid, runs });
    }
    daemons.sort_by_key(|daemon| daemon.pid);
    daemons.dedup_by_key(|daemon| daemon.pid);
    match is_whole || !daemons.is_empty() {
        true => Ok(daemons),
        false => Err("a pid file cannot be read (see standard error)".to_owned()),
    }
}

/// The overrides of the daemon of this file that an operator may have forgotten. None if it does not answer.
pub(super) fn old_overrides(context: &Context, daemons: &Seen<Vec<SeenDaemon>>) -> Vec<String> {
    let runs = |all: &Vec<SeenDaemon>| all.iter().any(|daemon| daemon.runs == Runs::ThisFile);
    if !daemons.as_ref().is_ok_and(runs) {
        return Vec::new();
    }
    let context = as_it_runs(context.clone());
    let answer = ask(&context, &ControlRequest::Show { service: None, counters: CounterDetail::None });
    let snapshot: Option<StateSnapshot> = answer.ok().and_then(|text| serde_json::from_str(&text).ok());
    let Some(snapshot) = snapshot else { return Vec::new() };
    let describe = |(service, server, decision): (&VirtualService, &ServerEntry, &Overridden)| {
        let text = format!(
            "{} of {} ({}) by {} since {}",
            decision.what, server.address, service.id, decision.owner, decision.since
        );
        escaped(&text).into_owned()
    };
    snapshot.old_overrides().map(describe).collect()
}

/// Whether an original with these words on its command line runs the file: `[-d] [CONFIG] start`.
fn is_meant(context: &Context, path: &Path, words: &[String]) -> bool {
    let is_script = |word: &String| word == "ldirectord" || word.ends_with("/ldirectord");
    let after = words.iter().position(is_script).map_or(&[][..], |script| &words[script + 1..]);
    let after: Vec<&String> =
        after.iter().filter(|word| !word.starts_with('-') && !word.is_empty()).collect();
    let config = if after.len() > 1 { after.first().map(|word| word.as_str()) } else { None };
    context.is_meant_by(config) || config.is_some_and(|config| Path::new(config) == path)
}
