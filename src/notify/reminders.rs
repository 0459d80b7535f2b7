//! Dead servers are called to mind every `emailalertfreq` seconds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::plan::{Plan, Virtual};
use crate::value::VirtualId;

/// A server of a virtual; the address is that of the configuration.
pub type Server = (VirtualId, SocketAddr);

/// Who is dead, and when that is to be said again. Only servers of virtuals with an `emailalertfreq` stand here.
#[derive(Debug, Default)]
pub struct Reminders {
    dead: BTreeMap<Server, Reminder>,
    /// The earliest of all, kept since it is asked for at every turn of the loop.
    next: Option<Instant>,
}

#[derive(Debug)]
struct Reminder {
    last: Instant,
    frequency: Duration,
}

impl Reminders {
    /// A server is dead, which is said now, and again and again in this time; zero: not again.
    pub fn dead(&mut self, server: Server, frequency: Duration, now: Instant) {
        if !frequency.is_zero() {
            self.dead.insert(server, Reminder { last: now, frequency });
            self.plan_next();
        }
    }

    /// A server is back, or is none of ours any more.
    pub fn over(&mut self, server: Server) {
        if self.dead.remove(&server).is_some() {
            self.plan_next();
        }
    }

    /// Forgets servers that are not configured any more (B24), and takes over how often the others are called to mind now.
    pub fn replan(&mut self, plan: &Plan) {
        self.dead.retain(|(id, address), reminder| {
            let v = virtual_of(plan, *id).filter(|v| v.reals.iter().any(|real| real.address == *address));
            reminder.frequency = v.map_or(Duration::ZERO, |v| v.alert.frequency);
            !reminder.frequency.is_zero()
        });
        self.plan_next();
    }

    /// When somebody is to be reminded next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Of whom to remind now; each counts as said.
    pub fn take_due(&mut self, now: Instant) -> Vec<Server> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let mut servers = Vec::new();
        for (server, reminder) in &mut self.dead {
            if reminder.last + reminder.frequency <= now {
                reminder.last = now;
                servers.push(*server);
            }
        }
        self.plan_next();
        servers
    }

    fn plan_next(&mut self) {
        self.next = self.dead.values().map(|reminder| reminder.last + reminder.frequency).min();
    }
}

/// The virtual with this id.
pub(super) fn virtual_of(plan: &Plan, id: VirtualId) -> Option<&Virtual> {
    plan.virtuals().iter().find(|v| v.id == id)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]

    use std::sync::Arc;

    use super::*;
    use crate::config::{self, Answers};

    fn plan(text: &str) -> Plan {
        let config = config::load(text.as_bytes(), &Answers::new("vm".to_owned())).config.unwrap();
        Plan::new(Arc::new(config))
    }

    const TWO: &str =
        "emailalertfreq=10\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n";

    #[test]
    fn the_dead_are_called_to_mind_until_they_are_back_or_gone() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let both = plan(TWO);
        let id = both.virtuals()[0].id;
        let (two, three) = ((id, "10.0.0.2:80".parse().unwrap()), (id, "10.0.0.3:80".parse().unwrap()));
        let often = both.virtuals()[0].alert.frequency;
        let mut reminders = Reminders::default();
        assert_eq!(reminders.poll_timeout(), None);
        reminders.dead(two, often, now);
        reminders.dead(three, often, later(5));
        assert_eq!(reminders.poll_timeout(), Some(later(10)));
        assert_eq!(reminders.take_due(later(9)), []);
        assert_eq!(reminders.take_due(later(10)), [two]);
        assert_eq!(reminders.take_due(later(20)), [two, three]);
        reminders.over(two);
        assert_eq!(reminders.take_due(later(40)), [three]);
        // Another file, another rhythm.
        let slower = plan(&TWO.replace("=10\n", "=60\n"));
        reminders.replan(&slower);
        assert_eq!(reminders.poll_timeout(), Some(later(100)));
        // B24: a server that is not configured any more is none to be reminded of.
        reminders.replan(&plan("emailalertfreq=10\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n"));
        assert_eq!(reminders.poll_timeout(), None);
    }

    #[test]
    fn without_a_frequency_nobody_is_reminded() {
        let plan = plan("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n");
        let v = &plan.virtuals()[0];
        let mut reminders = Reminders::default();
        reminders.dead((v.id, "10.0.0.2:80".parse().unwrap()), v.alert.frequency, Instant::now());
        assert_eq!(reminders.poll_timeout(), None);
    }
}
