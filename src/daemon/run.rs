//! The loop: verdicts, time, signals, the watched file and questions come in; then always the same tail.
//!
//! ```text
//!  checks ──verdict──┐
//!  clock ────due─────┤
//!  signals ──────────┼──▶ Director ──notices──▶ log
//!  file ────changed──┤        │
//!  control ─question─┘        └──operations──▶ kernel
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "the loop is where the clock is read; the core gets it as an argument"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::addresses::{Hosts, InUse};
use super::checks::Checks;
use super::control::{self, Control};
use super::director::Director;
use super::left_behind::LeftBehind;
use super::load::{LoadError, Loaded};
use super::maintenance::{self, Learned, Maintenance, Rules};
use super::observe::{ConfigFile, Observed};
use super::outlets::Outlets;
use super::owned::{self, OwnedServices};
use super::peers::{Claims, Directory, Peers, Share};
use super::reload::{Cause, Reloads, Source, ToRun};
use super::setup::{Setup, StartError};
use super::signals::{Request, Signals};
use super::turn::{Turns, measured};
use crate::config::LogTarget;
use crate::health::Standing;
use crate::notify::Notice;
use crate::report::{self, Snapshot};
use crate::sys::detach::Launcher;
use crate::sys::log::{Log, Target};
use crate::sys::manager::Manager;
use crate::sys::process;
use crate::sys::socket;
use crate::value::{DaemonStatus, SYSLOG_DAEMON, Verdict, syslog_facility};

/// Ready means: the table is set up, and every check has spoken once or this much time has passed.
const READY_LIMIT: Duration = Duration::from_secs(2);
/// How long a start and a stop wait for the configurations of other daemons.
const PEERS_LIMIT: Duration = Duration::from_secs(1);

/// Runs until a signal ends it. When it cannot start, whoever waits for it is told why.
///
/// # Errors
/// When it cannot start; nothing has been changed then.
pub async fn run(mut setup: Setup) -> Result<(), StartError> {
    let mut launcher = setup.launcher.take();
    match Daemon::start(setup, launcher.as_mut()).await {
        Ok((mut daemon, notices)) => {
            daemon.settle(notices);
            let mut turns = Turns::default();
            measured(daemon.serve(launcher), |cpu| turns.spent(cpu)).await;
            Ok(())
        }
        Err(error) => Err(give_up(launcher, error)),
    }
}

/// Tells the log, and whoever waits for the daemon, why there will be none.
pub fn give_up(launcher: Option<Launcher>, error: StartError) -> StartError {
    error!("{error}");
    if let Some(launcher) = launcher {
        launcher.failed(1, &error.to_string());
    }
    error
}

struct Daemon {
    director: Director,
    checks: Checks,
    left_behind: LeftBehind,
    signals: Signals,
    file: ConfigFile,
    maintenance: Maintenance,
    outlets: Outlets,
    control: Option<Control>,
    manager: Manager,
    owned: Option<OwnedServices>,
    /// None with a table in memory, which has no others.
    peers: Option<Peers>,
    log: Log,
    log_by_configuration: bool,
    path: PathBuf,
    name: String,
    grace: Duration,
    reloads: Reloads,
    /// The addresses in force.
    hosts: Hosts,
}

