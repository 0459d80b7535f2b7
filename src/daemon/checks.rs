//! The checks in flight: one task each, limited in number. None outlives the daemon.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::{error, warn};

use super::backlog::{CheckBacklog, RETRY, Ticket};
use super::places::{CheckSlot, CheckSlots, Limits};
use super::turn::measured;
use crate::check::Checker;
use crate::health::{CheckId, Due};
use crate::spec::Probe;
use crate::value::{UnknownCause, Verdict};

/// Maximum number of checks started and of verdicts processed in one turn of the loop. The rest waits for the next
/// turn, so that answers are read in between.
pub(super) const PER_TURN: usize = 64;

/// After this time without a check that waits for a slot, the next wait is reported again.
const FULL_FORGOTTEN: Duration = Duration::from_secs(60);

/// All running checks.
pub struct RunningChecks {
    checker: Arc<Checker>,
    places: CheckSlots,
    tasks: JoinSet<Verdict>,
    running: BTreeMap<CheckId, RunningCheck>,
    ids: HashMap<Id, CheckId>,
    backlog: CheckBacklog,
    /// Checks started in this turn.
    started: usize,
    /// When to retry a check that was delayed in this turn.
    retry: Option<Instant>,
    /// When a check last had to wait for a slot.
    full: Option<Instant>,
}

struct RunningCheck {
    task: AbortHandle,
    place: CheckSlot,
    ticket: Ticket,
}

impl RunningChecks {
    /// Creates the set, without checks.
    #[must_use]
    pub fn new(checker: Checker, limits: Limits) -> RunningChecks {
        RunningChecks {
            checker: Arc::new(checker),
            places: CheckSlots::new(limits),
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            ids: HashMap::new(),
            backlog: CheckBacklog::default(),
            started: 0,
            retry: None,
            full: None,
        }
    }

    /// Begins a turn of the loop.
    pub fn begin_turn(&mut self, now: Instant) {
        self.backlog.look(now);
        (self.started, self.retry) = (0, None);
    }

