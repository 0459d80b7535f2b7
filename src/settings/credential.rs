//! `credential:NAME`: a file that the service manager passes to the daemon (systemd, `LoadCredential=`).

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Prefix of a path that names a credential.
pub const PREFIX: &str = "credential:";
/// Variable with the directory of a unit's credentials, set by the service manager.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Whether a path names a credential that only the daemon can read: this process has none, or may not read it. An
/// `ExecReload` of a unit (systemd 252) may not read it: it has the variable, but only the main process can read
/// the directory.
#[must_use]
pub fn is_out_of_reach(path: &str) -> bool {
    let is_forbidden = |file: Cow<'_, Path>| {
        File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    path.starts_with(PREFIX)
        && (std::env::var_os(DIRECTORY).is_none() || locate(Path::new(path)).is_ok_and(is_forbidden))
}

/// The file that a path refers to: itself, or a credential.
///
/// # Errors
/// When it names a credential and this process has none, as the rest of a sentence.
pub fn locate(path: &Path) -> Result<Cow<'_, Path>, String> {
    within(path, std::env::var_os(DIRECTORY).as_deref())
}

fn within<'a>(path: &'a Path, directory: Option<&OsStr>) -> Result<Cow<'a, Path>, String> {
    let Some(name) = path.to_str().and_then(|path| path.strip_prefix(PREFIX)) else {
        return Ok(Cow::Borrowed(path));
    };
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(format!("\"{name}\" is not the name of a credential"));
    }
    let Some(directory) = directory else {
        return Err(format!(
            "this process has no credentials; add LoadCredential={name}:/path/of/the/file to the unit, and start it by systemctl"
        ));
    };
    Ok(Cow::Owned(PathBuf::from(directory).join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_files_of_the_directory() {
        let located = |path: &str, directory: Option<&str>| {
            within(Path::new(path), directory.map(OsStr::new)).map(|path| path.display().to_string())
        };
        let directory = Some("/run/credentials/x");
        assert_eq!(located("/etc/key.pem", None), Ok("/etc/key.pem".to_owned()));
        assert_eq!(located("credential:relay", directory), Ok("/run/credentials/x/relay".to_owned()));
        assert!(located("credential:relay", None).unwrap_err().contains("LoadCredential=relay:"));
        for name in ["credential:", "credential:../key", "credential:a/b", "credential:.."] {
            assert!(located(name, directory).is_err(), "{name}");
        }
    }
}
