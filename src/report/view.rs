//! The state at one moment as typed values, one for each virtual service. Readers get it, and all renderings are
//! made from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ipvs_rs::{DestinationConfig, DestinationKey, Table};
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use crate::desired;
use crate::health::{Checked, Health, Override, What};
use crate::spec::{CheckKey, ServerRef, Spec};
use crate::value::{ForwardingMethod, Outcome, Verdict, VirtualId};

/// All virtual services of a daemon at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The name of the daemon. Empty for `check`.
    pub name: Arc<str>,
    /// The path of its configuration. Empty for a single look.
    pub config: Arc<str>,
    /// The time of the view.
    pub at: Moment,
    /// In the order of the file.
    pub services: Arc<[Arc<ServiceView>]>,
    /// The number of checks that began more than one interval late, since the start of the daemon.
    pub late_checks: u64,
    /// Services of the file that other daemons own, with the name of the owner.
    pub elsewhere: Vec<(VirtualId, String)>,
}

/// One virtual service.
#[derive(Clone, Debug)]
pub struct ServiceView {
    /// Its id.
    pub id: VirtualId,
    /// The scheduler's name.
    pub scheduler: String,
    /// `servicename`
    pub name: Option<String>,
    /// The configured fallback.
    pub fallback: Option<SocketAddr>,
    /// Failed checks in a row after which a server is marked down.
    pub failurecount: u32,
    /// Its real servers, in the order of the file.
    pub servers: Vec<ServerView>,
    /// Its destinations in the table. `None` if the table was not read.
    pub destinations: Option<Vec<DestinationView>>,
}

/// One real server of a virtual service.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// Address and port as configured.
    pub address: SocketAddr,
    /// The forwarding method.
    pub method: ForwardingMethod,
    /// The configured weight.
    pub weight: u32,
    /// Its state.
    pub state: ShownState,
    /// The override in force.
    pub overridden: Option<Arc<Override>>,
    /// When its standing last changed.
    pub since: Instant,
    /// Consecutive failed checks.
    pub failures: u32,
    /// Its check. `None` for `checktype=off`.
    pub check: Option<Arc<CheckKey>>,
    /// The last verdict. `None` before the first.
    pub verdict: Option<Arc<Verdict>>,
}

/// The state of a server, as shown to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShownState {
    /// It is in rotation.
    Up,
    /// It is out of rotation.
    Down,
    /// It is never checked (`checktype=off`) and never up.
    Off,
    /// It has not been checked yet, or its checks are not possible.
    Unknown,
    /// A file in `maintenancedir` put it in maintenance.
    Maintenance,
    /// An operator drains it: it receives no new connections.
    Draining,
    /// It is no longer in the configuration and stays until another server is up.
    Leaving,
}

/// One destination of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationView {
    /// Address and port.
    pub key: DestinationKey,
    /// Its weight, method and thresholds.
    pub config: DestinationConfig,
    /// Its role.
    pub role: DestinationRole,
}

/// The role of a destination of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationRole {
    /// A real server of the configuration.
    Server,
    /// The fallback.
    Fallback,
    /// Neither: another program added it, or an earlier configuration had it.
    Other,
}

impl ShownState {
    /// Whether a server in this state can get new connections.
    #[must_use]
    pub fn can_be_in_rotation(self) -> bool {
        match self {
            ShownState::Up | ShownState::Unknown | ShownState::Leaving => true,
            ShownState::Down | ShownState::Draining | ShownState::Maintenance | ShownState::Off => false,
        }
    }
}

impl View {
    /// Creates a view of all services.
    #[must_use]
    pub fn of(spec: &Spec, health: &Health, table: &Table, now: Moment) -> View {
        let services = (0..spec.virtuals().len()).map(|index| Arc::new(service(spec, health, table, index)));
        View {
            name: Arc::from(""),
            config: Arc::from(""),
            at: now,
            services: services.collect(),
            late_checks: health.late_checks(),
            elsewhere: Vec::new(),
        }
    }
}

/// Creates the view of one virtual service, by index in the spec.
#[must_use]
pub fn service(spec: &Spec, health: &Health, table: &Table, virtual_index: usize) -> ServiceView {
    let v = &spec.virtuals()[virtual_index];
    let members = (0..v.reals.len()).map(|real_index| ServerRef { virtual_index, real_index });
    let present = table.services.get(&desired::service_key(v.id));
    let destinations = present.into_iter().flat_map(|service| &service.destinations);
    let role = |key: &DestinationKey| {
        let mut servers = spec.servers_at(virtual_index, SocketAddr::new(key.address, key.port));
        if servers.next().is_some() {
            DestinationRole::Server
        } else if desired::fallback_key(v) == Some(*key) {
            DestinationRole::Fallback
        } else {
            DestinationRole::Other
        }
    };
    ServiceView {
        id: v.id,
        scheduler: v.scheduling.scheduler.clone(),
        name: v.notes.servicename.clone().filter(|name| !name.is_empty()),
        fallback: desired::fallback_key(v).map(|key| SocketAddr::new(key.address, key.port)),
        failurecount: v.failurecount,
        servers: members
            .filter(|member| !health.server(*member).has_gone())
            .map(|member| server(spec, health, member))
            .collect(),
        destinations: Some(
            destinations
                .map(|(key, config)| DestinationView { key: *key, config: *config, role: role(key) })
                .collect(),
        ),
    }
}

/// Whether a real server of a virtual service gets new connections: what `is-up` reports, without text.
#[must_use]
pub fn any_in_rotation(spec: &Spec, health: &Health, table: &Table, virtual_index: usize) -> bool {
    let v = &spec.virtuals()[virtual_index];
    let Some(present) = table.services.get(&desired::service_key(v.id)) else { return false };
    let takes_traffic = |(real_index, real)| {
        let member = ServerRef { virtual_index, real_index };
        let has_weight = |found: &DestinationConfig| found.weight > 0;
        !health.server(member).has_gone()
            && present.destinations.get(&desired::real_key(v, real)).is_some_and(has_weight)
            && state(spec, health, member).can_be_in_rotation()
    };
    v.reals.iter().enumerate().any(takes_traffic)
}

fn server(spec: &Spec, health: &Health, member: ServerRef) -> ServerView {
    let (_, real) = spec.member(member);
    let known = health.server(member);
    let check = spec.check_of(member);
    ServerView {
        address: real.address,
        method: real.method,
        weight: real.weight,
        state: state(spec, health, member),
        overridden: known.overridden().cloned(),
        since: known.since(),
        failures: known.checked().failures(),
        check: check.map(|check| Arc::clone(&check.key)),
        verdict: known.verdict().cloned(),
    }
}

fn state(spec: &Spec, health: &Health, member: ServerRef) -> ShownState {
    let known = health.server(member);
    let outcome = known.verdict().map(|verdict| verdict.outcome);
    let is_unseen = matches!(known.checked(), Checked::Unseen { .. });
    match known.decided().map(|decision| decision.what) {
        _ if known.is_in_maintenance() => ShownState::Maintenance,
        _ if spec.is_leaving(member) => ShownState::Leaving,
        Some(What::Drain) => ShownState::Draining,
        Some(What::Down) => ShownState::Down,
        Some(What::Up) => ShownState::Up,
        _ if spec.check_of(member).is_none() => ShownState::Off,
        _ if known.is_overdue() => ShownState::Unknown,
        _ if is_unseen && matches!(outcome, Some(Outcome::Unknown(_))) => ShownState::Unknown,
        _ if known.checked().is_up() => ShownState::Up,
        _ if is_unseen && outcome.is_none() => ShownState::Unknown,
        _ => ShownState::Down,
    }
}
