//! The loop: waits for one input, processes it, and then always performs the same final steps.
//!
//! ```text
//!  checks ───────verdict──┐
//!  clock ──────────due────┤
//!  signals ───────────────┤                ┌─events──▶ log · monitor files · mail · commands
//!  maintenance ──servers──┼──▶ Director ───┤
//!  file ──changed─▶ reload┤       ▲        └─steps───▶ kernel (a thread)
//!  control ──question─────┘       └────────────done───────┘
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "the loop reads the clock; the core gets the time as an argument"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use ipvs_rs::ServiceKey;
use tracing::{error, info, warn};

use super::addresses::Hosts;
use super::checks::RunningChecks;
use super::counters;
use super::directory::StateDirectory;
use super::handover;
use super::kernel::KernelHandle;
use super::left_behind::LeftBehind;
use super::load::LoadedFile;
use super::maintenance::{self, Learned, MaintenanceDir, MaintenanceWatcher};
use super::metering::Metering;
use super::notes::{self, Attempt, NoteWriter};
use super::observe::ConfigWatcher;
use super::old_overrides;
use super::outlets::Outlets;
use super::overrides::{self, OverrideFile};
use super::owned::{self, Owned, OwnedServices};
use super::peers::{self, Beginning, Peers};
use super::publisher::Publisher;
use super::reload::{Cause, Reloads};
use super::setup::{Setup, StartError};
use super::signals::{SignalRequest, Signals};
use super::starting::{Readers, Starting, open_readers, print_warnings};
use super::track::{self, TrackFiles};
use super::turn::{Turns, measured};
use super::unsaved::Unsaved;
use crate::config::LogTarget;
use crate::director::{Director, Done, Step};
use crate::event::Event;
use crate::notify;
use crate::report::{self, History, Moment, StateSnapshot};
use crate::spec::Spec;
use crate::sys::detach::Launcher;
use crate::sys::log::{Log, LogDestination};
use crate::sys::manager::Manager;
use crate::sys::process;
use crate::sys::socket;
use crate::value::{DaemonStatus, SYSLOG_DAEMON, syslog_facility};

/// The daemon is ready when the table is set up and every check has run once, or this time has passed.
const READY_LIMIT: Duration = Duration::from_secs(2);
/// How long a start and a stop wait for the configurations of other daemons.
pub(super) const PEERS_LIMIT: Duration = Duration::from_secs(1);

/// Runs the daemon until a signal ends it. If it cannot start, reports the reason to the waiting `start`.
///
/// # Errors
/// The daemon cannot start. Nothing has been changed.
pub async fn run(mut setup: Setup) -> Result<(), StartError> {
    let mut launcher = setup.launcher.take();
    match Daemon::start(setup, launcher.as_mut()).await {
        Ok(mut daemon) => {
            daemon.publish_changes(Instant::now());
            let mut turns = Turns::default();
            measured(daemon.serve(launcher), |cpu| turns.spent(cpu)).await;
            Ok(())
        }
        Err(error) => Err(give_up(launcher, error)),
    }
}

/// Reports to the log and to the waiting `start` why the daemon cannot start.
pub fn give_up(launcher: Option<Launcher>, error: StartError) -> StartError {
    error!("{error}");
    if let Some(launcher) = launcher {
        launcher.failed(1, &error.to_string());
    }
    error
}

pub(super) struct Daemon {
    pub(super) director: Director,
    pub(super) kernel: KernelHandle,
    pub(super) checks: RunningChecks,
    pub(super) left_behind: LeftBehind,
    pub(super) signals: Signals,
    pub(super) file: ConfigWatcher,
    pub(super) maintenance: MaintenanceWatcher,
    pub(super) outlets: Outlets,
    pub(super) readers: Readers,
    pub(super) publisher: Publisher,
    pub(super) metering: Metering,
    pub(super) history: History,
    pub(super) manager: Manager,
    /// Writer of the note of owned services. `None` with a table in memory.
    pub(super) notes: Option<NoteWriter<Owned>>,
    /// Writer of the overrides file. `None` with a table in memory.
    pub(super) overrides: Option<NoteWriter<OverrideFile>>,
    pub(super) unsaved: Unsaved,
    /// Writer of the files for keepalived. `None` if the settings name no directory.
    pub(super) track: Option<TrackFiles>,
    /// The path of the note for the next daemon. `None` with a table in memory.
    pub(super) handover: Option<PathBuf>,
    /// The other daemons. `None` with a table in memory.
    pub(super) peers: Option<Peers>,
    pub(super) log: Log,
    pub(super) log_by_configuration: bool,
    pub(super) path: PathBuf,
    pub(super) grace: Duration,
    pub(super) reloads: Reloads,
    /// The cause of the configuration that is being applied, until the table matches it.
    pub(super) applying: Option<Cause>,
    /// The addresses in force.
    pub(super) hosts: Hosts,
    /// The command that waits until the daemon is ready.
    pub(super) starting: Option<Starting>,
}

