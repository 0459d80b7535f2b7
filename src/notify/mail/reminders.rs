//! Reminders: mail to the administrator about servers that are down, every `emailalertfreq` seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::spec::Spec;
use crate::value::VirtualId;

/// A server of a virtual service, with the configured address.
pub type ReminderKey = (VirtualId, SocketAddr);

/// The servers that are down and when each is reported again. Contains only servers of virtual services with an
/// `emailalertfreq`.
#[derive(Debug, Default)]
pub struct Reminders {
    down: BTreeMap<ReminderKey, Reminder>,
    /// The same servers by the time of the next reminder.
    queue: BTreeSet<(Instant, ReminderKey)>,
}

#[derive(Clone, Copy, Debug)]
struct Reminder {
    last: Instant,
    frequency: Duration,
}

impl Reminder {
    fn next(self) -> Instant {
        self.last + self.frequency
    }
}

impl Reminders {
    /// Starts reminders of a server whose failure is reported now: the next after `frequency`. Zero: none.
    pub fn down(&mut self, server: ReminderKey, frequency: Duration, now: Instant) {
        self.over(server);
        if !frequency.is_zero() {
            self.insert(server, Reminder { last: now, frequency });
        }
    }

    /// Ends the reminders of a server that is up or no longer ours.
    pub fn over(&mut self, server: ReminderKey) {
        if let Some(reminder) = self.down.remove(&server) {
            self.queue.remove(&(reminder.next(), server));
        }
    }

    /// Forgets servers that are no longer configured (B24), and uses the newly configured frequency for the others.
    pub fn set_spec(&mut self, spec: &Spec) {
        self.queue.clear();
        for ((id, address), reminder) in std::mem::take(&mut self.down) {
            let v = spec.virtual_of(id).filter(|v| v.reals.iter().any(|real| real.address == address));
            let frequency = v.map_or(Duration::ZERO, |v| v.alert.frequency);
            if !frequency.is_zero() {
                self.insert((id, address), Reminder { frequency, ..reminder });
            }
        }
    }

    /// When the next reminder is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// The servers to remind of now, sorted by id. Each then counts as reported.
    pub fn take_due(&mut self, now: Instant) -> Vec<ReminderKey> {
        let mut servers = Vec::new();
        while let Some((at, server)) = self.queue.first().copied().filter(|(at, _)| *at <= now) {
            self.queue.remove(&(at, server));
            servers.push(server);
        }
        servers.sort_unstable();
        for server in &servers {
            if let Some(reminder) = self.down.get(server).copied() {
                self.insert(*server, Reminder { last: now, ..reminder });
            }
        }
        servers
    }

    fn insert(&mut self, server: ReminderKey, reminder: Reminder) {
        self.down.insert(server, reminder);
        self.queue.insert((reminder.next(), server));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]

    use std::sync::Arc;

    use super::*;
    use crate::config::{self, Answers};

    fn spec(text: &str) -> Spec {
        let config = config::load(text.as_bytes(), &Answers::new("vm".to_owned())).config.unwrap();
        Spec::new(Arc::new(config))
    }

    const TWO: &str =
        "emailalertfreq=10\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n";

    #[test]
    fn servers_are_reported_again_until_they_are_up_or_gone() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let both = spec(TWO);
        let id = both.virtuals()[0].id;
        let (two, three) = ((id, "10.0.0.2:80".parse().unwrap()), (id, "10.0.0.3:80".parse().unwrap()));
        let often = both.virtuals()[0].alert.frequency;
        let mut reminders = Reminders::default();
        assert_eq!(reminders.poll_timeout(), None);
        reminders.down(two, often, now);
        reminders.down(three, often, later(5));
        assert_eq!(reminders.poll_timeout(), Some(later(10)));
        assert_eq!(reminders.take_due(later(9)), []);
        assert_eq!(reminders.take_due(later(10)), [two]);
        assert_eq!(reminders.take_due(later(20)), [two, three]);
        reminders.over(two);
        assert_eq!(reminders.take_due(later(40)), [three]);
        // A new file with another frequency.
        let slower = spec(&TWO.replace("=10\n", "=60\n"));
        reminders.set_spec(&slower);
        assert_eq!(reminders.poll_timeout(), Some(later(100)));
        // B24: no reminder of a server that is no longer configured.
        reminders.set_spec(&spec("emailalertfreq=10\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n"));
        assert_eq!(reminders.poll_timeout(), None);
    }

    #[test]
    fn without_a_frequency_there_is_no_reminder() {
        let spec = spec("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n");
        let v = &spec.virtuals()[0];
        let mut reminders = Reminders::default();
        reminders.down((v.id, "10.0.0.2:80".parse().unwrap()), v.alert.frequency, Instant::now());
        assert_eq!(reminders.poll_timeout(), None);
    }
}
