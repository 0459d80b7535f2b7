//! Applies a new configuration: after a change of the file, after a reload, and when a virtual service moves
//! between daemons.

#![expect(clippy::disallowed_methods, reason = "this is part of the loop, which reads the clock")]

use std::time::Instant;

use tracing::{error, info, warn};

use super::addresses::InUse;
use super::directory::Sight;
use super::load::{LoadError, LoadedFile};
use super::maintenance::MaintenanceWatcher;
use super::observe::Observed;
use super::peers::{Peers, Share};
use super::reload::{Cause, ReloadInput, ToRun};
use super::run::{Daemon, log_target};

impl Daemon {
    pub(super) fn file_changed(&mut self, observed: Observed) {
        let path = self.path.display();
        match observed {
            Observed::Missing => {
                // The original's words up to the semicolon.
                warn!("can not open file {path} for checking; the running configuration stays in force");
            }
            Observed::Unquiet { open } => {
                let why = if open {
                    "a program has it open for writing; stop that program (fuser -v shows it)"
                } else {
                    "a program keeps changing it; stop that program"
                };
                error!(
                    "Configuration file '{path}' has been changing for 60 s: {why}; the running configuration stays in force"
                );
            }
            Observed::Changed(content) => {
                info!("Configuration file '{path}' has changed on disk");
                if self.director.spec().config().globals.autoreload {
                    info!(" - reread new configuration");
                    self.start_reload(Cause::Changed, Some(content));
                } else {
                    info!(" - ignore new configuration");
                    self.outlets.call_back(self.director.spec(), &self.path);
                }
            }
        }
    }

    /// Whether a configuration is being read or applied.
    pub(super) fn is_reloading(&self) -> bool {
        self.reloads.is_running() || self.applying.is_some()
    }

    pub(super) fn request_reload(&mut self) {
        if self.is_reloading() {
            self.reloads.again();
        } else {
            self.start_reload(Cause::Requested, None);
        }
    }

    fn start_reload(&mut self, cause: Cause, content: Option<Vec<u8>>) {
        self.manager.reloading();
        let source = self.reload_input(content);
        self.reloads.start(source, cause);
    }

    /// The input of a reload at this moment.
    pub(super) fn reload_input(&self, content: Option<Vec<u8>>) -> ReloadInput {
        ReloadInput {
            path: self.path.clone(),
            content,
            in_use: InUse::new(self.hosts.clone(), self.director.table()),
            learned: self.maintenance.learned(),
            hosts: self.hosts.clone(),
            peers: self.peers.as_ref().map(|peers| peers.directory().clone()),
            running: self.director.spec().clone(),
        }
    }

    /// Applies a configuration as a whole, or reports the reason and changes nothing.
    pub(super) fn reloaded(&mut self, result: Result<ToRun, LoadError>, cause: Cause) {
        self.applying = Some(cause);
        if result.is_err() {
            self.metering.reloaded(None);
        }
        match result {
            Ok(to_run) if cause == Cause::Changed && self.would_take_everything(&to_run.loaded) => {
                self.metering.reloaded(None);
                error!(
                    "The changed file has no virtual service and was not applied; the running configuration stays in force. To \
                     apply it, run: ldirectord-rs {} reload",
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
                self.apply(to_run);
            }
        }
    }

    fn apply(&mut self, ToRun { loaded, rules, in_maintenance, sight }: ToRun) {
        let interval = loaded.spec.config().globals.checkinterval;
        let mut in_maintenance = in_maintenance.unwrap_or_else(|| self.maintenance.known().clone());
        let now = Instant::now();
        self.metering.reloaded(Some(&loaded.content));
        self.file.applied(loaded.content, interval);
        self.hosts = loaded.hosts;
        if self.log_by_configuration {
            self.log.redirect(log_target(&loaded.spec.config().globals.logfile));
        }
        let share = match &mut self.peers {
            None => Share::whole(loaded.spec),
            Some(peers) => peers.apply_reload(loaded.spec, self.director.spec(), sight, now),
        };
        if rules.is_none() {
            // The new file has no maintenancedir. The servers of services offered to another daemon stay in
            // maintenance.
            let known = self.maintenance.known().clone().into_iter();
            let offered = self.peers.as_ref().map(Peers::offered_servers).unwrap_or_default();
            in_maintenance.extend(known.filter(|(server, _)| offered.contains(server)));
        }
        self.maintenance = MaintenanceWatcher::observe(rules, in_maintenance, interval, false);
        self.run_share(share, now);
    }

    /// Hands a new spec to the director, which applies it once it has read the table.
    pub(super) fn run_share(&mut self, Share { spec, handed_over, abandoned }: Share, now: Instant) {
        self.director.leave(&handed_over);
        if let Some(track) = &mut self.track {
            track.forget(&abandoned, now);
        }
        self.director.adopt(abandoned);
        if let Some(spec) = spec {
            self.director.reload(spec);
        }
    }

    /// Updates everything that depends on the spec after the director has applied a new one.
    pub(super) fn spec_changed(&mut self, now: Instant) {
        if let Some(replaced) = self.director.take_replaced() {
            // On the loop's thread the answers of servers would wait for it.
            tokio::task::spawn_blocking(move || drop(replaced));
        }
        self.director.maintain(self.maintenance.known(), now);
        self.metering.meters.set_spec(self.director.spec());
        self.history.set_spec(self.director.spec(), |id| self.director.knows(id));
        self.outlets.set_spec(self.director.spec());
        self.track_spec(now);
        self.checks.retain(|id| self.director.knows(id));
        if self.applying.is_some() {
            self.outlets.follow_instances(self.director.spec());
        }
        // Services may have moved between daemons even if the set of owned services is unchanged.
        self.save_owned(now);
    }

    /// Ends a reload once the table matches the configuration, or once the reload has failed.
    pub(super) fn finish_reload(&mut self) {
        let Some(cause) = self.applying.take_if(|_| self.director.is_at_rest()) else { return };
        self.manager.ready(&self.summary(), Instant::now());
        if cause == Cause::Changed {
            self.outlets.call_back(self.director.spec(), &self.path);
        }
        if self.reloads.take_again() {
            self.start_reload(Cause::Requested, None);
        }
    }

    /// Evaluates a look at the other daemons: a service may be free now, or another daemon may have taken one at
    /// the same moment.
    pub(super) fn look_at_peers(&mut self, sight: Sight, now: Instant) {
        let Some(peers) = &mut self.peers else { return };
        if self.director.is_reloading() {
            return peers.put_off(now);
        }
        if let Some(share) = peers.look(sight, self.director.spec(), now) {
            self.run_share(share, now);
        }
        if self.peers.as_mut().is_some_and(Peers::take_note_due) {
            self.save_owned(now);
        }
    }

    /// Whether a configuration would remove all virtual services. A file emptied by accident must not do that.
    fn would_take_everything(&self, loaded: &LoadedFile) -> bool {
        loaded.spec.virtuals().is_empty() && !self.director.spec().virtuals().is_empty()
    }
}