/// How the loop ends.
enum End {
    /// With the table cleaned up as `cleanstop` says.
    Stop(&'static str),
    /// With the table as it is, for the next daemon to take over.
    HandOver,
}

impl Daemon {
    async fn start(
        mut setup: Setup,
        launcher: Option<&mut Launcher>,
    ) -> Result<(Daemon, Vec<Notice>), StartError> {
        let system = |what| move |error| StartError::System { what, error };
        let signals = Signals::new().map_err(system("signal handlers"))?;
        process::release_signals();
        let owned = setup
            .remember
            .then(|| OwnedServices::open(setup.state_directory.join(owned::file_name(&setup.name))));
        let formerly = owned.as_ref().map_or_else(BTreeSet::new, OwnedServices::read);
        let directory =
            if setup.remember { Directory::new(&setup.state_directory, &setup.name) } else { None };
        let rules = Rules::of(&setup.loaded.plan, Learned::default());
        let (in_maintenance, note) =
            maintenance::at_start(rules.as_ref(), &setup.loaded.plan, &mut *setup.ipvs).await;
        if let (Some(launcher), false) = (launcher, note.is_empty()) {
            launcher.note(&format!("Warning: {note}"));
        }
        let Loaded { plan, content, hosts, .. } = setup.loaded;
        let interval = plan.config().globals.checkinterval;
        let now = Instant::now();
        let (peers, plan, formerly) = match directory {
            None => (None, plan, formerly),
            Some(directory) => {
                let claims = if formerly.is_empty() {
                    Claims::new()
                } else {
                    directory.claims_within(PEERS_LIMIT).await
                };
                let (mut peers, plan) = Peers::new(directory, plan, now);
                let formerly = peers.without_theirs(formerly, &claims, now);
                (Some(peers), plan, formerly)
            }
        };
        let (mut director, mut notices) =
            Director::start(plan, setup.ipvs, &formerly, setup.verify_interval, now)?;
        director.set_unchecked_is_down(setup.unchecked_is_down);
        notices.extend(director.maintain(&in_maintenance, now));
        let control = Control::open(&socket::place(&setup.state_directory, &setup.name))
            .inspect_err(|error| warn!("no control socket, `show` will not work: {error}"))
            .ok();
        let daemon = Daemon {
            left_behind: LeftBehind::default(),
            checks: Checks::new(setup.checker, setup.check_limits),
            signals,
            file: ConfigFile::new(&setup.path, content, interval),
            maintenance: Maintenance::observe(rules, in_maintenance, interval, !note.is_empty()),
            outlets: Outlets::new(setup.commands, setup.mail, setup.acts, setup.monitor_mode, &setup.name),
            control,
            manager: Manager::new(now),
            owned,
            peers,
            log: setup.log,
            log_by_configuration: setup.log_by_configuration,
            path: setup.path,
            name: setup.name,
            grace: setup.grace,
            director,
            reloads: Reloads::default(),
            hosts,
        };
        Ok((daemon, notices))
    }

    async fn serve(mut self, mut launcher: Option<Launcher>) {
        self.remember(Instant::now());
        let mut ready_at = Some(Instant::now() + READY_LIMIT);
        let end = loop {
            let now = Instant::now();
            self.start_checks(now);
            self.left_behind.look(now);
            self.outlets.remind(self.director.plan(), now);
            if self.director.health().all_seen() {
                self.outlets.set_status(DaemonStatus::Running, self.director.plan());
            }
            if let Some(at) = ready_at
                && (self.director.health().all_seen() || now >= at)
            {
                ready_at = None;
                if let Some(launcher) = launcher.take() {
                    launcher.ready();
                }
                self.manager.ready(&self.summary(), now);
                self.outlets.call_fallbacks(self.director.plan(), self.director.health());
                self.outlets.follow_instances(self.director.plan());
            }
            self.manager.alive(now);
            self.manager.tell_status(now, || report::status(self.director.plan(), self.director.health()));
            let wakes = [
                self.director.poll_timeout(),
                self.peers.as_ref().and_then(Peers::poll_timeout),
                self.owned.as_ref().and_then(OwnedServices::poll_timeout),
                self.outlets.poll_timeout(),
                self.manager.poll_timeout(),
                ready_at,
            ];
            let wake = wakes.into_iter().flatten().min();
            if let Some(end) = self.wait(wake).await {
                break end;
            }
        };
        if let Some(mut launcher) = launcher.take() {
            // Another command ended the daemon; the start did not fail.
            launcher.note("The daemon was told to end before each server had been checked once");
            launcher.ready();
        }
        self.finish(end).await;
    }

    /// Starts the checks that are due. One that nobody waits for, since all its servers are in maintenance, is over at once.
    fn start_checks(&mut self, now: Instant) {
        let mut idle = Vec::new();
        let checks = &mut self.checks;
        checks.begin_turn(now);
        let mut notices = self.director.due(now, |due| match due.standing {
            Standing::Idle => {
                idle.push((due.id, Verdict::down("in maintenance")));
                true
            }
            _ => checks.start(due, now),
        });
        if !idle.is_empty() {
            notices.extend(self.director.verdicts(idle, now));
        }
        self.settle(notices);
    }

    /// Waits for one thing to happen and takes it in.
    async fn wait(&mut self, wake: Option<Instant>) -> Option<End> {
        // Between two turns checks go on, and answers are read.
        tokio::task::yield_now().await;
        tokio::select! {
            () = async {}, if self.checks.turn_is_full() => {}
            verdicts = self.checks.finished() => {
                let notices = self.director.verdicts(verdicts, Instant::now());
                self.settle(notices);
            }
            () = sleep_until(wake) => self.woken(Instant::now()),
            servers = self.maintenance.next() => {
                let notices = self.director.maintain(&servers, Instant::now());
                self.settle(notices);
            }
            request = self.signals.next() => return self.obey(request),
            // What is being reloaded may be what was seen.
            observed = self.file.next(), if !self.reloads.is_running() => self.file_changed(observed),
            (result, cause) = self.reloads.finished() => self.reloaded(result, cause),
            question = control::next(&mut self.control) => {
                question.answer(self.snapshot_json());
            }
        }
        None
    }

