//! Overrides: set and ended by files in `maintenancedir` and by operators. Restored after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Director;
use crate::event::{Event, EventKind};
use crate::health::{Ending, Known, Override, Owner, ServerId, Standing, What};
use crate::spec::ServerRef;
use crate::value::VirtualId;

/// Maximum number of overrides: of one server in each of 20,000 virtual services. More could not be saved.
pub const MOST_OVERRIDES: usize = 20_000;

/// Why an operator's request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// No such real server in the requested virtual service, or in any.
    NoSuchServer {
        /// The server.
        server: SocketAddr,
        /// The requested service.
        service: Option<VirtualId>,
        /// The services that have the server.
        elsewhere: Vec<VirtualId>,
    },
    /// These virtual services would have no server in rotation.
    LastServer(Vec<VirtualId>),
    /// There would be more than [`MOST_OVERRIDES`].
    TooMany,
    /// The server has no override of an operator.
    NotOverridden,
    /// The same, and a file puts the server in maintenance. The reason names the file.
    InMaintenance(String),
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::NoSuchServer { server, service, elsewhere } => {
                match service {
                    None => write!(f, "no virtual service has the real server {server}")?,
                    Some(id) => write!(f, "{} does not have the real server {server}", id.qualified())?,
                }
                match &elsewhere[..] {
                    [] => f.write_str("; `show` lists all servers as ADDRESS:PORT"),
                    services => write!(f, "; it is in {}", names(services)),
                }
            }
            Objection::LastServer(services) => {
                write!(f, "{} would have no server in rotation; use --force to do it anyway", names(services))
            }
            Objection::TooMany => {
                write!(f, "there would be more than {MOST_OVERRIDES} overrides; undo some first")
            }
            Objection::InMaintenance(reason) => write!(
                f,
                "a file in maintenancedir puts this server in maintenance ({reason}); remove the file to end that"
            ),
            Objection::NotOverridden => f.write_str(
                "this server has no drain, down, up or weight to undo; `show` lists its state and why",
            ),
        }
    }
}

fn names(services: &[VirtualId]) -> String {
    let names: Vec<String> = services.iter().map(|id| id.qualified()).collect();
    names.join(", ")
}

impl Director {
    /// Puts servers in maintenance, by configured address and with a reason each. Ends the maintenance of all others.
    pub fn maintain(&mut self, servers: &BTreeMap<SocketAddr, String>, now: Instant) {
        let reason = |address| servers.get(&address).cloned();
        let transitions = self.health.maintain(&self.spec, reason, now);
        self.take_transitions(transitions);
        self.release_leaving(now);
    }

    /// Sets an override for a server in one virtual service, or in all that have it. Returns those services.
    ///
    /// # Errors
    /// There is no such server, or there are too many overrides. Or, without `force`: a service would lose its last
    /// server in rotation.
    pub fn override_server(
        &mut self,
        service: Option<VirtualId>,
        server: SocketAddr,
        decision: &Override,
        force: bool,
        now: Instant,
    ) -> Result<BTreeSet<VirtualId>, Objection> {
        let members = self.meant(service, server)?;
        let others = self.health.operator_overrides().filter(|(member, _)| !members.contains(member));
        if others.count() + members.len() > MOST_OVERRIDES {
            return Err(Objection::TooMany);
        }
        let configured = |member: &ServerRef| self.spec.member(*member).1.weight;
        let lost = match decision.what {
            // It ends an override of the weight, and the configured weight may be 0.
            What::Up => {
                let goes_out = |member: &&ServerRef| configured(member) == 0;
                self.lost_without(&members.iter().filter(goes_out).copied().collect::<Vec<_>>())
            }
            What::Drain | What::Down => self.lost_without(&members),
            // It goes out of rotation if this replaces an `up`, or with a percentage of a configured weight of 0.
            What::Weight(weight) => {
                let goes_out = |member: &&ServerRef| {
                    !self.health.server(**member).checked().is_up() || weight.of(configured(member)) == 0
                };
                self.lost_without(&members.iter().filter(goes_out).copied().collect::<Vec<_>>())
            }
        };
        if !force && !lost.is_empty() {
            return Err(Objection::LastServer(lost));
        }
        let set = |member: &ServerRef| self.health.set_override(*member, decision.clone(), now);
        let transitions = members.iter().flat_map(set).collect();
        self.take_transitions(transitions);
        self.overrides_changed = true;
        self.release_leaving(now);
        Ok(self.services_of(members))
    }

