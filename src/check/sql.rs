//! What the checks of all databases have in common.

use crate::plan::{Probe, SqlProbe};

/// The original's words for a check without a login or a query.
pub(super) const INCOMPLETE: &str = "login and request (a query) must be set for a check of a database";

/// Names the probe at the beginning of each reason.
pub(super) fn name(word: &str, probe: &Probe, sql: &SqlProbe) -> String {
    format!("{word} {} as {}", probe.target, sql.login)
}
