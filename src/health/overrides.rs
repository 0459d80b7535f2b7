//! What somebody decided about a server, whatever its check finds: a file in `maintenancedir`, or an operator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::decision::{Ending, Override, Owner, What};
use super::server::Checked;
use super::{Event, Health, Transition};
use crate::plan::{Member, Plan};

impl Health {
    /// Takes servers out for maintenance, each with the reason that `wanted` gives; all others return, and are checked at once.
    pub fn maintain(
        &mut self,
        plan: &Plan,
        wanted: impl Fn(SocketAddr) -> Option<String>,
        now: Instant,
    ) -> Vec<Transition> {
        let (mut transitions, mut back) = (Vec::new(), Vec::new());
        for member in plan.members() {
            let reason = wanted(plan.member(member).1.address);
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
                    transitions.push(Transition { member, event: Event::Overridden(decision) });
                }
                (None, Some(decision)) => {
                    // It was not checked meanwhile, so that nothing is known of it.
                    server.change(now, |server| {
                        server.overrides.maintenance = None;
                        (server.checked, server.verdict) = (Checked::Unseen { adopted: false }, None);
                        server.judged_at = now;
                    });
                    if let Some(check) = plan.check_index(member).filter(|_| server.leaves_at.is_none()) {
                        back.push(check);
                    }
                    if !self.server(member).has_gone() {
                        let ending = Ending::Undone(Owner::Maintenance);
                        let event = Event::OverrideEnded { decision, ending };
                        transitions.push(Transition { member, event });
                    }
                }
                _ => {}
            }
        }
        self.schedule.hurry(back, now);
        transitions
    }

    /// An operator decides about a server, instead of what one decided before.
    pub fn set_override(&mut self, member: Member, decision: Override, now: Instant) -> Transition {
        let decision = Arc::new(decision);
        self.server_mut(member).change(now, |server| server.overrides.operator = Some(Arc::clone(&decision)));
        self.overridden.insert(member);
        Transition { member, event: Event::Overridden(decision) }
    }

    /// Ends what an operator decided; none where nothing was.
    pub fn end_override(&mut self, member: Member, ending: Ending, now: Instant) -> Option<Transition> {
        self.overridden.remove(&member);
        let decision = self.server_mut(member).change(now, |server| server.overrides.operator.take())?;
        Some(Transition { member, event: Event::OverrideEnded { decision, ending } })
    }

    /// Ends the decisions of operators whose time is over.
    pub fn expire_overrides(&mut self, now: Instant) -> Vec<Transition> {
        let is_over = |decision: &Override| decision.until.is_some_and(|until| until <= now);
        let over: Vec<Member> = self
            .operator_overrides()
            .filter(|(_, decision)| is_over(decision))
            .map(|(member, _)| member)
            .collect();
        over.into_iter().filter_map(|member| self.end_override(member, Ending::Expired, now)).collect()
    }

    /// When the next decision of an operator ends by itself.
    #[must_use]
    pub fn overrides_end_at(&self) -> Option<Instant> {
        self.operator_overrides().filter_map(|(_, decision)| decision.until).min()
    }

    /// What operators decided.
    pub fn operator_overrides(&self) -> impl Iterator<Item = (Member, &Arc<Override>)> + '_ {
        let decision = |member: &Member| Some((*member, self.server(*member).overrides.operator.as_ref()?));
        self.overridden.iter().filter_map(decision)
    }
}
