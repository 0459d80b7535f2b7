//! A copy of the state at one moment, free of references into it.

use std::collections::BTreeMap;
use std::time::Instant;

use ipvs_rs::{ServiceKey, Table};
use serde::{Deserialize, Serialize};

use crate::desired;
use crate::health::Health;
use crate::plan::{Member, Plan};
use crate::value::Outcome;

/// All virtual services at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The name of the daemon; absent for a single look.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// In the order of the file.
    pub virtuals: Vec<VirtualService>,
    /// Checks that began more than one interval late, since the start of the daemon.
    #[serde(default)]
    pub late_checks: u64,
    /// Services of the file that are left to another daemon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
}

/// A virtual service that another daemon owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// `tcp:10.0.0.1:80`, `fwm:5`.
    pub id: String,
    /// The name of the daemon.
    pub owner: String,
}

/// One virtual service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VirtualService {
    /// `tcp:10.0.0.1:80`, `fwm:5`.
    pub id: String,
    /// The scheduler's name.
    pub scheduler: String,
    /// Its real servers, in the order of the file.
    pub servers: Vec<Server>,
    /// What the table holds for it; absent where no table is looked at.
    pub destinations: Option<Vec<Destination>>,
}

/// One real server of a virtual service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Address and port as configured.
    pub address: String,
    /// `gate`, `masq`, `ipip`.
    pub method: String,
    /// The configured weight.
    pub weight: u32,
    /// What is thought of it.
    pub state: State,
    /// For how long, in seconds; absent for a single look.
    pub since_seconds: Option<f64>,
    /// Failed checks in a row.
    pub failures: u32,
    /// The last check; absent before the first, and for `checktype=off`.
    pub last_check: Option<Checked>,
}

/// What is thought of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It takes traffic.
    Up,
    /// It does not.
    Down,
    /// It is never checked (`checktype=off`) and never up.
    Off,
    /// The check itself failed.
    Unknown,
    /// Somebody took it out (`maintenancedir`).
    Maintenance,
    /// It is no longer in the configuration, and stays until another server is up.
    Leaving,
}

/// One run of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// What was asked.
    pub check: String,
    /// What came of it.
    pub reason: String,
    /// What should be known though it changes nothing; the reason has it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// One destination of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// Address and port.
    pub address: String,
    /// `Route`, `Masq`, `Tunnel`, in the words of ipvsadm.
    pub method: String,
    /// Its weight.
    pub weight: u32,
}

impl Snapshot {
    /// The state of a running daemon.
    #[must_use]
    pub fn of(plan: &Plan, health: &Health, table: &Table, now: Instant) -> Snapshot {
        let virtuals = plan.virtuals().iter().enumerate().map(|(virtual_index, v)| VirtualService {
            id: v.id.qualified(),
            scheduler: v.scheduler.clone(),
            servers: (0..v.reals.len())
                .map(|real_index| Member { virtual_index, real_index })
                .filter(|member| !health.server(*member).has_gone())
                .map(|member| server(plan, health, member, now))
                .collect(),
            destinations: Some(destinations(table, desired::service_key(v.id))),
        });
        Snapshot {
            name: String::new(),
            virtuals: virtuals.collect(),
            late_checks: health.late_checks(),
            elsewhere: Vec::new(),
        }
    }

    /// The same with the name of the daemon.
    #[must_use]
    pub fn of_daemon(self, name: &str) -> Snapshot {
        Snapshot { name: name.to_owned(), ..self }
    }

    /// The same with services that are left to other daemons, each with the name of that.
    #[must_use]
    pub fn with_elsewhere(mut self, services: &BTreeMap<ServiceKey, String>) -> Snapshot {
        let one = |(key, owner): (&ServiceKey, &String)| Elsewhere {
            id: desired::virtual_id(*key).qualified(),
            owner: owner.clone(),
        };
        self.elsewhere = services.iter().map(one).collect();
        self
    }

    /// The same for a single look at the servers: no table was looked at, and no state has lasted.
    #[must_use]
    pub fn without_table(mut self) -> Snapshot {
        for v in &mut self.virtuals {
            v.destinations = None;
            for server in &mut v.servers {
                server.since_seconds = None;
            }
        }
        self
    }

    /// Whether every server that is checked, and not in maintenance, is up.
    #[must_use]
    pub fn all_well(&self) -> bool {
        let mut servers = self.virtuals.iter().flat_map(|v| &v.servers);
        servers.all(|server| {
            matches!(server.state, State::Up | State::Off | State::Maintenance | State::Leaving)
        })
    }
}

fn server(plan: &Plan, health: &Health, member: Member, now: Instant) -> Server {
    let (_, real) = plan.member(member);
    let known = health.server(member);
    let check = plan.check_of(member);
    let verdict = known.verdict.as_deref();
    Server {
        address: real.address.to_string(),
        method: real.method.to_string(),
        weight: real.weight,
        state: match (check, verdict.map(|v| v.outcome)) {
            _ if known.maintenance => State::Maintenance,
            _ if plan.is_leaving(member) => State::Leaving,
            (None, _) => State::Off,
            _ if known.unchecked => State::Unknown,
            (Some(_), Some(Outcome::Unknown(_))) if !known.judged => State::Unknown,
            _ if known.up => State::Up,
            _ => State::Down,
        },
        since_seconds: Some(now.saturating_duration_since(known.since).as_secs_f64()),
        failures: known.failures,
        last_check: check.zip(verdict).map(|(check, verdict)| Checked {
            check: check.key.probe.to_string(),
            reason: verdict.reason.clone(),
            warning: verdict.warning.clone(),
            took_ms: verdict.took.as_secs_f64() * 1000.0,
        }),
    }
}

fn destinations(table: &Table, key: ServiceKey) -> Vec<Destination> {
    let Some(service) = table.services.get(&key) else { return Vec::new() };
    let destination = |(key, config): (&ipvs_rs::DestinationKey, &ipvs_rs::DestinationConfig)| Destination {
        address: key.to_string(),
        method: method_word(config.method).to_owned(),
        weight: config.weight,
    };
    service.destinations.iter().map(destination).collect()
}

fn method_word(method: ipvs_rs::ForwardingMethod) -> &'static str {
    match method {
        ipvs_rs::ForwardingMethod::Masquerade => "Masq",
        ipvs_rs::ForwardingMethod::Tunnel => "Tunnel",
        ipvs_rs::ForwardingMethod::DirectRoute => "Route",
        ipvs_rs::ForwardingMethod::LocalNode => "Local",
        ipvs_rs::ForwardingMethod::Bypass => "Bypass",
    }
}
