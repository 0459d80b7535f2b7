//! Gives up root's privileges after everything that needs root is open and before the first check.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::context::Context;
use super::terminal::eprint_line;
use crate::config::{Config, LogTarget};
use crate::daemon::Setup;
use crate::settings::{HttpAddress, PathSettings, credential};
use crate::sys::privileges::{self, DaemonUser, PrivilegeError};
use crate::sys::process::{self, Process};
use crate::value::PemFile;

/// Whether [`settle`] can do what `[privileges]` asks for. Changes nothing: another daemon may run at this time.
pub(super) fn judge(context: &Context, path: &Path, config: &Config) -> Result<(), PrivilegeError> {
    let Some(user) = user(context)? else { return Ok(()) };
    if !config.globals.execute.is_empty() {
        return Err(PrivilegeError::new(
            "[privileges] user",
            "execute= starts daemons that need root; start each configuration separately (with its own unit), or remove user",
        ));
    }
    if let Some(file) = written_files(config).into_iter().find(|file| !can_be_made(file)) {
        return Err(PrivilegeError::new(
            file.display().to_string(),
            "its directory does not exist, and the user of [privileges] cannot create it; create it",
        ));
    }
    privileges::can_take(&context.state_directory(), Some(&user), &context.lock_file())?;
    privileges::can_read(&read_files(context, path, config), &user)
}

/// Whether the user of a running daemon can read a file: it reads the file again when its unit restarts it.
pub(super) fn judge_for(daemon: Process, path: &Path) -> Result<(), PrivilegeError> {
    match process::user(daemon.pid) {
        Some(user) if geteuid().is_root() && user != 0 => {
            privileges::can_read(&[Cow::Borrowed(path)], &DaemonUser::of(user)?)
        }
        _ => Ok(()),
    }
}

/// The files that the daemon reads again after it has given up root.
fn read_files<'a>(context: &'a Context, path: &'a Path, config: &'a Config) -> Vec<Cow<'a, Path>> {
    let mail = &context.settings.mail;
    // A missing credential is reported where it is used.
    let located = |file| credential::locate(file).ok();
    let password = Some(mail.password_file.as_path()).filter(|_| !mail.username.is_empty()).and_then(located);
    // A missing password file is reported when a message is sent.
    let password = password.filter(|file| file.is_file());
    let pem =
        config.virtuals.iter().flat_map(|v| v.tls.policy.files()).map(PemFile::path).filter_map(located);
    let others: BTreeSet<Cow<'_, Path>> = pem.chain(password).collect();
    [Cow::Borrowed(path)].into_iter().chain(others).collect()
}

/// The user of `[privileges]`, if any.
fn user(context: &Context) -> Result<Option<DaemonUser>, PrivilegeError> {
    let name = context.settings.privileges.user.as_str();
    Some(name).filter(|name| !name.is_empty()).map(DaemonUser::find).transpose()
}

/// Gives up the privileges that are no longer needed, as `[privileges]` says.
pub(super) fn settle(context: &Context, setup: &mut Setup) -> Result<(), PrivilegeError> {
    let config = setup.loaded.spec.config();
    let user = user(context)?;
    let (directory, lock) = (&setup.state_directory, context.lock_file());
    wanted(user.is_some(), privileges::make_directory(directory, user.as_ref(), &lock))?;
    let overrides = setup.overrides.as_deref().and_then(Path::parent).filter(|_| geteuid().is_root());
    let made =
        overrides.map_or(Ok(()), |directory| privileges::make_lasting_directory(directory, user.as_ref()));
    wanted(false, made)?;
    let track = setup.track.as_deref().filter(|_| geteuid().is_root());
    let made = track.map_or(Ok(()), |directory| privileges::make_new_directory(directory, user.as_ref()));
    wanted(false, made)?;
    let mut files = if geteuid().is_root() { written_files(config) } else { Vec::new() };
    let locks: Vec<PathBuf> =
        [Some(context.lock_file()), context.file_lock()].into_iter().flatten().collect();
    if geteuid().is_root() {
        files.extend(locks.iter().map(PathBuf::as_path).filter(|lock| lock.is_file()));
    }
    let refused = user.iter().flat_map(|user| files.iter().filter_map(|file| user.give(file).err()));
    for error in refused {
        let line = format!("{error}; the daemon continues, and writes the file only if its user may");
        tracing::warn!("{line}");
        // The file may be the log.
        if let Some(launcher) = &mut setup.launcher {
            launcher.note(&line);
        }
    }
    if context.settings.privileges.sandbox {
        let mut directories = writable(&context.settings.paths, setup.track.as_deref(), config);
        if let HttpAddress::Unix(path) = context.settings.http.listen.of_instance(&context.name) {
            directories.extend(path.parent().map(Path::to_owned));
        }
        if !privileges::write_only_below(&directories)? {
            tracing::warn!("[privileges] sandbox: this kernel has no Landlock; the daemon runs without it");
        }
    }
    wanted(user.is_some(), privileges::give_up(user.as_ref()))
}

/// Makes a process of root the user of `[privileges]` for good, before it opens the log: the log may be in a directory
/// of that user. Returns false if that fails; then the process must not open the log.
pub(super) fn become_writer(context: &Context) -> bool {
    let user = user(context).and_then(|user| user.map_or(Ok(()), |user| user.assume()));
    user.inspect_err(|error| eprint_line!("{error}; nothing is written to the log")).is_ok()
}

/// Makes an error a warning if the settings do not ask for the step: it must not keep the daemon from checking
/// services.
fn wanted(asked_for: bool, done: Result<(), PrivilegeError>) -> Result<(), PrivilegeError> {
    match done {
        Err(error) if !asked_for => {
            tracing::warn!("{error}; the daemon continues without it");
            Ok(())
        }
        done => done,
    }
}

/// The log file and the monitor files of a configuration.
fn written_files(config: &Config) -> Vec<&Path> {
    let log = match &config.globals.logfile {
        LogTarget::File(path) => Some(path.as_path()),
        LogTarget::Syslog(_) => None,
    };
    log.into_iter().chain(config.virtuals.iter().filter_map(|v| v.notes.monitorfile.as_deref())).collect()
}

fn can_be_made(file: &Path) -> bool {
    // The daemon runs in `/`, so relative paths start there.
    file.exists() || Path::new("/").join(file).parent().is_none_or(Path::is_dir)
}

/// The directories that the daemon writes to. A missing file needs its directory.
fn writable(paths: &PathSettings, track: Option<&Path>, config: &Config) -> Vec<PathBuf> {
    let folders = written_files(config).into_iter().filter_map(Path::parent);
    folders
        .chain([&*paths.run, &*paths.state])
        .chain(track)
        .map(Path::to_owned)
        .collect::<BTreeSet<PathBuf>>()
        .into_iter()
        .collect()
}
