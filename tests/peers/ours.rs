//! One check as our daemon makes it: from the lines of a configuration to the verdict.

use std::sync::Arc;

use ldirectord_rs::check::Checker;
use ldirectord_rs::config::{self, Answers};
use ldirectord_rs::plan::{CheckKey, Plan};
use ldirectord_rs::value::{Outcome, Verdict};

use crate::table::Expected;

/// The check that a virtual asks for, with so many seconds for it. None where it is never checked; what is wrong with the
/// configuration, if it is.
pub fn check(block: &str, seconds: u32) -> Result<Option<Arc<CheckKey>>, String> {
    let text = format!("checktimeout={seconds}\nnegotiatetimeout={seconds}\n{block}");
    let loaded = config::load(text.as_bytes(), &Answers::new("director"));
    let found = config::render(&loaded.diagnostics, "test.cf", false);
    let config = loaded.config.ok_or(found)?;
    match Plan::new(Arc::new(config)) {
        Ok(plan) => Ok(plan.checks().first().map(|check| Arc::clone(&check.key))),
        Err(unsupported) => Err(unsupported.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// What the daemon makes of it: the probe, and where it is a combined check the connect after it.
pub async fn ask(checker: &Checker, block: &str, seconds: u32) -> Verdict {
    let key = match check(block, seconds) {
        Ok(Some(key)) => key,
        Ok(None) => return Verdict::down("never checked"),
        Err(found) => return Verdict::down(found),
    };
    run(checker, &key).await
}

/// One round of a check.
pub async fn run(checker: &Checker, key: &CheckKey) -> Verdict {
    let negotiated = checker.run(&key.probe).await;
    match &key.combined {
        Some(combined) if negotiated.outcome == Outcome::Up => checker.run(&combined.probe).await,
        _ => negotiated,
    }
}

/// What is wrong with a verdict; nothing, if it is as it should be.
pub fn fault(expected: &Expected, verdict: &Verdict) -> Option<String> {
    let good = verdict.outcome == expected.outcome && verdict.reason.contains(&expected.reason);
    (!good).then(|| {
        format!(
            "{}\n  expected {:?} {}\n  found    {:?} {}",
            expected.phase, expected.outcome, expected.reason, verdict.outcome, verdict.reason
        )
    })
}
