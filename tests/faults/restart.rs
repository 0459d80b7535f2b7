//! A daemon inside this process, on a table that outlives it as the kernel's does: restart, handover and upgrade.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ipvs_rs::{Ipvs, Memory};
use ldirectord_rs::check::Checker;
use ldirectord_rs::control::Rights;
use ldirectord_rs::daemon::{self, CommandSetup, Limits, Setup};
use ldirectord_rs::desired;
use ldirectord_rs::health::Health;
use ldirectord_rs::settings::{self, Acts};
use ldirectord_rs::sys::log::{Log, LogDestination};
use nix::sys::signal::{Signal, raise};

use crate::crowd::Crowd;
use crate::trial::{Trial, wait};

/// The table, and the daemon that uses it.
pub struct Resident {
    file: PathBuf,
    run: PathBuf,
    table: Memory,
    running: Option<JoinHandle<()>>,
}

/// The times of the first checks after a start.
#[derive(Debug)]
pub struct FirstChecks {
    /// The time until each server had been checked.
    pub all: Duration,
    /// The largest number of checks within a second.
    pub most_in_a_second: usize,
}

impl Resident {
    /// A table in which an earlier daemon had every server of the trial in rotation.
    pub fn all_in_rotation(trial: &Trial) -> Resident {
        let (file, run) = (trial.sandbox.path("web.cf"), trial.sandbox.path("run"));
        let spec = daemon::load(&file).unwrap().spec;
        let reals = |v: &ldirectord_rs::spec::Virtual| {
            v.reals.iter().map(|real| (v.id, real.address)).collect::<Vec<_>>()
        };
        let up: BTreeSet<_> = spec.virtuals().iter().flat_map(reals).collect();
        let table = desired::wanted(&spec, &Health::new(&spec, &up, Instant::now()));
        Resident { file, run, table: Memory::with_table(&table), running: None }
    }

    /// Starts a daemon that knows only the file and the table, and waits until it has checked each of `count` servers
    /// once.
    pub fn start(&mut self, crowd: &Crowd, count: usize, limit: Duration) -> FirstChecks {
        let (begin, answered) = (Instant::now(), crowd.answered());
        let setup = self.setup();
        self.running = Some(thread::spawn(move || {
            let runtime = daemon::runtime().unwrap();
            runtime.block_on(daemon::run(setup)).unwrap();
            runtime.shutdown_background();
        }));
        let mut counts = vec![(Instant::now(), 0)];
        let mut most_in_a_second = 0;
        loop {
            thread::sleep(Duration::from_millis(100));
            let (now, done) = (Instant::now(), crowd.answered() - answered);
            let second_ago =
                counts.iter().rev().find(|(at, _)| now.duration_since(*at) >= Duration::from_secs(1));
            most_in_a_second = most_in_a_second.max(done - second_ago.map_or(0, |(_, before)| *before));
            if done >= count {
                return FirstChecks { all: begin.elapsed(), most_in_a_second };
            }
            assert!(begin.elapsed() < limit, "{done} of {count} checks within {limit:?}");
            counts.push((now, done));
        }
    }

    fn setup(&self) -> Setup {
        Setup {
            loaded: daemon::load(&self.file).unwrap(),
            path: self.file.clone(),
            name: "web.cf".to_owned(),
            checker: Checker::new().unwrap(),
            ipvs: Box::new(self.table.clone()),
            state_directory: self.run.clone(),
            overrides: None,
            track: None,
            rights: Rights::new("", "").unwrap(),
            http: None,
            remember: false,
            verify_interval: None,
            check_limits: Limits {
                checks: settings::CheckSettings::default().max_concurrent,
                descriptors: 8192,
            },
            unchecked_is_down: false,
            grace: Duration::from_secs(4),
            acts: Acts { mail: false, commands: false },
            mail: settings::MailSettings::default(),
            monitor_mode: 0o644,
            metrics: settings::MetricsSettings::default(),
            log: Log::new("web.cf", LogDestination::Nowhere),
            log_by_configuration: false,
            commands: CommandSetup {
                timeout: Duration::from_secs(10),
                fallbackcommand_at_stop: false,
                own: Vec::new(),
            },
            launcher: None,
        }
    }

    /// Ends the daemon as `restart` and an upgrade do: the table stays.
    pub fn hand_over(&mut self) {
        raise(Signal::SIGUSR2).unwrap();
        self.running.take().unwrap().join().unwrap();
    }

    /// Asserts that no daemon has changed the table.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(self.table.operations(), 0, "the table was written");
    }

    /// Waits until a server is out of rotation, which must be the only change of the table.
    pub fn expect_only_victim_out(&mut self, killed: Instant, limit: Duration) {
        let out = |table: &mut Memory| {
            let table = table.dump().unwrap();
            let all = table.services.values().flat_map(|service| service.destinations.values());
            all.filter(|destination| destination.weight == 0).count()
        };
        wait("the failed server out of rotation", limit, || match out(&mut self.table) {
            0 => Err("none is out".to_owned()),
            _ => Ok(()),
        });
        println!(
            "  the failed server was out of rotation {:.1} s after its end",
            killed.elapsed().as_secs_f64()
        );
        assert_eq!((out(&mut self.table), self.table.operations()), (1, 1));
    }
}
