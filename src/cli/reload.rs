//! `reload`.

use super::Exit;
use super::context::Context;
use super::failure::CommandFailure;
use super::load;
use super::other::Other;
use super::privileges;
use super::running::{running, signalled};
use super::unit;
use crate::daemon;
use crate::sys::log::Log;
use crate::sys::process::Signal;

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    let (_, loaded) = load::load_for_daemon(context)?;
    let config = context.display_config();
    let Some(daemon) = running(context)? else {
        // The original's words. They go to the log only.
        let message = format!("ldirectord is stopped for {config}");
        if privileges::become_writer(context) {
            Log::new(&context.name, daemon::log_target(&loaded.spec.config().globals.logfile)).line(&message);
        }
        return Ok(Exit::Failure);
    };
    Other::warn_of_file(context);
    if let Some(unit) = unit::of(daemon).map_err(CommandFailure::SystemdSilent)? {
        return unit::ask(&unit, "reload", daemon);
    }
    match signalled(daemon, Signal::SIGHUP)? {
        Some(_) => Ok(Exit::Ok),
        None => Err(CommandFailure::EndedBeforeReload { config, pid: daemon.pid }),
    }
}
