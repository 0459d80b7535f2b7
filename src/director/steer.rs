//! What others decide about servers: files in `maintenancedir`, and operators.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Director;
use crate::health::{Ending, Known, Override, Owner, ServerId, Standing, What};
use crate::plan::Member;
use crate::value::VirtualId;

/// Why an operator's decision is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// No virtual service that was meant has this server.
    NoSuchServer,
    /// These services would have no server left.
    LastServer(Vec<VirtualId>),
    /// No operator decided anything about this server.
    NotOverridden,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::NoSuchServer => f.write_str("no such real server; `show` lists them"),
            Objection::LastServer(services) => {
                let names: Vec<String> = services.iter().map(|id| id.qualified()).collect();
                write!(
                    f,
                    "that would leave {} without a server; --force does it all the same",
                    names.join(", ")
                )
            }
            Objection::NotOverridden => {
                f.write_str("nothing was decided about this server; `show` says what it does and why")
            }
        }
    }
}

impl Director {
    /// Takes servers out for maintenance, by their configured addresses and with the reason of each; all others return.
    pub fn maintain(&mut self, servers: &BTreeMap<SocketAddr, String>, now: Instant) {
        let reason = |address| servers.get(&address).cloned();
        let transitions = self.health.maintain(&self.plan, reason, now);
        self.take_transitions(transitions);
        self.release_leaving(now);
    }

    /// Decides about a server of one virtual service, or of all. Gives the services that it concerns.
    ///
    /// # Errors
    /// When there is no such server, and without `force` when a service that has a server in rotation would have none.
    pub fn override_server(
        &mut self,
        service: Option<VirtualId>,
        server: SocketAddr,
        decision: &Override,
        force: bool,
        now: Instant,
    ) -> Result<BTreeSet<VirtualId>, Objection> {
        let members = self.meant(service, server);
        if members.is_empty() {
            return Err(Objection::NoSuchServer);
        }
        let lost = self.lost_without(&members);
        if decision.what != What::Up && !force && !lost.is_empty() {
            return Err(Objection::LastServer(lost));
        }
        let transitions =
            members.iter().map(|member| self.health.set_override(*member, decision.clone(), now)).collect();
        self.take_transitions(transitions);
        self.overrides_changed = true;
        self.release_leaving(now);
        Ok(self.services_of(&members))
    }

    /// Ends what operators decided about a server of one virtual service, or of all. Gives the services that it concerns.
    ///
    /// # Errors
    /// When there is no such server, or nothing to end.
    pub fn end_override(
        &mut self,
        service: Option<VirtualId>,
        server: SocketAddr,
        by: &Owner,
        now: Instant,
    ) -> Result<BTreeSet<VirtualId>, Objection> {
        let members = self.meant(service, server);
        if members.is_empty() {
            return Err(Objection::NoSuchServer);
        }
        let end = |member: &Member| self.health.end_override(*member, Ending::Undone(by.clone()), now);
        let transitions: Vec<_> = members.iter().filter_map(end).collect();
        if transitions.is_empty() {
            return Err(Objection::NotOverridden);
        }
        let ended: Vec<Member> = transitions.iter().map(|transition| transition.member).collect();
        self.take_transitions(transitions);
        self.overrides_changed = true;
        self.release_leaving(now);
        Ok(self.services_of(&ended))
    }

    /// Takes over what operators decided in an earlier run. What concerns servers that are no longer there is forgotten.
    pub fn restore_overrides(&mut self, decisions: Vec<(ServerId, Override)>, now: Instant) {
        for ((service, server), decision) in decisions {
            let members = self.meant(Some(service), server);
            let set = |member: &Member| self.health.set_override(*member, decision.clone(), now);
            let transitions = members.iter().map(set).collect();
            self.take_transitions(transitions);
        }
        self.overrides_changed = true;
    }

    /// What operators decided, by server.
    #[must_use]
    pub fn overrides(&self) -> BTreeMap<ServerId, Arc<Override>> {
        let id = |member| {
            let (v, real) = self.plan.member(member);
            (v.id, real.address)
        };
        self.health
            .operator_overrides()
            .map(|(member, decision)| (id(member), Arc::clone(decision)))
            .collect()
    }

    /// What the next daemon should know of the servers.
    #[must_use]
    pub fn known(&self) -> BTreeMap<ServerId, Known> {
        let known = |member| {
            let (v, real) = self.plan.member(member);
            ((v.id, real.address), self.health.known(member))
        };
        self.plan.members().filter(|member| !self.plan.is_leaving(*member)).map(known).collect()
    }

    /// What the daemon before knew of them.
    pub fn know(&mut self, all: &[(ServerId, Known)]) {
        let all: BTreeMap<ServerId, Known> = all.iter().copied().collect();
        for member in self.plan.members() {
            let (v, real) = self.plan.member(member);
            if let Some(known) = all.get(&(v.id, real.address)) {
                self.health.know(member, *known);
            }
        }
    }

    /// Whether what operators decided may be another since the last call.
    pub fn take_overrides_changed(&mut self) -> bool {
        std::mem::take(&mut self.overrides_changed)
    }

    pub(super) fn expire_overrides(&mut self, now: Instant) {
        let transitions = self.health.expire_overrides(now);
        self.overrides_changed |= !transitions.is_empty();
        self.take_transitions(transitions);
    }

    /// The lines of the configuration that name a server, but for those that are leaving.
    fn meant(&self, service: Option<VirtualId>, server: SocketAddr) -> Vec<Member> {
        let is_meant = |member: &Member| {
            let (v, real) = self.plan.member(*member);
            real.address == server
                && service.is_none_or(|service| service == v.id)
                && !self.plan.is_leaving(*member)
        };
        self.plan.members().filter(is_meant).collect()
    }

    /// The services that have a server in rotation, and none without these.
    fn lost_without(&self, members: &[Member]) -> Vec<VirtualId> {
        let services: BTreeSet<usize> = members.iter().map(|member| member.virtual_index).collect();
        let takes_traffic = |member: &Member| {
            self.plan.member(*member).1.weight > 0
                && self.health.standing(&self.plan, *member) == Standing::InRotation
        };
        let is_lost = |virtual_index: &usize| {
            let reals = 0..self.plan.virtuals()[*virtual_index].reals.len();
            let all = reals.map(|real_index| Member { virtual_index: *virtual_index, real_index });
            let taking: Vec<Member> = all.filter(takes_traffic).collect();
            !taking.is_empty() && taking.iter().all(|member| members.contains(member))
        };
        services.into_iter().filter(is_lost).map(|index| self.plan.virtuals()[index].id).collect()
    }

    fn services_of(&self, members: &[Member]) -> BTreeSet<VirtualId> {
        members.iter().map(|member| self.plan.member(*member).0.id).collect()
    }
}