    /// Ends the override of a server in one virtual service, or in all. Returns those services.
    ///
    /// # Errors
    /// There is no such server, or no override to end.
    pub fn end_override(
        &mut self,
        service: Option<VirtualId>,
        server: SocketAddr,
        by: &Owner,
        now: Instant,
    ) -> Result<BTreeSet<VirtualId>, Objection> {
        let members = self.meant(service, server)?;
        let end = |member: &ServerRef| self.health.end_override(*member, Ending::Undone(by.clone()), now);
        let transitions: Vec<_> = members.iter().flat_map(end).collect();
        if transitions.is_empty() {
            let maintained = members.iter().map(|member| self.health.server(*member));
            let maintained = maintained.filter(|server| server.is_in_maintenance());
            let reason =
                maintained.filter_map(|server| server.overridden()).map(|by| by.reason.clone()).next();
            return Err(reason.map_or(Objection::NotOverridden, Objection::InMaintenance));
        }
        let ended: BTreeSet<ServerRef> = transitions.iter().map(|transition| transition.member).collect();
        self.take_transitions(transitions);
        self.overrides_changed = true;
        self.release_leaving(now);
        Ok(self.services_of(ended.iter().copied()))
    }

    /// Restores the overrides of an earlier run. Returns those that have expired or whose server no longer exists.
    pub fn restore_overrides(
        &mut self,
        overrides: Vec<(ServerId, Override)>,
        now: Instant,
    ) -> Vec<(ServerId, Override)> {
        let mut dropped = Vec::new();
        for (id, restored) in overrides {
            let members = self.staying(Some(id.0), id.1);
            if members.is_empty() || restored.until.is_some_and(|until| until <= now) {
                dropped.push((id, restored));
                continue;
            }
            let set = |member: &ServerRef| self.health.set_override(*member, restored.clone(), now);
            let transitions = members.iter().flat_map(set).collect();
            self.take_transitions(transitions);
        }
        self.report_rotation();
        self.overrides_changed |= !dropped.is_empty();
        dropped
    }

    /// Whether a server is in maintenance in any virtual service.
    #[must_use]
    pub fn is_in_maintenance(&self, server: SocketAddr) -> bool {
        self.staying(None, server).iter().any(|member| self.health.server(*member).is_in_maintenance())
    }

    /// All overrides of operators, by server.
    #[must_use]
    pub fn overrides(&self) -> BTreeMap<ServerId, Arc<Override>> {
        let id = |member| {
            let (v, real) = self.spec.member(member);
            (v.id, real.address)
        };
        self.health
            .operator_overrides()
            .map(|(member, decision)| (id(member), Arc::clone(decision)))
            .collect()
    }

    /// The state of all servers, for the next daemon.
    #[must_use]
    pub fn known(&self) -> BTreeMap<ServerId, Known> {
        let known = |member| {
            let (v, real) = self.spec.member(member);
            ((v.id, real.address), self.health.known(member))
        };
        self.spec.members().filter(|member| !self.spec.is_leaving(*member)).map(known).collect()
    }

    /// Takes the state of servers from the previous daemon.
    pub fn know(&mut self, all: &[(ServerId, Known)]) {
        let all: BTreeMap<ServerId, Known> = all.iter().copied().collect();
        for member in self.spec.members() {
            let (v, real) = self.spec.member(member);
            if let Some(known) = all.get(&(v.id, real.address)) {
                self.health.know(member, *known);
            }
        }
    }

    /// Whether overrides may have changed since the last call.
    pub fn take_overrides_changed(&mut self) -> bool {
        std::mem::take(&mut self.overrides_changed)
    }

