//! For tests: a director, the kernel under it, and the servers that it checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ipvs_rs::{Ipvs, Memory, ServiceKey, Table};

use super::kernel;
use crate::config::{self, Answers};
use crate::director::{Director, Done, Step};
use crate::event::Event;
use crate::health::{Due, Override, ServerId};
use crate::notify::fallback::FallbackCommands;
use crate::plan::Plan;
use crate::report::Moment;
use crate::value::{Outcome, UnknownCause, Verdict};

/// Every check of a test configuration comes round in this time.
pub(super) const ROUND: Duration = Duration::from_secs(10);
pub(super) const VERIFY: Duration = Duration::from_secs(60);

/// The result of a check that failed while the director was late.
pub(super) const LATE: Outcome = Outcome::Unknown(UnknownCause::DirectorLate);

/// The plan of a configuration of which the test is sure.
pub fn plan(text: &str) -> Plan {
    let loaded = config::load(text.as_bytes(), &Answers::new("director"));
    let lines: Vec<String> =
        loaded.diagnostics.iter().map(|diagnostic| diagnostic.one_line(1, "test.cf")).collect();
    let config = loaded.config.unwrap_or_else(|| panic!("{text}\n{}", lines.join("\n")));
    Plan::new(Arc::new(config))
}

/// A director, the kernel under it, and the servers that it checks.
pub(super) struct World {
    pub kernel: Memory,
    pub director: Option<Director>,
    pub now: Instant,
    pub outcomes: BTreeMap<SocketAddr, Outcome>,
    pub warnings: BTreeMap<SocketAddr, String>,
    pub fallback: FallbackCommands,
    owned: BTreeSet<ServiceKey>,
    overrides: BTreeMap<ServerId, Arc<Override>>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "some instant is needed to count from")]
    pub fn new() -> World {
        World {
            kernel: Memory::new(),
            director: None,
            now: Instant::now(),
            outcomes: BTreeMap::new(),
            warnings: BTreeMap::new(),
            fallback: FallbackCommands::default(),
            owned: BTreeSet::new(),
            overrides: BTreeMap::new(),
        }
    }

    pub fn moment(&self) -> Moment {
        Moment { instant: self.now, wall: SystemTime::UNIX_EPOCH }
    }

    pub fn director(&mut self) -> &mut Director {
        self.director.as_mut().unwrap()
    }

    pub fn start(&mut self, plan: Plan) -> Vec<Event> {
        let keys = Director::to_read(&plan, &self.owned);
        let Some(Done::Read(present)) = kernel::perform(&mut self.kernel, Step::Read(keys)) else {
            unreachable!()
        };
        let mut director = Director::new(plan, present.unwrap(), &self.owned, Some(VERIFY), self.now);
        let kept = std::mem::take(&mut self.overrides).into_iter();
        drop(director.restore_overrides(kept.map(|(id, kept)| (id, (*kept).clone())).collect(), self.now));
        self.director = Some(director);
        self.settle()
    }

    /// Carries out what the director asks for until it rests, and gives what happened.
    pub fn settle(&mut self) -> Vec<Event> {
        self.rest();
        self.director().take_events()
    }

    fn rest(&mut self) {
        let director = self.director.as_mut().unwrap();
        while let Some(done) = kernel::perform(&mut self.kernel, director.next_step()) {
            director.done(done, self.now);
        }
        assert!(director.is_at_rest());
    }

    pub fn reload(&mut self, plan: Plan) -> Vec<Event> {
        self.director().reload(plan);
        self.settle()
    }

    pub fn stop(&mut self) -> Vec<Event> {
        self.director().stop();
        self.rest();
        self.director().finish_stop()
    }

    /// The process is gone; what it noted stays.
    pub fn kill(&mut self) {
        self.owned = self.director().owned().clone();
        self.overrides = self.director().overrides();
        self.fallback = FallbackCommands::default();
        self.director = None;
    }

    /// Every check is run once more, one after the other.
    pub fn round(&mut self) -> Vec<Event> {
        self.now += ROUND;
        let now = self.now;
        self.director().hurry_all(now);
        let (due, mut events) = self.due(now);
        events.extend(self.finish(due));
        if self.outcomes.values().any(|outcome| *outcome == LATE) {
            let (repeats, _) = self.due(now);
            events.extend(self.finish(repeats));
        }
        events
    }

    /// The verdicts of these checks.
    pub fn finish(&mut self, due: Vec<Due>) -> Vec<Event> {
        let now = self.now;
        let mut events = Vec::new();
        for due in due {
            let outcome = self.outcomes.get(&due.probe.target).copied().unwrap_or(Outcome::Up);
            let warning = self.warnings.get(&due.probe.target).cloned();
            let reason = match outcome {
                Outcome::Up => "up",
                Outcome::Down => "down",
                Outcome::Unknown(_) => "unknown",
            };
            let verdict = Verdict::new(outcome, reason).with_warning(warning);
            self.director().verdicts(vec![(due.id, verdict)], now);
            events.extend(self.settle());
        }
        events
    }

    /// Time passes without a check.
    pub fn pass(&mut self, time: Duration) -> Vec<Event> {
        self.now += time;
        let now = self.now;
        self.director().tick(now);
        self.settle()
    }

    /// What is due, with a place for each, and what happened to the checks that are not run.
    pub fn due(&mut self, now: Instant) -> (Vec<Due>, Vec<Event>) {
        let mut all = Vec::new();
        self.director().due(now, |due| {
            all.push(due);
            true
        });
        (all, self.settle())
    }

    pub fn table(&mut self) -> Table {
        self.kernel.dump().unwrap()
    }
}

/// The table in a form that is good to compare.
pub(super) fn render(table: &Table) -> String {
    let mut text = String::new();
    for (key, service) in &table.services {
        let _ = writeln!(text, "| {key} {}", service.config);
        for (key, config) in &service.destinations {
            let _ = write!(text, "|   {key} {:?} {}", config.method, config.weight);
            if (config.upper, config.lower) != (0, 0) {
                let _ = write!(text, " upper {} lower {}", config.upper, config.lower);
            }
            text.push('\n');
        }
    }
    text
}