/// The writers of the note of owned services and of the overrides file.
type NoteWriters = (Option<NoteWriter<Owned>>, Option<NoteWriter<OverrideFile>>);

/// Starts the threads that write notes. `is_unreadable`: whether the overrides of an earlier run could not be read.
fn note_writers(
    owned: Option<OwnedServices>,
    overrides: Option<PathBuf>,
    is_unreadable: bool,
) -> Result<NoteWriters, StartError> {
    let system = |what| move |error| StartError::System { what, error };
    let notes = owned.map(OwnedServices::noted).transpose();
    let notes = notes.map_err(system("cannot start the thread for the note of services"))?;
    let overrides = overrides.map(|path| overrides::noted(path, is_unreadable)).transpose();
    Ok((notes, overrides.map_err(system("cannot start the thread for the overrides file"))?))
}

/// How the loop ends.
pub(super) enum LoopEnd {
    /// The table is cleaned up as `cleanstop` says. Has the name of the signal.
    Stop(&'static str),
    /// The table stays as it is, for the next daemon.
    HandOver,
}

impl Daemon {
    async fn start(mut setup: Setup, launcher: Option<&mut Launcher>) -> Result<Daemon, StartError> {
        let system = |what| move |error| StartError::System { what, error };
        let signals = Signals::new().map_err(system("cannot install signal handlers"))?;
        process::release_signals();
        let note = || OwnedServices::open(setup.state_directory.join(owned::file_name(&setup.name)));
        let owned = setup.remember.then(note);
        let previously_owned = owned::of_earlier_run(owned.as_ref()).await;
        let directory =
            if setup.remember { StateDirectory::new(&setup.state_directory, &setup.name) } else { None };
        let rules = MaintenanceDir::of(&setup.loaded.spec, [], Learned::default());
        let (in_maintenance, note) =
            maintenance::at_start(rules.as_ref(), &setup.loaded.spec, &mut *setup.ipvs).await;
        let saved = overrides::find(setup.overrides.as_deref(), moment(Instant::now())).await;
        let is_unreadable = saved.unreadable.is_some();
        let LoadedFile { spec, content, hosts, .. } = setup.loaded;
        let interval = spec.config().globals.checkinterval;
        let now = Instant::now();
        let (peers, spec, previously_owned) =
            begin_peers(directory, spec, previously_owned, &hosts, now).await;
        let mut kernel = KernelHandle::start(setup.ipvs)
            .map_err(system("cannot start the thread for the kernel's table"))?;
        let present = kernel.read(Director::to_read(&spec, &previously_owned)).await?;
        let mut director = Director::new(spec, present, &previously_owned, setup.verify_interval, now);
        director.set_unchecked_is_down(setup.unchecked_is_down);
        director.maintain(&in_maintenance, now);
        let handover = setup.remember.then(|| handover::path(&setup.state_directory, &setup.name));
        let forgotten = overrides::restore(&mut director, saved, now);
        director.know(&handover::take(handover.as_deref(), moment(now)).await);
        let socket = socket::place(&setup.state_directory, &setup.name);
        let readers = open_readers(&socket, setup.rights, setup.http, counters::of(setup.remember));
        let mut warnings = vec![note.clone(), forgotten, readers.warning.clone()];
        warnings.extend(old_overrides::report(&director, &setup.path, moment(now)));
        print_warnings(launcher, &warnings);
        let (notes, overrides) = note_writers(owned, setup.overrides, is_unreadable)?;
        let manager =
            Manager::start(now).map_err(system("cannot start the thread for the service manager"))?;
        Ok(Daemon {
            left_behind: LeftBehind::default(),
            checks: RunningChecks::new(setup.checker, setup.check_limits),
            signals,
            metering: Metering::new(setup.metrics, &content),
            history: History::default(),
            file: ConfigWatcher::new(&setup.path, content, interval),
            maintenance: MaintenanceWatcher::observe(rules, in_maintenance, interval, !note.is_empty()),
            outlets: Outlets::new(setup.commands, setup.mail, setup.acts, setup.monitor_mode, &setup.name),
            readers,
            publisher: Publisher::new(&setup.name, &setup.path),
            manager,
            notes,
            overrides,
            unsaved: Unsaved::default(),
            track: track::start(setup.track, &previously_owned, director.spec(), now),
            handover,
            peers,
            log: setup.log,
            log_by_configuration: setup.log_by_configuration,
            path: setup.path,
            grace: setup.grace,
            director,
            kernel,
            reloads: Reloads::default(),
            applying: None,
            hosts,
            starting: None,
        })
    }

