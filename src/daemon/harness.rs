//! For tests: a director with a kernel table in memory and simulated servers.

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
use crate::report::Moment;
use crate::spec::Spec;
use crate::value::{Outcome, UnknownCause, Verdict};

/// Every check of a test configuration runs once in this time.
pub(super) const ROUND: Duration = Duration::from_secs(10);
pub(super) const VERIFY: Duration = Duration::from_secs(60);

/// The result of a check that failed while the director was late.
pub(super) const LATE: Outcome = Outcome::Unknown(UnknownCause::DirectorLate);

/// The spec of a configuration. Panics if the configuration is invalid.
pub fn spec(text: &str) -> Spec {
    let loaded = config::load(text.as_bytes(), &Answers::new("director"));
    let lines: Vec<String> =
        loaded.diagnostics.iter().map(|diagnostic| diagnostic.one_line(1, "test.cf")).collect();
    let config = loaded.config.unwrap_or_else(|| panic!("{text}\n{}", lines.join("\n")));
    Spec::new(Arc::new(config))
}

/// A director with a kernel table in memory and simulated servers.
pub(super) struct Harness {
    pub kernel: Memory,
    pub director: Option<Director>,
    pub now: Instant,
    pub outcomes: BTreeMap<SocketAddr, Outcome>,
    pub warnings: BTreeMap<SocketAddr, String>,
    pub fallback: FallbackCommands,
    owned: BTreeSet<ServiceKey>,
    overrides: BTreeMap<ServerId, Arc<Override>>,
}

impl Harness {
    #[expect(clippy::disallowed_methods, reason = "a test needs a start time")]
    pub fn new() -> Harness {
        Harness {
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

    pub fn start(&mut self, spec: Spec) -> Vec<Event> {
        let keys = Director::to_read(&spec, &self.owned);
        let Some(Done::Read(present)) = kernel::perform(&mut self.kernel, Step::Read(keys)) else {
            unreachable!()
        };
        let mut director = Director::new(spec, present.unwrap(), &self.owned, Some(VERIFY), self.now);
        let kept = std::mem::take(&mut self.overrides).into_iter();
        drop(director.restore_overrides(kept.map(|(id, kept)| (id, (*kept).clone())).collect(), self.now));
        self.director = Some(director);
        self.settle()
    }

    /// Executes the director's requests until it rests, and returns the events.
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

    pub fn reload(&mut self, spec: Spec) -> Vec<Event> {
        self.director().reload(spec);
        self.settle()
    }

    pub fn stop(&mut self) -> Vec<Event> {
        self.director().stop();
        self.rest();
        self.director().finish_stop()
    }

    /// Kills the process. Its saved files stay.
    pub fn kill(&mut self) {
        self.owned = self.director().owned().clone();
        self.overrides = self.director().overrides();
        self.fallback = FallbackCommands::default();
        self.director = None;
    }

    /// Runs every check once, one after the other.
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

    /// Finishes these checks with their verdicts.
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

    /// The due checks, with a slot for each, and the events of the checks that are not run.
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

/// Renders the table as text, for comparison.
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