    /// Does what the time has come for.
    fn woken(&mut self, now: Instant) {
        let notices = self.director.verify(now);
        self.settle(notices);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.peers.as_ref().and_then(Peers::poll_timeout)) {
            self.look_at_peers(now);
        }
        if is_due(self.owned.as_ref().and_then(OwnedServices::poll_timeout)) {
            self.remember(now);
        }
    }

    fn obey(&mut self, request: Request) -> Option<End> {
        match request {
            Request::Stop(signal) => return Some(End::Stop(signal)),
            Request::HandOver => return Some(End::HandOver),
            Request::Reload => {
                info!("Reloading Linux Director Daemon config on signal");
                self.request_reload();
            }
            Request::Report => {
                for line in report::render(&self.snapshot()).lines() {
                    info!("{line}");
                }
            }
        }
        None
    }

    fn snapshot(&self) -> Snapshot {
        let director = &self.director;
        let snapshot = Snapshot::of(director.plan(), director.health(), director.table(), Instant::now())
            .of_daemon(&self.name);
        match &self.peers {
            None => snapshot,
            Some(peers) => snapshot.with_elsewhere(peers.elsewhere()),
        }
    }

    fn snapshot_json(&self) -> String {
        serde_json::to_string(&self.snapshot()).unwrap_or_default()
    }

    fn file_changed(&mut self, observed: Observed) {
        let path = self.path.display();
        match observed {
            Observed::Missing => {
                warn!("can not open file {path} for checking; the running configuration stays in force");
            }
            Observed::Unquiet { open } => {
                let why = if open {
                    "a program has it open for writing; end that program (fuser -v shows it)"
                } else {
                    "a program changes it again and again"
                };
                error!(
                    "Configuration file '{path}' has not been complete for 60 s: {why}; the running configuration stays in force"
                );
            }
            Observed::Changed(content) => {
                info!("Configuration file '{path}' has changed on disk");
                if self.director.plan().config().globals.autoreload {
                    info!(" - reread new configuration");
                    self.start_reload(Cause::Changed, Some(content));
                } else {
                    info!(" - ignore new configuration");
                    self.outlets.call_back(self.director.plan(), &self.path);
                }
            }
        }
    }

    fn request_reload(&mut self) {
        if self.reloads.is_running() {
            self.reloads.again();
        } else {
            self.start_reload(Cause::Requested, None);
        }
    }

    fn start_reload(&mut self, cause: Cause, content: Option<Vec<u8>>) {
        self.manager.reloading();
        let source = Source {
            path: self.path.clone(),
            content,
            in_use: InUse::new(self.hosts.clone(), self.director.table()),
            learned: self.maintenance.learned(),
            peers: self.peers.as_ref().map(|peers| peers.directory().clone()),
            running: self.director.owned().clone(),
        };
        self.reloads.start(source, cause);
    }

    /// Takes a configuration up as a whole, or says why not and changes nothing.
    fn reloaded(&mut self, result: Result<ToRun, LoadError>, cause: Cause) {
        match result {
            Ok(to_run) if cause == Cause::Changed && self.would_take_everything(&to_run.loaded) => {
                error!(
                    "The changed file has no virtual service; it is not taken up by itself. If that is meant, reload it: \
                     ldirectord-rs {} reload",
                    self.path.display()
                );
            }
            Err(error) => {
                error.log_lines().iter().for_each(|line| error!("{line}"));
                error!("The configuration was not reloaded; the running one stays in force");
            }
            Ok(to_run) => {
                for line in to_run.loaded.warning_lines(&self.path) {
                    warn!("{line}");
                }
                self.take_up(to_run);
            }
        }
        self.manager.ready(&self.summary(), Instant::now());
        if cause == Cause::Changed {
            self.outlets.call_back(self.director.plan(), &self.path);
        }
        if self.reloads.take_again() {
            self.start_reload(Cause::Requested, None);
        }
    }