    async fn serve(mut self, launcher: Option<Launcher>) {
        self.starting = launcher.map(Starting::new);
        let mut ready_at = Some(Instant::now() + READY_LIMIT);
        let end = loop {
            let now = Instant::now();
            if self.director.is_set_up() {
                self.start_checks(now);
            }
            self.left_behind.look(now);
            self.outlets.remind(self.director.spec(), self.director.health(), now);
            if self.director.health().all_seen() && self.director.is_at_rest() {
                let (spec, health) = (self.director.spec(), self.director.health());
                self.outlets.set_status(DaemonStatus::Running, spec, health, now);
            }
            if let Some(at) = ready_at
                && self.director.is_set_up()
                && (self.director.health().all_seen() && !self.is_note_pending() || now >= at)
            {
                ready_at = None;
                if let Some(starting) = self.starting.take() {
                    starting.ready(&self.summary(), self.director.health().all_seen());
                }
                self.manager.ready(&self.summary(), now);
                self.outlets.follow_instances(self.director.spec());
            }
            self.manager.alive(now);
            self.manager.tell_status(now, || report::status(self.director.spec(), self.director.health()));
            let wakes = [
                self.director.poll_timeout().filter(|_| self.director.is_set_up()),
                self.peers.as_ref().and_then(Peers::poll_timeout),
                self.notes.as_ref().and_then(NoteWriter::poll_timeout),
                self.overrides.as_ref().and_then(NoteWriter::poll_timeout),
                self.unsaved.poll_timeout(),
                self.track.as_ref().and_then(TrackFiles::poll_timeout),
                self.outlets.poll_timeout(),
                self.manager.poll_timeout(),
                ready_at.filter(|_| self.director.is_set_up()),
            ];
            let wake = wakes.into_iter().flatten().min();
            if let Some(end) = self.wait(wake).await {
                break end;
            }
        };
        if let Some(starting) = self.starting.take() {
            starting.stopped();
        }
        self.finish(end).await;
    }

    /// Starts the checks that are due.
    fn start_checks(&mut self, now: Instant) {
        self.note_lag(now);
        let checks = &mut self.checks;
        checks.begin_turn(now);
        self.director.due(now, |due| checks.start(due, now));
        self.publish_changes(now);
    }

    /// Waits for one input and processes it.
    async fn wait(&mut self, wake: Option<Instant>) -> Option<LoopEnd> {
        // Between two turns checks continue, and answers are read.
        tokio::task::yield_now().await;
        tokio::select! {
            () = async {}, if self.checks.turn_is_full() => {}
            verdicts = self.checks.finished() => self.take_verdicts(verdicts, Instant::now()),
            () = sleep_until(wake) => self.woken(Instant::now()),
            servers = self.maintenance.next() => self.director.maintain(&servers, Instant::now()),
            done = self.kernel.next() => match done {
                Some(done) => if self.take_done(done, Instant::now()) {
                    // The comparison of a whole table follows, in a turn of its own.
                    tokio::task::yield_now().await;
                },
                // The bug is in the log. The table stays, and the service manager restarts the daemon.
                None => panic!("a bug ended the thread of the kernel's table"),
            },
            sight = peers::sight(&mut self.peers) => self.look_at_peers(sight, Instant::now()),
            attempt = notes::attempt(&mut self.notes) => self.note_attempted(attempt, Instant::now()),
            attempt = notes::attempt(&mut self.overrides) => self.overrides_attempted(attempt, Instant::now()),
            request = self.signals.next() => return self.handle_signal(request),
            // During a reload the change may be the change that is being loaded.
            observed = self.file.next(), if !self.is_reloading() => self.file_changed(observed),
            (result, cause) = self.reloads.finished() => self.reloaded(result, cause),
            request = self.readers.inbox.next() => self.answer_request(request, Instant::now()),
        }
        self.publish_changes(Instant::now());
        None
    }

    /// Processes the result of a request to the kernel. Returns whether a new spec was applied.
    fn take_done(&mut self, done: Done, now: Instant) -> bool {
        let was_reloading = self.director.is_reloading();
        self.director.done(done, now);
        if self.director.is_at_rest() {
            self.metering.meters.reconciled(now);
        }
        let is_applied = was_reloading && !self.director.is_reloading();
        if is_applied {
            self.spec_changed(now);
        }
        is_applied
    }

    /// The final steps of each turn: sends the next request to the kernel, publishes events, and saves owned
    /// services and overrides.
    pub(super) fn publish_changes(&mut self, now: Instant) {
        let step = self.director.next_step();
        if step != Step::Rest {
            self.kernel.send(step);
        }
        let events = self.director.take_events();
        if !events.is_empty() {
            self.manager.changed(now);
            self.publish(&events, now);
        }
        let touched = self.director.take_touched();
        if !touched.is_empty() {
            self.outlets.call_fallbacks(self.director.spec(), self.director.health(), touched);
        }
        self.track_services(now);
        if self.director.take_owned_changed() {
            self.save_owned(now);
        }
        if self.director.take_overrides_changed() {
            self.note_overrides(now);
        }
        self.finish_reload();
    }

