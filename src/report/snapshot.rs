//! The JSON form of a view: the output of `show --json` and `check --json`, and the answer of the control socket.

use std::time::SystemTime;

use chrono::{DateTime, Local, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::view::{DestinationRole, DestinationView, ServerView, ServiceView, ShownState, View};
use crate::health::Override;

/// All virtual services at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateSnapshot {
    /// The name of the daemon. Absent for `check`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path of its configuration. Absent for a single look.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config: String,
    /// When that was (RFC 3339). An earlier release does not say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub taken_at: String,
    /// In the order of the file.
    pub virtuals: Vec<VirtualService>,
    /// The number of checks that began more than one interval late, since the start of the daemon.
    #[serde(default)]
    pub late_checks: u64,
    /// Services of the file that other daemons own.
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
    /// `servicename`. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The configured fallback. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Its real servers, in the order of the file.
    pub servers: Vec<ServerEntry>,
    /// Its destinations in the table. Absent for `check`, which does not read the table.
    pub destinations: Option<Vec<DestinationEntry>>,
}

/// One real server of a virtual service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerEntry {
    /// Address and port as configured.
    pub address: String,
    /// `gate`, `masq`, `ipip`.
    pub method: String,
    /// The configured weight.
    pub weight: u32,
    /// Its state.
    pub state: ShownState,
    /// The override in force. Absent if there is none.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Overridden>,
    /// Seconds since its standing last changed. Absent for `check`.
    pub since_seconds: Option<f64>,
    /// Consecutive failed checks.
    pub failures: u32,
    /// Failed checks in a row after which it is marked down. An earlier release does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failurecount: Option<u32>,
    /// The last check. Absent before the first, and for `checktype=off`.
    pub last_check: Option<CheckRun>,
}

/// An override of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overridden {
    /// `drain`, `down` or `up`.
    pub what: String,
    /// `maintenancedir`, or the user who set it.
    pub owner: String,
    /// The reason. Empty if none was given.
    pub note: String,
    /// When it was set (RFC 3339).
    pub since: String,
    /// When it expires (RFC 3339). Absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// One run of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckRun {
    /// The probe.
    pub check: String,
    /// The result.
    pub reason: String,
    /// A warning that changes no state. The reason contains it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The duration in milliseconds.
    pub took_ms: f64,
}

/// One destination of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationEntry {
    /// Address and port.
    pub address: String,
    /// `Route`, `Masq`, `Tunnel`, as in ipvsadm.
    pub method: String,
    /// Its weight.
    pub weight: u32,
    /// `server`, `fallback`, or `other` for neither. Absent from an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl StateSnapshot {
    /// Creates the JSON form of a view.
    #[must_use]
    pub fn of(view: &View) -> StateSnapshot {
        let elsewhere = view.elsewhere.iter();
        StateSnapshot {
            name: view.name.to_string(),
            config: view.config.to_string(),
            taken_at: time(view.at.wall),
            virtuals: view.services.iter().map(|service| VirtualService::of(service, view.at)).collect(),
            late_checks: view.late_checks,
            elsewhere: elsewhere
                .map(|(id, owner)| Elsewhere { id: id.qualified(), owner: owner.clone() })
                .collect(),
        }
    }

    /// Removes the fields that `check` does not have: the table and the times.
    #[must_use]
    pub fn without_table(mut self) -> StateSnapshot {
        for v in &mut self.virtuals {
            v.destinations = None;
            for server in &mut v.servers {
                server.since_seconds = None;
            }
        }
        self
    }

    /// Whether every server is up, never checked, in maintenance, draining or leaving.
    #[must_use]
    pub fn all_well(&self) -> bool {
        self.unwell() == 0
    }

    /// The number of servers that are down or unknown.
    #[must_use]
    pub fn unwell(&self) -> usize {
        let servers = self.virtuals.iter().flat_map(|v| &v.servers);
        servers.filter(|server| matches!(server.state, ShownState::Down | ShownState::Unknown)).count()
    }
}

impl VirtualService {
    /// Creates the JSON form of one service of a view from the time `at`.
    #[must_use]
    pub fn of(service: &ServiceView, at: Moment) -> VirtualService {
        let destinations = service.destinations.as_ref();
        VirtualService {
            id: service.id.qualified(),
            scheduler: service.scheduler.clone(),
            name: service.name.clone(),
            fallback: service.fallback.map(|fallback| fallback.to_string()),
            servers: service.servers.iter().map(|view| server(view, at, service.failurecount)).collect(),
            destinations: destinations.map(|all| all.iter().map(destination).collect()),
        }
    }
}

pub(super) fn server(view: &ServerView, at: Moment, failurecount: u32) -> ServerEntry {
    ServerEntry {
        address: view.address.to_string(),
        method: view.method.to_string(),
        weight: view.weight,
        state: view.state,
        overridden: view.overridden.as_ref().map(|decision| overridden(decision, at)),
        since_seconds: Some(rounded(at.instant.saturating_duration_since(view.since).as_secs_f64())),
        failures: view.failures,
        failurecount: Some(failurecount),
        last_check: view.check.as_ref().zip(view.verdict.as_ref()).map(|(check, verdict)| CheckRun {
            check: check.probe.to_string(),
            reason: verdict.reason.clone(),
            warning: verdict.warning.clone(),
            took_ms: rounded(verdict.took.as_secs_f64() * 1000.0),
        }),
    }
}

fn overridden(decision: &Override, at: Moment) -> Overridden {
    let time = |when| time(at.wall_at(when));
    Overridden {
        what: decision.what.as_str().to_owned(),
        owner: decision.owner.to_string(),
        note: decision.reason.clone(),
        since: time(decision.since),
        until: decision.until.map(time),
    }
}

/// Thousandths are enough for readers.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// A time of day as RFC 3339 has it, in the time zone of this machine.
pub(super) fn time(when: SystemTime) -> String {
    DateTime::<Local>::from(when).to_rfc3339_opts(SecondsFormat::Secs, false)
}

pub(super) fn destination(view: &DestinationView) -> DestinationEntry {
    let role = match view.role {
        DestinationRole::Server => "server",
        DestinationRole::Fallback => "fallback",
        DestinationRole::Other => "other",
    };
    DestinationEntry {
        address: view.key.to_string(),
        method: method_word(view.config.method).to_owned(),
        weight: view.config.weight,
        role: Some(role.to_owned()),
    }
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
