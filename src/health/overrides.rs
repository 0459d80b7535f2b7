//! Sets and ends overrides: by files in `maintenancedir`, and by operators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::decision::{Ending, Override, Owner, What};
use super::server::{Checked, ServerHealth};
use super::{Health, HealthEvent, Transition};
use crate::spec::{ServerRef, Spec};

impl Health {
    /// Puts servers in maintenance, each with the reason that `wanted` gives. Ends the maintenance of all others
    /// and checks them at once.
    pub fn maintain(
        &mut self,
        spec: &Spec,
        wanted: impl Fn(SocketAddr) -> Option<String>,
        now: Instant,
    ) -> Vec<Transition> {
        let (mut transitions, mut back) = (Vec::new(), Vec::new());
        for member in spec.members() {
            let reason = wanted(spec.member(member).1.address);
            let server = self.server_mut(member);
            match (reason, server.overrides.maintenance.clone()) {
                (Some(reason), None) => {
                    let decision = Arc::new(Override {
                        what: What::Down,
                        owner: Owner::Maintenance,
                        reason,
                        since: now,
                        until: None,
                    });
                    server.change(now, |server| {
                        server.overrides.maintenance = Some(Arc::clone(&decision));
                        if server.leaves_at.is_some() {
                            server.checked = server.checked.taken_down();
                        }
                    });
                    transitions.push(Transition { member, event: HealthEvent::Overridden(decision) });
                }
                (None, Some(decision)) => {
                    // It was not checked during maintenance, so its state is unknown.
                    server.change(now, |server| {
                        server.overrides.maintenance = None;
                        (server.checked, server.verdict) = (Checked::Unseen { adopted: false }, None);
                        server.judged_at = now;
                    });
                    if let Some(check) = spec.check_index(member).filter(|_| server.leaves_at.is_none()) {
                        back.push(check);
                    }
                    if !self.server(member).has_gone() {
                        let ending = Ending::Undone(Owner::Maintenance);
                        let event = HealthEvent::OverrideEnded { decision, ending };
                        transitions.push(Transition { member, event });
                    }
                }
                _ => {}
            }
        }
        self.schedule.hurry(back, now);
        transitions
    }

    /// Sets the override of an operator. It replaces an earlier one. If the check has marked the server down during
    /// that, and its standing follows the check now, that is reported.
    pub fn set_override(&mut self, member: ServerRef, new: Override, now: Instant) -> Vec<Transition> {
        let new = Arc::new(new);
        self.overridden.insert(member);
        self.next_expiry = [self.next_expiry, new.until].into_iter().flatten().min();
        let replace = |server: &mut ServerHealth| server.overrides.operator.replace(Arc::clone(&new));
        let replaced = self.server_mut(member).change(now, replace);
        let hid_check = replaced.as_ref().is_some_and(|decision| decision.what.replaces_check());
        let down = self.server(member).unreported().filter(|_| hid_check).map(HealthEvent::Down);
        let ended = replaced.map(|decision| {
            let ending = Ending::Replaced(new.owner.clone());
            HealthEvent::OverrideEnded { decision, ending }
        });
        let events = [ended, Some(HealthEvent::Overridden(new)), down];
        events.into_iter().flatten().map(|event| Transition { member, event }).collect()
    }

    /// Ends the override of an operator. Returns nothing if there was none. If the check has marked the server
    /// down, that is reported again with its reason.
    pub fn end_override(&mut self, member: ServerRef, ending: Ending, now: Instant) -> Vec<Transition> {
        self.overridden.remove(&member);
        let server = self.server_mut(member);
        let Some(ended) = server.change(now, |server| server.overrides.operator.take()) else {
            return Vec::new();
        };
        let down = server.unreported().filter(|_| ended.what.replaces_check()).map(HealthEvent::Down);
        let events = [Some(HealthEvent::OverrideEnded { decision: ended, ending }), down];
        events.into_iter().flatten().map(|event| Transition { member, event }).collect()
    }

    /// Ends the overrides of operators that have expired.
    pub fn expire_overrides(&mut self, now: Instant) -> Vec<Transition> {
        if self.next_expiry.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let is_over = |found: &Override| found.until.is_some_and(|until| until <= now);
        let over = self.operator_overrides().filter(|(_, found)| is_over(found)).map(|(member, _)| member);
        let over: Vec<ServerRef> = over.collect();
        let end = |member| self.end_override(member, Ending::Expired, now);
        let transitions = over.into_iter().flat_map(end).collect();
        self.find_next_expiry();
        transitions
    }

    /// When the next override of an operator expires.
    #[must_use]
    pub fn overrides_end_at(&self) -> Option<Instant> {
        self.next_expiry
    }

    pub(super) fn find_next_expiry(&mut self) {
        self.next_expiry = self.operator_overrides().filter_map(|(_, found)| found.until).min();
    }

    /// All overrides of operators.
    pub fn operator_overrides(&self) -> impl Iterator<Item = (ServerRef, &Arc<Override>)> + '_ {
        let decision =
            |member: &ServerRef| Some((*member, self.server(*member).overrides.operator.as_ref()?));
        self.overridden.iter().filter_map(decision)
    }
}
