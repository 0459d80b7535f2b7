//! Loads the configuration of a command, with its warnings on standard error.

use std::path::{Path, PathBuf};

use super::Exit;
use super::context::Context;
use super::failure::CommandFailure;
use super::terminal::eprint_line;
use crate::daemon::{self, InUse, LoadError, LoadedFile};
use crate::settings::Backend;
use crate::sys::access;

/// Warns about world-writable files that control what the daemon does, and as which user.
pub(super) fn warn_of_access(context: &Context, config: &Path) {
    let files = [config, &context.settings_file, &context.settings.mail.password_file];
    for warning in files.into_iter().filter_map(access::warning) {
        eprint_line!("Warning: {warning}");
    }
}

/// The path of the configuration, or a failure with this exit code.
pub(super) fn find(context: &Context, exit: Exit) -> Result<PathBuf, CommandFailure> {
    context.find_config().ok_or_else(|| CommandFailure::NotFound { text: context.not_found(), exit })
}

/// Loads the configuration, for any use but a start.
pub(super) fn load(context: &Context, path: &Path) -> Result<LoadedFile, CommandFailure> {
    load_with(context, path, daemon::load)
}

/// Loads the configuration as the running daemon will load it.
pub(super) fn load_for_daemon(context: &Context) -> Result<(PathBuf, LoadedFile), CommandFailure> {
    let path = find(context, Exit::Failure)?;
    let loaded = load_with(context, &path, daemon::load_for_daemon)?;
    Ok((path, loaded))
}

/// Loads the configuration to start a daemon: server names that resolve to several addresses keep the address that the
/// kernel's table has.
pub(super) fn load_to_start(context: &Context) -> Result<(PathBuf, LoadedFile), CommandFailure> {
    let path = find(context, Exit::Failure)?;
    let loaded = load_with(context, &path, |path| daemon::load_for(path, &in_use(context)))?;
    Ok((path, loaded))
}

fn load_with(
    context: &Context,
    path: &Path,
    load: impl FnOnce(&Path) -> Result<LoadedFile, LoadError>,
) -> Result<LoadedFile, CommandFailure> {
    warn_of_access(context, path);
    let loaded = load(path).map_err(CommandFailure::Config)?;
    for line in loaded.warning_lines(path) {
        eprint_line!("{line}");
    }
    Ok(loaded)
}

/// The addresses that our services have in the kernel's table. Empty if it cannot be read: the next step reports that.
fn in_use(context: &Context) -> InUse {
    match context.settings.table.backend {
        Backend::Memory => InUse::default(),
        Backend::Kernel => {
            let table = context.open_table().and_then(|mut table| table.dump()).unwrap_or_default();
            daemon::in_use(&context.state_directory(), &context.name, &table)
        }
    }
}
