//! Publishes events to the log, monitor files, mail, and operator commands.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{Level, error, info, warn};

use super::instances::Instances;
use crate::event::{Event, EventKind};
use crate::health::Health;
use crate::notify::commands::{CommandRunner, Job, Program};
use crate::notify::fallback::{Call, FallbackCommands};
use crate::notify::mail::Alerts;
use crate::notify::monitor::{self, Monitor};
use crate::notify::storm::Storm;
use crate::notify::{because, kind, level, line, message_id, reason, state};
use crate::settings::{self, Acts};
use crate::spec::Spec;
use crate::sys::command::aside;
use crate::value::DaemonStatus;

/// Settings of operator commands.
#[derive(Clone, Debug)]
pub struct CommandSetup {
    /// A command that takes longer is killed.
    pub timeout: Duration,
    /// Whether `fallbackcommand` is run with `stop` when the daemon stops while no server is up.
    pub fallbackcommand_at_stop: bool,
    /// This program with its options, for `execute`.
    pub own: Vec<String>,
}

/// All outlets of events.
pub struct Outlets {
    monitor: Monitor,
    mail: Alerts,
    commands: CommandRunner,
    fallback: FallbackCommands,
    fallback_at_stop: bool,
    instances: Instances,
    storm: Storm,
}

impl Outlets {
    /// Creates the outlets. `name`: the name of the configuration. `monitor_mode`: the mode of new monitor files.
    #[must_use]
    pub fn new(
        setup: CommandSetup,
        mail: settings::MailSettings,
        acts: Acts,
        monitor_mode: u32,
        name: &str,
    ) -> Outlets {
        if !acts.mail {
            let commands = if acts.commands { "commands are run" } else { "commands are not run" };
            info!("Dry run: the table is in memory, mail is not sent, {commands}");
        }
        Outlets {
            monitor: Monitor::new(monitor_mode),
            mail: Alerts::new(mail, acts.mail, name),
            commands: CommandRunner::new(setup.timeout, acts.commands),
            fallback: FallbackCommands::default(),
            fallback_at_stop: setup.fallbackcommand_at_stop,
            instances: Instances::new(setup.own, name),
            storm: Storm::default(),
        }
    }

    /// Publishes events.
    pub fn publish(&mut self, events: &[Event], spec: &Spec, health: &Health, now: Instant) {
        self.end_storm(now);
        for event in events {
            match &event.kind {
                EventKind::Checked { member, verdict } => {
                    if let Some(line) = monitor::line(spec, health, *member, verdict.as_deref()) {
                        self.monitor.write(line);
                    }
                }
                _ => self.log(event, now),
            }
        }
        self.mail.publish(events, spec, health, now);
    }

    /// Sets the status of the daemon, by which mail is filtered.
    pub fn set_status(&mut self, status: DaemonStatus, spec: &Spec, health: &Health, now: Instant) {
        self.mail.set_status(status, spec, health, now);
    }

    /// Applies a new configuration.
    pub fn set_spec(&mut self, spec: &Spec) {
        self.mail.set_spec(spec);
        self.monitor.set_spec(spec);
        self.fallback.set_spec(spec);
    }

    /// The number of queued messages, and of those that were dropped since the start.
    #[must_use]
    pub fn mail_counts(&self) -> (usize, usize) {
        self.mail.counts()
    }

    /// The number of commands that ended, by directive and result.
    #[must_use]
    pub fn ended_commands(&self) -> Vec<(String, &'static str, u64)> {
        self.commands.ended()
    }

    /// When to call [`Outlets::remind`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.mail.poll_timeout(), self.storm.poll_timeout()].into_iter().flatten().min()
    }

    /// Sends reminders of servers that are down, and logs the summary of suppressed lines.
    pub fn remind(&mut self, spec: &Spec, health: &Health, now: Instant) {
        self.end_storm(now);
        self.mail.remind(spec, health, now);
    }

    /// Runs the fallback commands of these virtual services, by index in the spec, if their state has changed.
    pub fn call_fallbacks(&mut self, spec: &Spec, health: &Health, virtuals: BTreeSet<usize>) {
        let calls = self.fallback.due(spec, health, virtuals);
        self.call(calls);
    }

    /// Runs `callback`, if configured.
    pub fn call_back(&mut self, spec: &Spec, path: &Path) {
        let Some(callback) = &spec.config().globals.callback else { return };
        let job = Job {
            what: "callback".to_owned(),
            program: Program::File(callback.clone()),
            arguments: vec![path.display().to_string()],
            variable: None,
            otherwise: None,
        };
        self.commands.run("callback", job);
    }

    /// Starts, reloads and stops the daemons of `execute`.
    pub fn follow_instances(&mut self, spec: &Spec) {
        self.instances.follow(&spec.config().globals.execute, &mut self.commands);
    }

    /// Stops the daemons of `execute`, and runs the fallback commands for the stop.
    pub fn stop(&mut self) {
        self.instances.stop(&mut self.commands);
        if self.fallback_at_stop {
            let calls = self.fallback.all_stopped();
            self.call(calls);
        }
    }

    /// Waits for running commands, for mail in transit and for lines of monitor files, all at the same time.
    pub async fn shut_down(mut self, grace: Duration) {
        if let Some(line) = self.storm.rest() {
            warn!("{line}");
        }
        let lines = aside(move || self.monitor.finish(grace));
        tokio::join!(self.commands.shut_down(grace), self.mail.finish(grace), lines);
    }

    fn end_storm(&mut self, now: Instant) {
        if let Some(line) = self.storm.summary(now) {
            warn!("{line}");
        }
    }

    /// Logs an event, unless there are too many.
    fn log(&mut self, event: &Event, now: Instant) {
        let kind = kind(event);
        let matters = level(event) != Level::INFO || kind.starts_with("overrid");
        if message_id(kind).is_some() && (matters || self.storm.admits(kind, now)) {
            log(event, kind);
        }
    }

    fn call(&mut self, calls: Vec<Call>) {
        for call in calls {
            let of = call.of.qualified();
            let job = Job {
                what: format!("fallbackcommand of {of}"),
                program: Program::Line(call.command),
                arguments: call.arguments.to_vec(),
                variable: None,
                otherwise: None,
            };
            self.commands.run(&format!("fallbackcommand {of}"), job);
        }
    }
}

/// Logs an event, with its parts as fields.
fn log(event: &Event, kind: &str) {
    let Some(text) = line(event) else { return };
    let message_id = message_id(kind);
    let service = event.service.map(|id| id.qualified().to_string());
    let server = event.server.map(|server| server.to_string());
    let (service, server) = (service.as_deref(), server.as_deref());
    let (state, because, reason) = (state(event), because(event), reason(event));
    match level(event) {
        Level::ERROR => error!(kind, message_id, service, server, state, because, reason, "{text}"),
        Level::WARN => warn!(kind, message_id, service, server, state, because, reason, "{text}"),
        _ => info!(kind, message_id, service, server, state, because, reason, "{text}"),
    }
}
