//! What a reload or a start would change in the table: each operation as a line for `ipvsadm -R`, with remarks, and a
//! mark on those that may cost clients their connections.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_rs::{DestinationConfig, DestinationKey, Operation, ServiceConfig, ServiceKey, Snapshot, Table};
use serde::{Deserialize, Serialize};

use crate::desired;
use crate::spec::Spec;

/// The operations of a reload or a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The path of the configuration.
    pub config: String,
    /// `reload` or `start`.
    pub occasion: String,
    /// What limits the statement, each in one line.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The operations in their order.
    pub operations: Vec<PlannedOperation>,
    /// The change of the configuration by virtual service, line by line.
    #[serde(default)]
    pub diff: Vec<String>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedOperation {
    /// The id of the virtual service.
    pub service: String,
    /// The operation as `ipvsadm -R` reads it.
    pub operation: String,
    /// Whether clients may lose connections or their server, or a service its last server.
    pub dangerous: bool,
    /// What it does, each in one line.
    pub remarks: Vec<String>,
}

/// The number of active connections of each destination.
pub type ActiveConnections = BTreeMap<(ServiceKey, DestinationKey), u32>;

/// The active connections of a table.
#[must_use]
pub fn active_connections(snapshot: &Snapshot) -> ActiveConnections {
    let services = snapshot.services.iter();
    let all = services.flat_map(|(service, found)| {
        found.destinations.iter().map(|(key, found)| ((*service, *key), found.connections.active))
    });
    all.filter(|(_, active)| *active > 0).collect()
}

/// What a plan knows besides the table.
#[derive(Clone, Debug, Default)]
pub struct PlanContext {
    /// Without connections a removal never counts as dangerous for them.
    pub active: ActiveConnections,
    /// The destinations of fallback servers: a service that has only these has no server in rotation.
    pub fallbacks: BTreeSet<(ServiceKey, DestinationKey)>,
    /// Whether a daemon runs that can drain a server.
    pub is_running: bool,
}

impl PlanContext {
    /// The real servers of a service with a weight above 0.
    fn in_rotation(&self, table: &Table, service: ServiceKey) -> usize {
        let destinations = table.services.get(&service).into_iter().flat_map(|found| &found.destinations);
        let is_server = |key: &DestinationKey| !self.fallbacks.contains(&(service, *key));
        destinations.filter(|(key, config)| config.weight > 0 && is_server(key)).count()
    }

    /// Adds the fallback servers of a spec.
    #[must_use]
    pub fn with_fallbacks(mut self, spec: &Spec) -> PlanContext {
        let key = |v| desired::fallback_key(v).map(|key| (desired::service_key(v.id), key));
        self.fallbacks.extend(spec.virtuals().iter().filter_map(key));
        self
    }
}

/// Describes operations on a table, in their order.
#[must_use]
pub fn planned(before: &Table, context: &PlanContext, operations: &[Operation]) -> Vec<PlannedOperation> {
    let mut table = before.clone();
    let totals = Totals::of(context, operations);
    let mut all = Vec::with_capacity(operations.len());
    let mut emptied: BTreeMap<ServiceKey, usize> = BTreeMap::new();
    for operation in operations {
        let key = operation.service();
        let had = context.in_rotation(&table, key);
        let mut remarks =
            Remarks { table: &table, context, totals: &totals, dangerous: false, lines: Vec::new() };
        remarks.describe(operation);
        let Remarks { dangerous, lines: remarks, .. } = remarks;
        all.push(PlannedOperation {
            service: desired::virtual_id(key).qualified(),
            operation: operation.ipvsadm(),
            dangerous,
            remarks,
        });
        // The director knows the table, so nothing is refused.
        let _ = table.apply(operation);
        match context.in_rotation(&table, key) {
            0 if had > 0 && table.services.contains_key(&key) => drop(emptied.insert(key, all.len() - 1)),
            0 => {}
            _ => drop(emptied.remove(&key)),
        }
    }
    for index in emptied.into_values() {
        let last = &mut all[index];
        last.dangerous = true;
        last.remarks.push("leaves the virtual service without a server in rotation".to_owned());
    }
    all
}

/// Numbers of services, counted once for all operations.
struct Totals {
    /// The servers of each service that is added.
    added: BTreeMap<ServiceKey, usize>,
    active: BTreeMap<ServiceKey, usize>,
}

impl Totals {
    fn of(context: &PlanContext, operations: &[Operation]) -> Totals {
        let active = &context.active;
        let mut totals = Totals { added: BTreeMap::new(), active: BTreeMap::new() };
        for operation in operations {
            match operation {
                Operation::AddService { key, .. } => drop(totals.added.insert(*key, 0)),
                Operation::AddDestination { service, key, .. }
                    if !context.fallbacks.contains(&(*service, *key)) =>
                {
                    totals.added.entry(*service).and_modify(|servers| *servers += 1);
                }
                _ => {}
            }
        }
        for ((service, _), active) in active {
            *totals.active.entry(*service).or_default() += *active as usize;
        }
        totals
    }
}

