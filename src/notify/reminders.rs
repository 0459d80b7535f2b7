//! Dead servers are called to mind every `emailalertfreq` seconds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use crate::plan::{Plan, Virtual};
use crate::value::VirtualId;

/// A server of a virtual; the address is that of the configuration.
pub type Server = (VirtualId, SocketAddr);

/// Who is dead, and when that was last said.
#[derive(Debug, Default)]
pub struct Reminders {
    last: BTreeMap<Server, Instant>,
}

impl Reminders {
    /// A server is dead, which is said now.
    pub fn dead(&mut self, server: Server, now: Instant) {
        self.last.insert(server, now);
    }

    /// A server is back, or is none of ours any more.
    pub fn over(&mut self, server: Server) {
        self.last.remove(&server);
    }

    /// Forgets servers that are not configured any more (B24).
    pub fn retain(&mut self, plan: &Plan) {
        self.last.retain(|(id, address), _| {
            virtual_of(plan, *id).is_some_and(|v| v.reals.iter().any(|real| real.address == *address))
        });
    }

    /// When somebody is to be reminded next.
    #[must_use]
    pub fn poll_timeout(&self, plan: &Plan) -> Option<Instant> {
        self.last.iter().filter_map(|((id, _), last)| due(plan, *id, *last)).min()
    }

    /// Of whom to remind now; each counts as said.
    pub fn take_due(&mut self, plan: &Plan, now: Instant) -> Vec<Server> {
        let mut servers = Vec::new();
        for ((id, address), last) in &mut self.last {
            if due(plan, *id, *last).is_some_and(|at| at <= now) {
                *last = now;
                servers.push((*id, *address));
            }
        }
        servers
    }
}

fn due(plan: &Plan, id: VirtualId, last: Instant) -> Option<Instant> {
    let frequency = virtual_of(plan, id)?.alert.frequency;
    (!frequency.is_zero()).then(|| last + frequency)
}

/// The virtual with this id.
pub(super) fn virtual_of(plan: &Plan, id: VirtualId) -> Option<&Virtual> {
    plan.virtuals().iter().find(|v| v.id == id)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]

    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::{self, Answers};

    fn plan(text: &str) -> Plan {
        let config = config::load(text.as_bytes(), &Answers::new("vm".to_owned())).config.unwrap();
        Plan::new(Arc::new(config)).unwrap()
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
        let mut reminders = Reminders::default();
        assert_eq!(reminders.poll_timeout(&both), None);
        reminders.dead(two, now);
        reminders.dead(three, later(5));
        assert_eq!(reminders.poll_timeout(&both), Some(later(10)));
        assert_eq!(reminders.take_due(&both, later(9)), []);
        assert_eq!(reminders.take_due(&both, later(10)), [two]);
        assert_eq!(reminders.take_due(&both, later(20)), [two, three]);
        reminders.over(two);
        assert_eq!(reminders.take_due(&both, later(40)), [three]);
        // B24: a server that is not configured any more is none to be reminded of.
        let one = plan("emailalertfreq=10\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n");
        reminders.retain(&one);
        assert_eq!(reminders.poll_timeout(&both), None);
    }

    #[test]
    fn without_a_frequency_nobody_is_reminded() {
        let plan = plan("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n");
        let mut reminders = Reminders::default();
        reminders.dead((plan.virtuals()[0].id, "10.0.0.2:80".parse().unwrap()), Instant::now());
        assert_eq!(reminders.poll_timeout(&plan), None);
    }
}
