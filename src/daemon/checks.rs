//! The checks in flight: a task each, never more than a limit, none outliving the daemon.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::{error, warn};

use crate::check::Checker;
use crate::health::{CheckId, Due};
use crate::value::{UnknownCause, Verdict};

/// All checks that run or wait for a place.
pub struct Checks {
    checker: Arc<Checker>,
    limit: usize,
    tasks: JoinSet<Verdict>,
    running: BTreeMap<CheckId, AbortHandle>,
    ids: std::collections::HashMap<Id, CheckId>,
    waiting: VecDeque<Due>,
    limit_said: bool,
}

impl Checks {
    /// No checks yet; at most `limit` at once.
    #[must_use]
    pub fn new(checker: Checker, limit: usize) -> Checks {
        Checks {
            checker: Arc::new(checker),
            limit: limit.max(1),
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            ids: std::collections::HashMap::new(),
            waiting: VecDeque::new(),
            limit_said: false,
        }
    }

    /// Starts checks, or has them wait for a place.
    pub fn start(&mut self, due: Vec<Due>) {
        self.waiting.extend(due);
        while self.tasks.len() < self.limit {
            let Some(Due { id, probe }) = self.waiting.pop_front() else { return };
            let checker = Arc::clone(&self.checker);
            let handle = self.tasks.spawn(async move { checker.run(&probe).await });
            self.ids.insert(handle.id(), id);
            self.running.insert(id, handle);
        }
        if !self.waiting.is_empty() && !std::mem::replace(&mut self.limit_said, true) {
            warn!(
                "{} checks are in flight and more are due: checks run late. Raise [checks] limit in the settings, \
                 or the limit of open files",
                self.limit
            );
        }
    }

    /// Waits for verdicts, and gives all that are there. Never comes while no check runs. Safe to cancel.
    pub async fn finished(&mut self) -> Vec<(CheckId, Verdict)> {
        let Some(first) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let mut verdicts = Vec::new();
        let mut next = Some(first);
        while let Some(result) = next {
            verdicts.extend(self.take(result));
            next = self.tasks.try_join_next_with_id();
        }
        verdicts
    }

    fn take(&mut self, result: Result<(Id, Verdict), JoinError>) -> Option<(CheckId, Verdict)> {
        let task = match &result {
            Ok((task, _)) => *task,
            Err(error) => error.id(),
        };
        let id = self.ids.remove(&task)?;
        self.running.remove(&id);
        match result {
            Ok((_, verdict)) => Some((id, verdict)),
            Err(error) if error.is_panic() => {
                error!(
                    "A check ended by a bug in this program; the server is left as it is. Please report: {error}"
                );
                Some((
                    id,
                    Verdict::unknown(
                        UnknownCause::Panic,
                        "the check ended by a bug in this program; see the log",
                    ),
                ))
            }
            // It was aborted: its check is gone from the configuration, or the daemon stops.
            Err(_) => None,
        }
    }

    /// Ends the checks that are not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(CheckId) -> bool) {
        self.waiting.retain(|due| wanted(due.id));
        for (id, handle) in &self.running {
            if !wanted(*id) {
                handle.abort();
            }
        }
    }

    /// Ends all checks; those that cannot be ended in time are left to the end of the process.
    pub async fn shut_down(&mut self, grace: Duration) {
        self.waiting.clear();
        if tokio::time::timeout(grace, self.tasks.shutdown()).await.is_err() {
            warn!("{} checks did not end within {grace:?}", self.tasks.len());
        }
    }
}
