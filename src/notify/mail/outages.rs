//! Remembers why and since when servers are out of rotation, for the mail about their return.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::reminders::ReminderKey;
use crate::spec::Spec;

/// The servers that are out of rotation, and those that return and have no mail about it yet. Contains only servers of
/// virtual services that send mail.
#[derive(Debug, Default)]
pub(super) struct Outages(BTreeMap<ReminderKey, Outage>);

#[derive(Debug)]
struct Outage {
    since: Instant,
    ended: Option<Instant>,
    cause: String,
}

impl Outages {
    /// A server leaves rotation. The cause of an outage that lasts does not change.
    pub(super) fn begin(&mut self, server: ReminderKey, since: Instant, cause: String) {
        let begun = self.0.get(&server).is_some_and(|outage| outage.ended.is_none());
        if !begun {
            self.0.insert(server, Outage { since, ended: None, cause });
        }
    }

    /// A server returns to rotation.
    pub(super) fn end(&mut self, server: ReminderKey, now: Instant) {
        if let Some(outage) = self.0.get_mut(&server) {
            outage.ended.get_or_insert(now);
        }
    }

    /// The duration and the cause of an outage that is over. Forgets it.
    pub(super) fn take(&mut self, server: ReminderKey, now: Instant) -> Option<(Duration, String)> {
        let Outage { since, ended, cause } = self.0.remove(&server)?;
        Some((ended.unwrap_or(now).saturating_duration_since(since), cause))
    }

    /// Since when a server is out of rotation.
    pub(super) fn since(&self, server: ReminderKey) -> Option<Instant> {
        self.0.get(&server).filter(|outage| outage.ended.is_none()).map(|outage| outage.since)
    }

    /// Forgets servers that are no longer configured.
    pub(super) fn set_spec(&mut self, spec: &Spec) {
        let is_configured = |(id, address): &ReminderKey| {
            spec.virtual_of(*id).is_some_and(|v| v.reals.iter().any(|real| real.address == *address))
        };
        self.0.retain(|server, _| is_configured(server));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]

    use super::*;

    #[test]
    fn an_outage_lasts_from_its_begin_to_its_end() {
        let server: ReminderKey = ("tcp:10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut outages = Outages::default();
        assert_eq!(outages.take(server, at(0)), None);
        outages.begin(server, at(0), "refused".to_owned());
        outages.begin(server, at(5), "no answer".to_owned());
        assert_eq!(outages.since(server), Some(at(0)));
        outages.end(server, at(60));
        assert_eq!(outages.since(server), None);
        assert_eq!(outages.take(server, at(61)), Some((Duration::from_secs(60), "refused".to_owned())));
        assert_eq!(outages.take(server, at(61)), None);
        // It returned without a mail, and failed again.
        outages.begin(server, at(70), "refused".to_owned());
        outages.end(server, at(80));
        outages.begin(server, at(90), "no answer".to_owned());
        assert_eq!(outages.take(server, at(100)), Some((Duration::from_secs(10), "no answer".to_owned())));
    }

    #[test]
    fn servers_that_are_no_longer_configured_are_forgotten() {
        let text = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n";
        let id = "tcp:10.0.0.1:80".parse().unwrap();
        let (two, three) = ((id, "10.0.0.2:80".parse().unwrap()), (id, "10.0.0.3:80".parse().unwrap()));
        let (now, mut outages) = (Instant::now(), Outages::default());
        outages.begin(two, now, String::new());
        outages.begin(three, now, String::new());
        outages.set_spec(&crate::daemon::test_spec(&text.replace("\treal=10.0.0.2:80 masq\n", "")));
        assert_eq!((outages.since(two), outages.since(three)), (None, Some(now)));
    }
}
