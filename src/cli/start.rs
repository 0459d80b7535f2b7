//! `start`.

use super::Exit;
use super::context::Context;
use super::failure::CommandFailure;
use super::launch::{launch, prepare};
use super::load;
use super::other::{Differs, Other};
use super::running::{running, under_another_name};
use super::terminal::eprint_line;
use crate::sys::instance::Instance;
use crate::sys::process::Process;
use crate::value::shown::escaped;

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    let (path, loaded) = load::load_to_start(context)?;
    // With --foreground a running daemon is an error (see `attached`): a supervisor would take exit code 0 for the
    // daemon's end.
    if let Some(Process { pid, .. }) = running(context)?
        && !context.foreground
    {
        return already_running(context, pid);
    }
    launch(context, prepare(context, path, loaded)?)
}

/// Reports a daemon that runs under another name, with another table or with another file (R92. The original prints
/// nothing).
fn already_running(context: &Context, pid: i32) -> Result<Exit, CommandFailure> {
    let config = context.display_config();
    if let Some((Process { pid, .. }, Instance { name, .. })) = under_another_name(context) {
        let name = escaped(&name);
        eprint_line!(
            "ldirectord for {config} is already running as {name} with pid {pid}; nothing was started"
        );
        return Ok(Exit::Ok);
    }
    match Other::of(context) {
        Some(Other { what: Differs::Table(table), pid, .. }) => {
            Err(CommandFailure::RunsWithOtherTable { config, pid, table })
        }
        Some(Other { what: Differs::File(file), pid, name }) => {
            Err(CommandFailure::NameTaken { config, file, pid, name })
        }
        None => {
            if context.debug {
                eprint_line!(
                    "ldirectord for {config} is already running with pid {pid}; nothing was started in the foreground"
                );
            }
            Ok(Exit::Ok)
        }
    }
}
