//! The directives outside virtual services.

use super::Reader;
use super::place::Fill;
use super::shared::SharedValues;
use crate::config::Globals;
use crate::config::ast::Assignment;

/// The directives outside virtual services.
#[derive(Debug)]
pub(super) struct Outside {
    /// Directives for the daemon.
    pub(super) own: Globals,
    /// Directives that virtual services inherit.
    pub(super) shared: SharedValues,
}

/// Reads the lines outside virtual services.
pub(super) fn read(lines: &[Assignment<'_>], reader: &mut Reader<'_, '_>) -> Outside {
    let mut outside = Outside { own: Globals::default(), shared: SharedValues::default() };
    for line in lines {
        let key = line.directive.key;
        let place = outside.shared.place(key).or_else(|| outside.own.place(key));
        reader.put(line, place);
    }
    outside.shared.tls.judge_pair(reader);
    if let Some(checkinterval) = outside.shared.checkinterval {
        outside.own.checkinterval = checkinterval;
    }
    outside
}