    fn take_up(&mut self, ToRun { loaded, rules, in_maintenance, claims }: ToRun) {
        let interval = loaded.plan.config().globals.checkinterval;
        let in_maintenance = in_maintenance.unwrap_or_else(|| self.maintenance.known().clone());
        let now = Instant::now();
        self.file.taken_up(loaded.content, interval);
        self.hosts = loaded.hosts;
        if self.log_by_configuration {
            self.log.redirect(log_target(&loaded.plan.config().globals.logfile));
        }
        let share = match &mut self.peers {
            None => Share { plan: loaded.plan, handed_over: BTreeSet::new() },
            Some(peers) => peers.take_up(loaded.plan, self.director.plan(), &claims, now),
        };
        self.maintenance = Maintenance::observe(rules, in_maintenance, interval, false);
        self.take_share(share, now);
        self.outlets.follow_instances(self.director.plan());
    }

    /// Runs another plan from now on.
    fn take_share(&mut self, Share { plan, handed_over }: Share, now: Instant) {
        self.director.leave(&handed_over);
        let mut notices = self.director.reload(plan, now);
        notices.extend(self.director.maintain(self.maintenance.known(), now));
        self.outlets.replan(self.director.plan());
        self.checks.retain(|id| self.director.knows(id));
        self.settle(notices);
        // Also where the table stays as it is: a command may be new, and a service may have changed hands.
        self.follow_up();
    }

    /// A service may have come free, or another daemon may have taken one at the same moment.
    fn look_at_peers(&mut self, now: Instant) {
        if let Some(share) = self.peers.as_mut().and_then(|peers| peers.look(self.director.plan(), now)) {
            self.take_share(share, now);
        }
    }

    /// Before the end: takes what has come free, and leaves what others want.
    async fn settle_with_peers(&mut self) {
        self.look_at_peers(Instant::now());
        if let Some(peers) = &self.peers {
            let theirs = peers.directory().claims_within(PEERS_LIMIT).await.into_keys().collect();
            self.director.leave(&theirs);
        }
    }

    /// One line about all servers, for the service manager.
    fn summary(&self) -> String {
        report::status(self.director.plan(), self.director.health())
    }

    /// A file that was emptied by accident must not be the end of all services.
    fn would_take_everything(&self, loaded: &Loaded) -> bool {
        loaded.plan.virtuals().is_empty() && !self.director.plan().virtuals().is_empty()
    }

    /// The tail of everything: what happened is told, and what is ours is remembered.
    fn settle(&mut self, notices: Vec<Notice>) {
        if !notices.is_empty() {
            self.manager.changed(Instant::now());
            self.outlets.tell(&notices, self.director.plan(), Instant::now());
            self.follow_up();
        }
    }

    fn follow_up(&mut self) {
        self.outlets.call_fallbacks(self.director.plan(), self.director.health());
        self.remember(Instant::now());
    }

    fn remember(&mut self, now: Instant) {
        let Some(file) = &mut self.owned else { return };
        let owned = match &self.peers {
            None => self.director.owned_and_kept(),
            Some(peers) => peers.noted(self.director.owned_and_kept()),
        };
        if let Err(error) = file.write(owned, now) {
            warn!("{error}");
        }
    }

    async fn finish(mut self, end: End) {
        let end_of_grace = Instant::now() + self.grace;
        let left = || end_of_grace.saturating_duration_since(Instant::now());
        self.manager.stopping();
        self.outlets.set_status(DaemonStatus::Stopping, self.director.plan());
        if let End::Stop(_) = end {
            self.outlets.stop();
            // Counts as a part of the grace.
            self.settle_with_peers().await;
        }
        self.checks.shut_down(left()).await;
        match end {
            End::HandOver => {
                self.outlets.shut_down(left()).await;
                info!("Linux Director Daemon hands the table over as it is");
            }
            End::Stop(signal) => {
                let notices = self.director.stop();
                self.outlets.tell(&notices, self.director.plan(), Instant::now());
                if !self.director.owned().is_empty() {
                    // The next daemon has to remove what the kernel refused to.
                    self.remember(Instant::now());
                } else if let Some(owned) = self.owned.take() {
                    owned.remove();
                }
                self.outlets.shut_down(left()).await;
                info!("Linux Director Daemon terminated on signal: {signal}");
            }
        }
    }
}

/// The log of the configuration.
#[must_use]
pub fn log_target(target: &LogTarget) -> Target {
    match target {
        LogTarget::File(path) => Target::File(path.clone()),
        LogTarget::Syslog(name) => Target::Syslog(syslog_facility(name).unwrap_or(SYSLOG_DAEMON)),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
