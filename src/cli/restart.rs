//! `restart` and `try-restart`.

use super::Exit;
use super::context::Context;
use super::failure::CommandFailure;
use super::launch::{launch, prepare};
use super::load;
use super::other::{Differs, Other};
use super::privileges;
use super::running::{hand_over, running};
use super::terminal::eprint_line;
use super::unit;

/// Restarts a running daemon. Otherwise it only validates the file.
pub(super) fn if_running(context: &Context) -> Result<Exit, CommandFailure> {
    match running(context)? {
        Some(_) => run(context),
        None => {
            let path = load::find(context, Exit::Failure)?;
            load::load(context, &path).map(|_| Exit::Ok)
        }
    }
}

/// Restarts the daemon. Makes every check that can refuse the new daemon before it ends the old one; the table stays as
/// it is.
pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    if let Some(daemon) = running(context)?
        && let Some(unit) = unit::of(daemon).map_err(CommandFailure::SystemdSilent)?
    {
        let (path, _) = load::load_for_daemon(context)?;
        privileges::judge_for(daemon, &path).map_err(CommandFailure::PrivilegesOfUnit)?;
        unit::warn_of_restart(&unit);
        return unit::ask(&unit, "restart", daemon);
    }
    if running(context)?.is_none()
        && let Some(unit) = unit::waiting(context).map_err(CommandFailure::SystemdSilent)?
    {
        load::load_for_daemon(context)?;
        return unit::ask_waiting(&unit, "restart");
    }
    let (path, loaded) = load::load_to_start(context)?;
    let prepared = prepare(context, path, loaded)?;
    judge_table(context)?;
    Other::warn_of_file(context);
    if let Some(daemon) = running(context)? {
        hand_over(daemon)?;
    }
    launch(context, prepared)
}

/// Refuses a restart with another table: the table of the running daemon would be left without checks.
fn judge_table(context: &Context) -> Result<(), CommandFailure> {
    match Other::of(context) {
        Some(Other { what: Differs::Table("in memory"), name, .. }) => {
            eprint_line!(
                "Warning: the daemon {name} had its table in memory; the new one works on the kernel's table"
            );
            Ok(())
        }
        Some(Other { what: Differs::Table(table), pid, name }) => {
            Err(CommandFailure::KeepsOtherTable { name, pid, table })
        }
        _ => Ok(()),
    }
}