/// The remarks about one operation.
struct Remarks<'a> {
    table: &'a Table,
    context: &'a PlanContext,
    totals: &'a Totals,
    dangerous: bool,
    lines: Vec<String>,
}

impl Remarks<'_> {
    fn say(&mut self, remark: String) {
        self.lines.push(remark);
    }

    fn warn(&mut self, remark: String) {
        self.dangerous = true;
        self.lines.push(remark);
    }

    fn describe(&mut self, operation: &Operation) {
        match operation {
            Operation::AddService { key, .. } => {
                let servers = self.totals.added.get(key).copied().unwrap_or_default();
                self.say(format!("new virtual service, {}", count(servers, "real server")));
            }
            Operation::EditService { key, config } => {
                if let Some(present) = self.table.services.get(key) {
                    self.describe_service(&present.config, config);
                }
            }
            Operation::RemoveService { key } => self.describe_removal(*key),
            Operation::AddDestination { service, key, config } => {
                if !self.totals.added.contains_key(service) {
                    self.say(format!("adds {key} with weight {}", config.weight));
                }
            }
            Operation::EditDestination { service, key, config } => {
                let present = self.table.services.get(service).and_then(|found| found.destinations.get(key));
                if let Some(present) = present {
                    self.describe_server(*key, present, config);
                }
            }
            Operation::RemoveDestination { service, key } => match self.context.active.get(&(*service, *key))
            {
                Some(active) => {
                    self.warn(format!("removes {key} with {}", count(*active as usize, "active connection")));
                    let is_fallback = self.context.fallbacks.contains(&(*service, *key));
                    if self.context.is_running && !is_fallback {
                        self.say(format!("first: ldirectord-rs drain {key}, and wait until they have ended"));
                    }
                }
                None => self.say(format!("removes {key}")),
            },
        }
    }

    fn describe_service(&mut self, from: &ServiceConfig, to: &ServiceConfig) {
        if from.scheduler != to.scheduler {
            self.warn(format!("scheduler {} -> {}, clients change servers", from.scheduler, to.scheduler));
        }
        if from.flags != to.flags {
            self.say(format!("flags of the scheduler: {from} -> {to}"));
        }
        match (&from.persistence, &to.persistence) {
            (Some(from), None) => {
                self.warn(format!("{from} ends, clients change servers"));
            }
            (None, Some(to)) => self.say(format!("{to} begins")),
            (Some(from), Some(to)) if (from.netmask, &from.engine) != (to.netmask, &to.engine) => {
                self.warn(format!("{from} -> {to}, clients change servers"));
            }
            (Some(from), Some(to)) if from != to => self.say(format!("{from} -> {to}")),
            _ => {}
        }
    }

    fn describe_server(&mut self, key: DestinationKey, from: &DestinationConfig, to: &DestinationConfig) {
        if from.weight != to.weight {
            self.say(format!("weight of {key}, {} -> {}", from.weight, to.weight));
        }
        if (from.method, from.effective_tunnel()) != (to.method, to.effective_tunnel()) {
            self.say(format!("forwarding of {key}, {from} -> {to}"));
        }
        if (from.upper, from.lower) != (to.upper, to.lower) {
            let limits = |config: &DestinationConfig| format!("{} to {}", config.lower, config.upper);
            self.say(format!("connection limits of {key}, {} -> {}", limits(from), limits(to)));
        }
    }

    fn describe_removal(&mut self, key: ServiceKey) {
        let servers = self.table.services.get(&key).map_or(0, |service| service.destinations.len());
        let active = self.totals.active.get(&key).copied().unwrap_or_default();
        let what = format!("removes the virtual service with its {}", count(servers, "server"));
        match (active, self.context.in_rotation(self.table, key)) {
            (0, 0) => self.say(what),
            (0, _) => self.warn(what),
            (active, _) => self.warn(format!("{what} and {}", count(active, "active connection"))),
        }
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use ipvs_rs::{Family, ForwardingMethod, Netmask, Persistence, Protocol, Service, ServiceFlags, diff};

    use super::*;

    fn server(last: u8) -> DestinationKey {
        DestinationKey { address: [10, 0, 0, last].into(), port: 80 }
    }

    fn key(port: u16) -> ServiceKey {
        ServiceKey::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 1].into(), port }
    }

    fn config(weight: u32) -> DestinationConfig {
        DestinationConfig::new(ForwardingMethod::DirectRoute, weight)
    }

    /// A table with one service and servers with these weights.
    fn table(service: ServiceConfig, servers: &[(u8, u32)]) -> Table {
        let mut found = Service::new(service);
        found.destinations = servers.iter().map(|(last, weight)| (server(*last), config(*weight))).collect();
        Table { services: [(key(80), found)].into() }
    }

    fn wlc() -> ServiceConfig {
        ServiceConfig::new("wlc")
    }

    fn persistent(timeout: u32) -> ServiceConfig {
        ServiceConfig { persistence: Some(Persistence::new(timeout, Family::V4)), ..wlc() }
    }

    /// The remarks of all operations, dangerous ones with `!` in front.
    fn remarks(before: &Table, after: &Table, active: &[(u8, u32)]) -> Vec<String> {
        let active = active.iter().map(|(last, active)| ((key(80), server(*last)), *active)).collect();
        let fallbacks = BTreeSet::from([(key(80), server(9))]);
        let context = PlanContext { active, fallbacks, is_running: true };
        let found = planned(before, &context, &diff(before, after));
        let mark = |planned: &PlannedOperation| if planned.dangerous { "!" } else { "" };
        found.iter().map(|planned| format!("{}{}", mark(planned), planned.remarks.join("; "))).collect()
    }

    #[test]
    fn each_change_has_a_remark() {
        let before = table(wlc(), &[(2, 100), (3, 1)]);
        assert!(remarks(&before, &before, &[(2, 5)]).is_empty());
        let after = table(wlc(), &[(2, 50), (4, 7)]);
        assert_eq!(
            remarks(&before, &after, &[]),
            ["adds 10.0.0.4:80 with weight 7", "weight of 10.0.0.2:80, 100 -> 50", "removes 10.0.0.3:80"]
        );
        let new = remarks(&Table::default(), &after, &[]);
        assert_eq!(new, ["new virtual service, 2 real servers", "", ""]);
        let mut limited = before.clone();
        let found = &mut limited.services.get_mut(&key(80)).unwrap().destinations;
        found.insert(server(3), DestinationConfig { upper: 20, lower: 10, ..config(1) });
        found.insert(server(2), DestinationConfig::new(ForwardingMethod::Masquerade, 100_000));
        assert_eq!(
            remarks(&before, &limited, &[]),
            [
                "weight of 10.0.0.2:80, 100 -> 100000; forwarding of 10.0.0.2:80, weight 100 (route) -> weight 100000 \
                 (masquerade)",
                "connection limits of 10.0.0.3:80, 0 to 0 -> 10 to 20",
            ]
        );
    }

    #[test]
    fn what_costs_clients_is_dangerous() {
        let before = table(wlc(), &[(2, 100), (3, 1)]);
        let one = table(wlc(), &[(2, 100)]);
        assert_eq!(
            remarks(&before, &one, &[(3, 83)]),
            [
                "!removes 10.0.0.3:80 with 83 active connections; first: ldirectord-rs drain 10.0.0.3:80, and wait until they \
                 have ended"
            ]
        );
        // Without connections a removal is dangerous only if it empties the service.
        let none = table(wlc(), &[(2, 0)]);
        let emptied = "leaves the virtual service without a server in rotation";
        assert_eq!(
            remarks(&before, &none, &[]),
            ["weight of 10.0.0.2:80, 100 -> 0".to_owned(), format!("!removes 10.0.0.3:80; {emptied}")]
        );
        assert_eq!(remarks(&none, &table(wlc(), &[]), &[]), ["removes 10.0.0.2:80"]);
        // 10.0.0.9 is the fallback. It can take over, and cannot be drained.
        let fallback = table(wlc(), &[(9, 1)]);
        let taken_over = remarks(&table(wlc(), &[(2, 100)]), &fallback, &[]);
        assert!(taken_over.contains(&format!("!removes 10.0.0.2:80; {emptied}")), "{taken_over:?}");
        let over = remarks(&fallback, &table(wlc(), &[(2, 100)]), &[(9, 3)]);
        assert!(over.contains(&"!removes 10.0.0.9:80 with 3 active connections".to_owned()), "{over:?}");
        let gone = remarks(&before, &Table::default(), &[(2, 1), (3, 1)]);
        assert_eq!(gone, ["!removes the virtual service with its 2 servers and 2 active connections"]);
        assert_eq!(remarks(&none, &Table::default(), &[]), ["removes the virtual service with its 1 server"]);
        assert_eq!(remarks(&one, &Table::default(), &[]), ["!removes the virtual service with its 1 server"]);
    }

    #[test]
    fn a_change_of_the_scheduler_or_persistence_is_dangerous() {
        let with = |config: ServiceConfig| table(config, &[(2, 1)]);
        let sh = ServiceConfig { flags: ServiceFlags::SCHEDULER_2, ..ServiceConfig::new("sh") };
        let wide = ServiceConfig {
            persistence: Some(Persistence {
                netmask: Netmask::V4([255, 255, 255, 0].into()),
                ..Persistence::new(300, Family::V4)
            }),
            ..wlc()
        };
        for (from, to, remark) in [
            (
                wlc(),
                sh,
                "!scheduler wlc -> sh, clients change servers; flags of the scheduler: wlc -> sh (sh-port)",
            ),
            (persistent(300), wlc(), "!persistent 300 ends, clients change servers"),
            (
                persistent(300),
                wide,
                "!persistent 300 -> persistent 300 mask 255.255.255.0, clients change servers",
            ),
            (persistent(300), persistent(600), "persistent 300 -> persistent 600"),
            (wlc(), persistent(300), "persistent 300 begins"),
        ] {
            assert_eq!(remarks(&with(from), &with(to), &[]), [remark]);
        }
    }
}
