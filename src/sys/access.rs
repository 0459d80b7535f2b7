//! Write permissions of the files that control the daemon.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The warning for a file that every user of this machine may change, or whose mode cannot be read. None for other
/// files, and for a missing file. The daemon uses the file all the same, as the original does.
#[must_use]
pub fn warning(path: &Path) -> Option<String> {
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    let shown = path.display();
    match path.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & WRITABLE_BY_OTHERS != 0 => {
            let mode = metadata.permissions().mode() & 0o7777;
            Some(format!(
                "{shown}: every user may change this file (mode {mode:04o}); run: chmod o-w {shown}"
            ))
        }
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(format!("{shown}: the mode of this file cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    /// R79
    #[test]
    fn c3_a_file_that_everybody_may_change_is_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.cf");
        assert_eq!(warning(&path), None);
        fs::write(&path, "").unwrap();
        for (mode, warned) in [(0o644, false), (0o600, false), (0o664, false), (0o666, true), (0o602, true)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(warning(&path).is_some(), warned, "{mode:o}");
        }
        let expected =
            format!("{0}: every user may change this file (mode 0602); run: chmod o-w {0}", path.display());
        assert_eq!(warning(&path), Some(expected));
    }
}
