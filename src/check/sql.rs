//! Common parts of the database checks.

use crate::spec::{Probe, SqlProbe};

/// The original's words for a check without a login or a query.
pub(super) const INCOMPLETE: &str = "login and request (a query) must be set for a check of a database";

/// The name of the probe, which begins each reason.
pub(super) fn name(word: &str, probe: &Probe, sql: &SqlProbe) -> String {
    format!("{word} {} as {}", probe.target, sql.login)
}
