//! Mail about servers: which events become alerts, and when the administrator is reminded of servers that are down.

mod delivery;
mod details;
mod encoded;
mod message;
mod outages;
mod queue;
mod relay;
mod reminders;
mod sendmail;
mod situation;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracing::{info, warn};

pub use delivery::MailDelivery;
use details::ServerTransition;
pub use encoded::Encoded;
pub use message::{MailMessage, Renderer};
use outages::Outages;
use queue::MailQueue;
use reminders::{ReminderKey, Reminders};
use situation::{Situation, cause};

use crate::event::{Because, Event, EventKind};
use crate::health::{Health, Owner, Standing};
use crate::net::resolve;
use crate::settings;
use crate::spec::Spec;
use crate::value::{Change, DaemonStatus, Role, ServerAction, ServerChange, VirtualId};

/// The mail of a daemon.
pub struct Alerts {
    renderer: Renderer,
    queue: MailQueue,
    reminders: Reminders,
    outages: Outages,
    /// The name of the configuration.
    config: String,
    status: DaemonStatus,
    /// Fallback servers that were activated before all servers had been checked. Their mail is held back, as they may
    /// be deactivated at once.
    held: BTreeMap<VirtualId, String>,
}

/// The author of mail: this machine and the user of this process, found by uid and not by the environment (B33).
#[must_use]
pub fn renderer() -> Renderer {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let host = resolve::hostname().unwrap_or_else(|_| LOCALHOST.to_owned());
    let user = user.map_or_else(|| "root".to_owned(), |user| user.name);
    Renderer { domain: domain(&host).to_owned(), host, user }
}

const LOCALHOST: &str = "localhost";

/// The domain of mail addresses: the host name, unless it cannot be part of an address, such as `(none)`.
fn domain(host: &str) -> &str {
    if lettre::Address::new("root", host).is_ok() { host } else { LOCALHOST }
}

impl Alerts {
    /// Mail of a starting daemon. Without `sends` it is only logged. `config`: the name of the configuration.
    #[must_use]
    pub fn new(settings: settings::MailSettings, sends: bool, config: &str) -> Alerts {
        Alerts {
            renderer: renderer(),
            queue: MailQueue::new(settings, sends),
            reminders: Reminders::default(),
            outages: Outages::default(),
            config: config.to_owned(),
            status: DaemonStatus::Starting,
            held: BTreeMap::new(),
        }
    }

    /// Sets the status of the daemon. `Running` means that all servers have been checked: mail about fallback servers
    /// that are still active is then sent.
    pub fn set_status(&mut self, status: DaemonStatus, spec: &Spec, health: &Health, now: Instant) {
        let held = std::mem::take(&mut self.held);
        if status == DaemonStatus::Running && !held.is_empty() {
            let mut situation = Situation::new(spec, health, now);
            for (of, text) in held {
                self.send(&mut situation, of, &text, Some(ServerTransition::Other));
            }
        }
        self.status = status;
    }

    /// Applies a new configuration.
    pub fn set_spec(&mut self, spec: &Spec) {
        self.status = DaemonStatus::Reloading;
        self.reminders.set_spec(spec);
        self.outages.set_spec(spec);
    }

    /// Sends the alerts for these events.
    pub fn publish(&mut self, events: &[Event], spec: &Spec, health: &Health, now: Instant) {
        let mut situation = Situation::new(spec, health, now);
        for Event { service, server, kind } in events {
            if let EventKind::Table { change: Change::Server(change), because } = kind {
                if !self.hold(change) {
                    self.note(change, because.as_ref(), spec, now);
                    let course = self.course(change, &situation);
                    self.send(&mut situation, change.of, &change.to_string(), course);
                }
                continue;
            }
            let (Some(of), Some(address)) = (*service, *server) else { continue };
            let server = (of, address);
            self.note_outage(server, kind, &situation);
            match kind {
                kind if takes_out(kind) => {
                    let frequency = spec.virtual_of(of).map_or(Duration::ZERO, |v| v.alert.frequency);
                    self.reminders.down(server, frequency, now);
                }
                // A server that fails its first check was never in rotation, so there is no change of the table to
                // report (L01).
                EventKind::DownWithoutChange => {
                    let course = situation.out(server, self.outages.since(server), false);
                    self.send(&mut situation, of, &inaccessible(of, address), Some(course));
                }
                EventKind::Up { .. } | EventKind::OverrideEnded { state: Some(Standing::InRotation), .. } => {
                    self.reminders.over(server);
                }
                _ => {}
            }
        }
    }

