//! A daemon that has the name that was asked for, and is another one: of another file, or on another table.

use super::context::Context;
use crate::sys::instance;
use crate::value::shown::escaped;

/// A daemon that has the name of the context, and is not the one that is meant.
pub(super) struct Other {
    pub what: Differs,
    pub pid: i32,
    pub name: String,
}

/// In what it differs.
pub(super) enum Differs {
    /// It has another table.
    Table(&'static str),
    /// It has another file.
    File(String),
}

impl Other {
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
