//! From root to as little as will do, between opening what needs root and the first check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::context::Context;
use crate::config::{Config, LogTarget};
use crate::daemon::Setup;
use crate::sys::privileges::{self, Identity, PrivilegeError};
use crate::value::PemFile;

/// Whether [`settle`] will do what `[privileges]` says. Changes nothing, so that it can be asked while another daemon runs.
pub(super) fn judge(context: &Context, path: &Path, config: &Config) -> Result<(), PrivilegeError> {
    let Some(user) = user(context)? else { return Ok(()) };
    if !config.globals.execute.is_empty() {
        return Err(PrivilegeError::new(
            "[privileges] user",
            "execute= starts daemons that need root; start each configuration by itself (a unit of its own), or remove user",
        ));
    }
    if let Some(file) = written_files(config).into_iter().find(|file| !can_be_made(file)) {
        return Err(PrivilegeError::new(
            file.display().to_string(),
            "its directory is not there, and the user of [privileges] cannot make it; make it",
        ));
    }
    privileges::can_read(&read_files(context, path, config), &user)
}

/// The files that the daemon reads again after its start.
fn read_files<'a>(context: &'a Context, path: &'a Path, config: &'a Config) -> Vec<&'a Path> {
    let mail = &context.settings.mail;
    // One that is not there nobody can read: who sends the letters says so.
    let password = Some(mail.password_file.as_path()).filter(|file| !mail.login.is_empty() && file.is_file());
    let pem = config.virtuals.iter().flat_map(|v| v.tls.policy.files()).map(PemFile::path);
    let others: BTreeSet<&Path> = pem.chain(password).collect();
    [path].into_iter().chain(others).collect()
}

/// The user to become.
fn user(context: &Context) -> Result<Option<Identity>, PrivilegeError> {
    let name = context.settings.privileges.user.as_str();
    Some(name).filter(|name| !name.is_empty()).map(Identity::find).transpose()
}

/// Gives up what is not needed, as `[privileges]` says.
pub(super) fn settle(context: &Context, setup: &Setup) -> Result<(), PrivilegeError> {
    let config = setup.loaded.plan.config();
    let user = user(context)?;
    wanted(user.is_some(), privileges::make_directory(&setup.state_directory, user.as_ref()))?;
    if let Some(user) = &user {
        written_files(config)
            .iter()
            .filter(|file| is_to_be_given(file))
            .try_for_each(|file| user.give(file))?;
    }
    if context.settings.privileges.sandbox {
        let directories = writable(&context.settings.paths.run, config);
        if !privileges::write_only_below(&directories)? {
            tracing::warn!("[privileges] sandbox: this kernel has no Landlock; the daemon runs without it");
        }
    }
    wanted(user.is_some(), privileges::give_up(user.as_ref()))
}

/// What the settings ask for must work. What the daemon does unasked must not keep services from being checked: it is said.
fn wanted(asked_for: bool, done: Result<(), PrivilegeError>) -> Result<(), PrivilegeError> {
    match done {
        Err(error) if !asked_for => {
            tracing::warn!("{error}; the daemon goes on without that");
            Ok(())
        }
        done => done,
    }
}

/// The files that the daemon writes besides its own.
fn written_files(config: &Config) -> Vec<&Path> {
    let log = match &config.globals.logfile {
        LogTarget::File(path) => Some(path.as_path()),
        LogTarget::Syslog(_) => None,
    };
    log.into_iter().chain(config.virtuals.iter().filter_map(|v| v.monitorfile.as_deref())).collect()
}

fn can_be_made(file: &Path) -> bool {
    // A relative path is one from `/`, where the daemon lives.
    file.exists() || Path::new("/").join(file).parent().is_none_or(Path::is_dir)
}

/// A pipe, a terminal or the file of somebody else stays as it is.
fn is_to_be_given(file: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().map_or(true, |metadata| metadata.is_file() && metadata.uid() == 0)
}

/// Where something is written. A file that is not there yet needs its directory.
fn writable(run: &Path, config: &Config) -> Vec<PathBuf> {
    let folders = written_files(config).into_iter().filter_map(Path::parent);
    folders.chain([run]).map(Path::to_owned).collect::<BTreeSet<PathBuf>>().into_iter().collect()
}