    /// The number of queued messages, and of those that were dropped since the start.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.queue.counts()
    }

    /// When [`Alerts::remind`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reminders.poll_timeout()
    }

    /// Reminds the administrator of servers that are down.
    pub fn remind(&mut self, spec: &Spec, health: &Health, now: Instant) {
        let mut situation = Situation::new(spec, health, now);
        for (id, address) in self.reminders.take_due(now) {
            let course = situation.out((id, address), self.outages.since((id, address)), true);
            self.send(&mut situation, id, &inaccessible(id, address), Some(course));
        }
    }

    /// Sends the queued messages for at most this long, then drops and reports the rest.
    pub async fn finish(self, grace: Duration) {
        self.queue.finish(grace).await;
    }

    /// Whether mail about this change is held back: a fallback server is activated, or deactivated again, before all
    /// servers have been checked.
    fn hold(&mut self, change: &ServerChange) -> bool {
        if change.role != Role::Fallback {
            return false;
        }
        match (self.status, change.action) {
            (DaemonStatus::Starting | DaemonStatus::Reloading, ServerAction::Added(_)) => {
                self.held.insert(change.of, change.to_string());
                true
            }
            (_, ServerAction::Deleted) => self.held.remove(&change.of).is_some(),
            _ => false,
        }
    }

    fn note(&mut self, change: &ServerChange, because: Option<&Because>, spec: &Spec, now: Instant) {
        let often = spec.virtual_of(change.of).map_or(Duration::ZERO, |v| v.alert.frequency);
        let server = (change.of, change.configured.unwrap_or(change.server));
        match (change.role, change.action) {
            (Role::Fallback, _) => {}
            // Send no reminder to the operator who took the server out of rotation.
            _ if matches!(because, Some(Because::Overridden(Owner::Operator(_)))) => {
                self.reminders.over(server);
            }
            (Role::Real, ServerAction::Deleted | ServerAction::Quiescent) => {
                self.reminders.down(server, often, now);
            }
            // With weight 0 it is in the table but still down.
            (Role::Real, ServerAction::Added(0) | ServerAction::Restored(0)) => {}
            (Role::Real, ServerAction::Added(_) | ServerAction::Restored(_) | ServerAction::Purged(_)) => {
                self.reminders.over(server);
            }
        }
    }

    /// Remembers when and why a server leaves rotation.
    fn note_outage(&mut self, server: ReminderKey, kind: &EventKind, situation: &Situation<'_>) {
        let changes = matches!(
            kind,
            EventKind::Up { .. }
                | EventKind::Down { .. }
                | EventKind::Overridden { .. }
                | EventKind::OverrideEnded { .. }
        );
        let sends = || situation.spec.virtual_of(server.0).is_some_and(|v| !v.alert.recipients.is_empty());
        let state = if changes && sends() { situation.server(server) } else { None };
        match state {
            Some(state) if state.standing() == Standing::InRotation => {
                self.outages.end(server, situation.now);
            }
            Some(state) => self.outages.begin(server, state.since(), cause(state).unwrap_or_default()),
            None => {}
        }
    }

    /// What a change of the table means for its server. None if the server is no longer part of the service.
    fn course(&mut self, change: &ServerChange, situation: &Situation<'_>) -> Option<ServerTransition> {
        let server = (change.of, change.configured.unwrap_or(change.server));
        Some(match (change.role, change.action) {
            (_, ServerAction::Purged(_)) => return None,
            (Role::Fallback, _) => ServerTransition::Other,
            (
                Role::Real,
                ServerAction::Deleted
                | ServerAction::Quiescent
                | ServerAction::Added(0)
                | ServerAction::Restored(0),
            ) => situation.out(server, self.outages.since(server), false),
            (Role::Real, ServerAction::Added(_) | ServerAction::Restored(_)) => {
                match self.outages.take(server, situation.now) {
                    Some((after, cause)) => ServerTransition::Returned { after, cause },
                    None => ServerTransition::Other,
                }
            }
        })
    }

    /// Sends an alert: the original's lines, and below them what is known (R97), unless `course` is none.
    fn send(
        &mut self,
        situation: &mut Situation<'_>,
        of: VirtualId,
        text: &str,
        course: Option<ServerTransition>,
    ) {
        let spec = situation.spec;
        let from = spec.config().globals.emailalertfrom.as_deref();
        let message = spec.virtual_of(of).and_then(|v| self.renderer.message(v, from, self.status, text));
        let Some(mut message) = message else { return };
        if let Some(details) = course.and_then(|course| situation.details(of, course, &self.config)) {
            message.append(&details.text());
        }
        info!("emailalert: {text}");
        match Encoded::build(&message) {
            Ok((encoded, wrong)) => {
                for why in wrong {
                    warn!("emailalert: {why}");
                }
                self.queue.send(message.relay, encoded);
            }
            Err(error) => warn!("failed to send email message: {error}"),
        }
    }
}