    pub(super) fn publish(&mut self, events: &[Event], now: Instant) {
        if let Some(starting) = &mut self.starting {
            starting.report(events);
        }
        let at = SystemTime::now();
        self.record(events, at);
        if self.readers.inbox.is_followed() {
            for event in events.iter().filter_map(|event| notify::json(event, at)) {
                self.readers.inbox.publish(&event.to_string());
            }
        }
        self.metering.meters.published(events, now);
        if self.director.is_at_rest() {
            self.metering.meters.nothing_to_apply();
        }
        self.outlets.publish(events, self.director.spec(), self.director.health(), now);
    }

    /// Performs everything that is due.
    fn woken(&mut self, now: Instant) {
        self.director.tick(now);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if let Some(peers) = self.peers.as_mut().filter(|peers| is_due(peers.poll_timeout())) {
            peers.start_look(&self.hosts, now);
        }
        self.unsaved.give_due(now);
        if is_due(self.overrides.as_ref().and_then(NoteWriter::poll_timeout)) {
            self.overrides_due(now);
        }
        if is_due(self.notes.as_ref().and_then(NoteWriter::poll_timeout)) {
            if let Some(line) = self.notes.as_mut().and_then(|notes| notes.late(now)) {
                warn!("{line}");
            }
            self.save_owned(now);
        }
    }

    fn handle_signal(&mut self, request: SignalRequest) -> Option<LoopEnd> {
        match request {
            SignalRequest::Stop(signal) => return Some(LoopEnd::Stop(signal)),
            SignalRequest::HandOver => return Some(LoopEnd::HandOver),
            SignalRequest::Reload => {
                info!("Reloading Linux Director Daemon config on signal");
                self.request_reload();
            }
            SignalRequest::Report => {
                let view = self.view(Instant::now());
                for line in report::render(
                    &StateSnapshot::of(&view),
                    report::ListingStyle { all: true, ..report::ListingStyle::default() },
                )
                .lines()
                {
                    info!("{line}");
                }
            }
        }
        None
    }

    /// The state of all servers in one line, for the service manager.
    pub(super) fn summary(&self) -> String {
        report::status(self.director.spec(), self.director.health())
    }

    /// Writes the note of owned services, for the next daemon and for the others.
    pub(super) fn save_owned(&mut self, now: Instant) {
        let owned = self.to_note();
        self.write_note(owned, now);
    }

    pub(super) fn to_note(&self) -> Owned {
        let owned = Owned {
            services: self.director.owned().clone(),
            kept: self.director.kept_at_stop(),
            file: Some(self.path.clone()),
            ..Owned::default()
        };
        match &self.peers {
            None => owned,
            Some(peers) => peers.noted(owned),
        }
    }

    pub(super) fn write_note(&mut self, owned: Owned, now: Instant) {
        if let Some(notes) = &mut self.notes {
            notes.write(owned, now);
        }
    }

    pub(super) fn is_note_pending(&self) -> bool {
        self.notes.as_ref().is_some_and(NoteWriter::is_pending)
    }

    pub(super) fn note_attempted(&mut self, attempt: Attempt, now: Instant) {
        let Some(notes) = &mut self.notes else { return };
        match notes.take(attempt, now) {
            Ok(false) => {}
            Ok(true) => {
                if let Some(peers) = &mut self.peers {
                    peers.noted_at(now);
                }
            }
            Err(error) => warn!("{error}"),
        }
    }
}

/// Divides the configuration between this daemon and the other daemons on this table.
pub(super) async fn begin_peers(
    directory: Option<StateDirectory>,
    spec: Spec,
    previously_owned: BTreeSet<ServiceKey>,
    hosts: &Hosts,
    now: Instant,
) -> (Option<Peers>, Spec, BTreeSet<ServiceKey>) {
    match directory {
        None => (None, spec, previously_owned),
        Some(directory) => {
            let sight = directory.clone().look_within(hosts.clone(), PEERS_LIMIT).await;
            let Beginning { peers, spec, previously_owned } =
                Peers::begin(directory, spec, previously_owned, sight, now);
            (Some(peers), spec, previously_owned)
        }
    }
}

/// The current time on both clocks.
pub(super) fn moment(now: Instant) -> Moment {
    Moment { instant: now, wall: SystemTime::now() }
}

/// The log target that a configuration names.
#[must_use]
pub fn log_target(target: &LogTarget) -> LogDestination {
    match target {
        LogTarget::File(path) => LogDestination::File(path.clone()),
        LogTarget::Syslog(name) => LogDestination::Syslog(syslog_facility(name).unwrap_or(SYSLOG_DAEMON)),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