    /// Reports the overrides that a reload ended with their servers.
    pub(super) fn report_removed(&mut self, before: BTreeMap<ServerId, Arc<Override>>) {
        let after = self.overrides();
        for ((service, server), ended) in before.into_iter().filter(|(id, _)| !after.contains_key(id)) {
            let (ending, state) = (Ending::Removed, None);
            let kind = EventKind::OverrideEnded { decision: ended, ending, state };
            self.events.push(Event::of_server(service, server, kind));
        }
    }

    pub(super) fn expire_overrides(&mut self, now: Instant) {
        let transitions = self.health.expire_overrides(now);
        self.overrides_changed |= !transitions.is_empty();
        self.take_transitions(transitions);
    }

    /// The `real=` lines that name a server, without leaving servers. At least one.
    fn meant(&self, service: Option<VirtualId>, server: SocketAddr) -> Result<Vec<ServerRef>, Objection> {
        let members = self.staying(service, server);
        if members.is_empty() { Err(self.no_such_server(service, server)) } else { Ok(members) }
    }

    fn staying(&self, service: Option<VirtualId>, server: SocketAddr) -> Vec<ServerRef> {
        let mut lines = self.lines_of(service, server);
        lines.retain(|member| !self.spec.is_leaving(*member));
        lines
    }

    /// The servers in the state of this director with this address, also those that are leaving. At least one.
    ///
    /// # Errors
    /// There is no such server.
    pub fn find_server(
        &self,
        service: Option<VirtualId>,
        server: SocketAddr,
    ) -> Result<Vec<ServerRef>, Objection> {
        let mut lines = self.lines_of(service, server);
        lines.retain(|member| !self.health.server(*member).has_gone());
        if lines.is_empty() { Err(self.no_such_server(service, server)) } else { Ok(lines) }
    }

    fn lines_of(&self, service: Option<VirtualId>, server: SocketAddr) -> Vec<ServerRef> {
        let all = 0..self.spec.virtuals().len();
        let services = match service {
            None => all,
            Some(id) => self.spec.virtual_index(id).map_or(0..0, |index| index..index + 1),
        };
        let lines = services.flat_map(|virtual_index| {
            let reals = 0..self.spec.virtuals()[virtual_index].reals.len();
            reals.map(move |real_index| ServerRef { virtual_index, real_index })
        });
        lines.filter(|member| self.spec.member(*member).1.address == server).collect()
    }

    fn no_such_server(&self, service: Option<VirtualId>, server: SocketAddr) -> Objection {
        let elsewhere = self.services_of(self.staying(None, server)).into_iter().collect();
        Objection::NoSuchServer { server, service, elsewhere }
    }

    /// The services that would lose their last server in rotation without these servers.
    fn lost_without(&self, members: &[ServerRef]) -> Vec<VirtualId> {
        let services: BTreeSet<usize> = members.iter().map(|member| member.virtual_index).collect();
        let takes_traffic = |member: &ServerRef| {
            self.health.weight(&self.spec, *member) > 0
                && self.health.standing(&self.spec, *member) == Standing::InRotation
        };
        let is_lost = |virtual_index: &usize| {
            let reals = 0..self.spec.virtuals()[*virtual_index].reals.len();
            let all = reals.map(|real_index| ServerRef { virtual_index: *virtual_index, real_index });
            let taking: Vec<ServerRef> = all.filter(takes_traffic).collect();
            let is_hit = |member: &ServerRef| {
                members.contains(member) || self.spec.twins(*member).iter().any(|twin| members.contains(twin))
            };
            !taking.is_empty() && taking.iter().all(is_hit)
        };
        services.into_iter().filter(is_lost).map(|index| self.spec.virtuals()[index].id).collect()
    }

    fn services_of(&self, members: impl IntoIterator<Item = ServerRef>) -> BTreeSet<VirtualId> {
        members.into_iter().map(|member| self.spec.member(member).0.id).collect()
    }
}