/// Whether an event starts reminders about a server.
fn takes_out(kind: &EventKind) -> bool {
    match kind {
        EventKind::Down { .. } => true,
        EventKind::Overridden { decision, .. } => decision.owner == Owner::Maintenance,
        _ => false,
    }
}

fn inaccessible(id: VirtualId, address: SocketAddr) -> String {
    format!("Inaccessible real server: {address} ({id})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_proper_name_writes_all_the_same() {
        for (host, expected) in [
            ("director", "director"),
            ("director.example.net", "director.example.net"),
            ("(none)", "localhost"),
            ("", "localhost"),
            ("a b", "localhost"),
        ] {
            assert_eq!(domain(host), expected, "{host}");
        }
    }

    /// The operator who takes a server out is not reminded of it. Failures and maintenance are, until the server is in
    /// rotation again.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant is needed to count from")]
    fn no_reminder_of_what_an_operator_took_out() {
        let text =
            "emailalert=a@example.net\nemailalertfreq=60\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq 0\n";
        let spec = crate::daemon::test_spec(text);
        let (of, server) = ("tcp:10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let now = Instant::now();
        let health = Health::new(&spec, &std::collections::BTreeSet::new(), now);
        let reminds = |because: Option<Because>, then: Option<EventKind>| {
            let mut alerts = Alerts::new(settings::MailSettings::default(), false, "web.cf");
            let change = ServerChange {
                action: ServerAction::Deleted,
                role: Role::Real,
                server,
                configured: None,
                of,
            };
            let kind = EventKind::Table { change: Change::Server(change), because };
            let then = then.map(|kind| Event::of_server(of, server, kind));
            alerts.publish(&[Event::of_server(of, server, kind)], &spec, &health, now);
            alerts.publish(then.as_slice(), &spec, &health, now);
            alerts.poll_timeout().is_some()
        };
        let by = |owner| Some(Because::Overridden(owner));
        assert!(reminds(Some(Because::Down), None) && reminds(by(Owner::Maintenance), None));
        assert!(!reminds(by(Owner::Operator("anna".to_owned())), None));
        let ended = |state| EventKind::OverrideEnded {
            decision: std::sync::Arc::new(crate::health::Override {
                what: crate::health::What::Down,
                owner: Owner::Maintenance,
                reason: String::new(),
                since: now,
                until: None,
            }),
            ending: crate::health::Ending::Expired,
            state,
        };
        assert!(!reminds(Some(Because::Down), Some(ended(Some(Standing::InRotation)))));
        assert!(reminds(Some(Because::Down), Some(ended(Some(Standing::Out)))));
    }
}