    /// The number of running checks, and their maximum.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.running.len(), self.places.limit())
    }

    /// Whether this turn has started the maximum number of checks. More may be due.
    #[must_use]
    pub fn turn_is_full(&self) -> bool {
        self.started >= PER_TURN
    }

    /// Starts a check. Returns false if it has to wait for a slot or for the next turn.
    pub fn start(&mut self, due: Due, now: Instant) -> bool {
        if self.turn_is_full() {
            return false;
        }
        let Some(place) = self.places.take(&due) else {
            self.say_full(now);
            return false;
        };
        // Checks in rotation with long deadlines would keep a check with a short one waiting for ever.
        let ticket = match due.is_its_turn {
            true => Some(self.backlog.begin_now(due.cost, now)),
            false => self.backlog.begin(due.cost, due.probe.deadline, now),
        };
        let Some(ticket) = ticket else {
            self.places.free(place);
            self.retry = Some(now + RETRY);
            return false;
        };
        let checker = Arc::clone(&self.checker);
        let task = self.tasks.spawn(async move { run(&checker, &due.probe).await });
        self.ids.insert(task.id(), due.id);
        self.running.insert(due.id, RunningCheck { task, place, ticket });
        self.started += 1;
        true
    }

    /// Reports that all slots are in use: once, and again after [`FULL_FORGOTTEN`] without a wait.
    fn say_full(&mut self, now: Instant) {
        let before = self.full.replace(now);
        if before.is_none_or(|at| now >= at + FULL_FORGOTTEN) {
            warn!(
                "all {} check slots are in use; checks of servers out of rotation are delayed; raise [checks] max_concurrent or the limit of \
                 open files",
                self.running.len()
            );
        }
    }

    /// Waits for verdicts and returns those that are ready, at most `PER_TURN`. Returns none when it is time to
    /// retry a delayed check. Waits forever while no check runs. Safe to cancel.
    pub async fn finished(&mut self) -> Vec<(CheckId, Verdict)> {
        let retry = self.retry.map(|at| tokio::time::sleep_until(at.into()));
        let first = tokio::select! {
            first = self.tasks.join_next_with_id() => first,
            () = async { if let Some(retry) = retry { retry.await } else { std::future::pending().await } } => {
                return Vec::new();
            }
        };
        let Some(first) = first else { return std::future::pending().await };
        let mut verdicts = Vec::new();
        let mut next = Some(first);
        while let Some(result) = next {
            verdicts.extend(self.take(result));
            next = if verdicts.len() < PER_TURN { self.tasks.try_join_next_with_id() } else { None };
        }
        verdicts
    }

    fn take(&mut self, result: Result<(Id, Verdict), JoinError>) -> Option<(CheckId, Verdict)> {
        let task = match &result {
            Ok((task, _)) => *task,
            Err(error) => error.id(),
        };
        let id = self.ids.remove(&task)?;
        if let Some(running) = self.running.remove(&id) {
            self.places.free(running.place);
            self.backlog.end(running.ticket);
        }
        match result {
            Ok((_, verdict)) => Some((id, verdict)),
            Err(error) if error.is_panic() => {
                error!(
                    "A check panicked, which is a bug in this program; the server keeps its state. Please report: {error}"
                );
                Some((
                    id,
                    Verdict::unknown(
                        UnknownCause::Panic,
                        "the check panicked, which is a bug in this program; see the log",
                    ),
                ))
            }
            // The check was aborted: it is no longer in the configuration, or the daemon stops.
            Err(_) => None,
        }
    }

    /// Aborts the checks that are no longer wanted.
    pub fn retain(&mut self, wanted: impl Fn(CheckId) -> bool) {
        for (id, running) in &self.running {
            if !wanted(*id) {
                running.task.abort();
            }
        }
    }

    /// Aborts all checks. Those that do not end in time end with the process.
    pub async fn shut_down(&mut self, grace: Duration) {
        if tokio::time::timeout(grace, self.tasks.shutdown()).await.is_err() {
            warn!("{} checks did not end within {grace:?} and were abandoned", self.tasks.len());
        }
    }
}

/// Runs one check and measures its CPU time on this thread.
async fn run(checker: &Checker, probe: &Probe) -> Verdict {
    let mut cpu = Duration::ZERO;
    let mut verdict = measured(checker.run(probe), |spent| cpu += spent).await;
    verdict.cpu_micros = u32::try_from(cpu.as_micros()).unwrap_or(u32::MAX);
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::harness::{Harness, spec};
    use crate::health::Health;

    /// A hundred checks that end at once: each turn starts and processes a part of them, and none is lost.
    #[tokio::test]
    async fn a11_one_turn_starts_and_takes_a_part() {
        let mut text = String::from("virtual=10.0.0.1:80\n\tchecktype=on\n");
        for host in 1..=100 {
            text.push_str(&format!("\treal=10.0.1.{host}:80 masq\n"));
        }
        let (spec, now) = (spec(&text), Harness::new().now);
        let mut health = Health::new(&spec, &std::collections::BTreeSet::new(), now);
        health.hurry_all(now);
        let mut checks =
            RunningChecks::new(Checker::new().unwrap(), Limits { checks: 4096, descriptors: 4096 });
        let mut turns = Vec::new();
        while !health.all_seen() {
            checks.begin_turn(now);
            health.due(&spec, now, |due| checks.start(due, now));
            let (full, running) = (checks.turn_is_full(), checks.running.len());
            tokio::task::yield_now().await;
            let verdicts = checks.finished().await;
            assert!(verdicts.len() <= PER_TURN);
            turns.push((full, running));
            for (id, verdict) in verdicts {
                health.verdict(&spec, id, verdict, now);
            }
        }
        assert_eq!(turns[0], (true, PER_TURN));
        assert!(turns.len() >= 2, "{turns:?}");
        assert!(checks.running.is_empty() && checks.ids.is_empty());
    }
}
