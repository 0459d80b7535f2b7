//! A running daemon with the same name but another file or another table.

use super::context::Context;
use super::terminal::eprint_line;
use crate::sys::instance;
use crate::value::shown::escaped;

/// A running daemon with the name of the context but another file or another table.
pub(super) struct Other {
    pub what: Differs,
    pub pid: i32,
    pub name: String,
}

/// How the daemon differs from the context.
pub(super) enum Differs {
    /// Another table.
    Table(&'static str),
    /// Another file.
    File(String),
}

impl Other {
    /// Warns if the daemon of this name was started with another file: as in the original, two files of one name share
    /// a daemon.
    pub fn warn_of_file(context: &Context) {
        if let Some(Other { what: Differs::File(file), .. }) = Other::of(context) {
            eprint_line!("Warning: the daemon of this name runs for {file}; rename one of the two files");
        }
    }

    pub fn of(context: &Context) -> Option<Other> {
        let (process, runs) = instance::held(&context.lock_file()).ok()??;
        let asked = context.instance()?;
        let what = match (&runs.network, &asked.network) {
            (None, Some(_)) => Differs::Table("in memory"),
            (Some(_), None) => Differs::Table("of the kernel"),
            (theirs, ours) if theirs != ours => Differs::Table("of another network namespace"),
            _ if runs.file != asked.file => {
                Differs::File(escaped(&runs.file.display().to_string()).into_owned())
            }
            _ => return None,
        };
        Some(Other { what, pid: process.pid, name: escaped(&runs.name).into_owned() })
    }
}
