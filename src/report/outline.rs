//! The change of a configuration by virtual service, as lines: what `plan --diff` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipvs_rs::{DestinationKey, ServiceKey, Table};

use super::plan::ActiveConnections;
use crate::desired;
use crate::spec::{ServerRef, Spec};
use crate::value::shown::escaped;
use crate::value::{Role, VirtualId};

/// The virtual services of a configuration or a table, with what the kernel's table would have of them.
pub struct Outline {
    /// In the order of the file.
    services: Vec<(VirtualId, ServiceOutline)>,
}

struct ServiceOutline {
    name: Option<String>,
    settings: String,
    servers: BTreeMap<DestinationKey, (Role, String)>,
    /// How each server is checked. A table does not tell.
    checks: BTreeMap<SocketAddr, String>,
}

/// How a server is checked.
fn check_text(spec: &Spec, member: ServerRef) -> String {
    spec.check_of(member).map_or_else(
        || "not checked".to_owned(),
        |check| format!("{}, every {} s", check.key.probe, check.key.interval.as_secs()),
    )
}

/// A note for each virtual service whose servers are checked in another way after a reload.
#[must_use]
pub fn check_notes(old: &Spec, new: &Spec) -> Vec<String> {
    let checks = |spec: &Spec| -> BTreeMap<(VirtualId, SocketAddr), String> {
        let of = |member| {
            let (v, real) = spec.member(member);
            ((v.id, real.address), check_text(spec, member))
        };
        spec.members().map(of).collect()
    };
    let (before, mut changed) = (checks(old), BTreeMap::<VirtualId, usize>::new());
    for ((service, server), check) in checks(new) {
        if before.get(&(service, server)).is_some_and(|before| *before != check) {
            *changed.entry(service).or_default() += 1;
        }
    }
    let note = |(id, count): (VirtualId, usize)| {
        let servers = if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
        format!(
            "{}: the check of {servers} changes (--diff shows how); the result may take them out. Try it first: ldirectord-rs check",
            id.qualified()
        )
    };
    changed.into_iter().map(note).collect()
}

/// A note for each virtual service whose removed servers stay at first, because no other server is up.
#[must_use]
pub fn leaving_notes(after: &Spec) -> Vec<String> {
    let mut leaving: BTreeMap<usize, usize> = BTreeMap::new();
    for member in after.leaving() {
        *leaving.entry(member.virtual_index).or_default() += 1;
    }
    let note = |(index, count): (usize, usize)| {
        format!(
            "DANGER {}: no server that stays is up; {count} removed stay until another one is up, {} s at most, and then no server is \
             left",
            after.virtuals()[index].id.qualified(),
            after.leaving_time(index).as_secs()
        )
    };
    leaving.into_iter().map(note).collect()
}

impl Outline {
    /// The outline of a configuration, with all its servers in rotation.
    #[must_use]
    pub fn of_spec(spec: &Spec) -> Outline {
        let services = spec.virtuals().iter().enumerate().map(|(virtual_index, v)| {
            let mut servers = BTreeMap::new();
            for (real_index, real) in v.reals.iter().enumerate() {
                if !spec.is_leaving(ServerRef { virtual_index, real_index }) {
                    let config = desired::real_config(v, real, real.weight);
                    servers.insert(desired::real_key(v, real), (Role::Real, config.to_string()));
                }
            }
            if let Some((key, config)) = v.fallback.map(|fallback| desired::fallback_destination(v, fallback))
            {
                servers.entry(key).or_insert((Role::Fallback, config.to_string()));
            }
            let name = v.notes.servicename.clone().filter(|name| !name.is_empty());
            let settings = format!("scheduler {}", desired::service_config(v));
            let members = (0..v.reals.len()).map(|real_index| ServerRef { virtual_index, real_index });
            let members = members.filter(|member| !spec.is_leaving(*member));
            let checks = members.map(|m| (spec.member(m).1.address, check_text(spec, m))).collect();
            (v.id, ServiceOutline { name, settings, servers, checks })
        });
        Outline { services: services.collect() }
    }

    /// The outline of a table. `spec` tells which destinations are fallback servers.
    #[must_use]
    pub fn of_table(table: &Table, spec: &Spec) -> Outline {
        let services = table.services.iter().map(|(key, service)| {
            let id = desired::virtual_id(*key);
            let v = spec.virtual_index(id).map(|index| &spec.virtuals()[index]);
            let is_real = |key: &DestinationKey| {
                v.is_some_and(|v| v.reals.iter().any(|real| desired::real_key(v, real) == *key))
            };
            let fallback = v.and_then(desired::fallback_key);
            let servers = service.destinations.iter().map(|(key, config)| {
                let is_fallback = fallback == Some(*key) && !is_real(key);
                let role = if is_fallback { Role::Fallback } else { Role::Real };
                (*key, (role, config.to_string()))
            });
            let settings = format!("scheduler {}", service.config);
            (id, ServiceOutline { name: None, settings, servers: servers.collect(), checks: BTreeMap::new() })
        });
        Outline { services: services.collect() }
    }

    /// The lines for the change to another outline: `+` new, `-` removed, `~` changed.
    #[must_use]
    pub fn changes(&self, new: &Outline, active: &ActiveConnections) -> Vec<String> {
        let stays: BTreeSet<VirtualId> = new.services.iter().map(|(id, _)| *id).collect();
        let known: BTreeMap<VirtualId, usize> =
            self.services.iter().enumerate().map(|(index, (id, _))| (*id, index)).collect();
        let mut lines = Vec::new();
        for (id, service) in &new.services {
            match known.get(id) {
                Some(index) => lines.extend(changed(*id, &self.services[*index].1, service, active)),
                None => lines.extend(whole('+', *id, service, active)),
            }
        }
        for (id, service) in self.services.iter().filter(|(id, _)| !stays.contains(id)) {
            lines.extend(whole('-', *id, service, active));
        }
        lines
    }
}

fn title(sign: char, id: VirtualId, service: &ServiceOutline) -> String {
    match &service.name {
        Some(name) => format!("{sign} {} {}", id.qualified(), escaped(name)),
        None => format!("{sign} {}", id.qualified()),
    }
}

/// A service that is new or removed.
fn whole(sign: char, id: VirtualId, service: &ServiceOutline, active: &ActiveConnections) -> Vec<String> {
    let mut lines = vec![format!("{}   {}", title(sign, id, service), service.settings)];
    lines.extend(service.servers.iter().map(|(key, (role, config))| {
        format!("{sign}   {role} {key}   {config}{}", danger(sign, id, key, active))
    }));
    lines
}

/// The changes of a service, below its name. Empty without changes.
fn changed(
    id: VirtualId,
    old: &ServiceOutline,
    new: &ServiceOutline,
    active: &ActiveConnections,
) -> Vec<String> {
    let mut lines = Vec::new();
    if old.settings != new.settings {
        lines.push(format!("~   {} -> {}", old.settings, new.settings));
    }
    for (key, (role, config)) in &new.servers {
        match old.servers.get(key) {
            None => lines.push(format!("+   {role} {key}   {config}")),
            Some((_, before)) if before != config => {
                lines.push(format!("~   {role} {key}   {before} -> {config}"));
            }
            Some((before, _)) if before != role => lines.push(format!("~   {before} {key} -> {role}")),
            Some(_) => {}
        }
    }
    for (key, (role, config)) in old.servers.iter().filter(|(key, _)| !new.servers.contains_key(*key)) {
        lines.push(format!("-   {role} {key}   {config}{}", danger('-', id, key, active)));
    }
    for (server, check) in &new.checks {
        if let Some(before) = old.checks.get(server).filter(|before| *before != check) {
            lines.push(format!("~   check of {server}   {before} -> {check}"));
        }
    }
    if !lines.is_empty() {
        lines.insert(0, title(' ', id, new));
    }
    lines
}

fn danger(sign: char, id: VirtualId, key: &DestinationKey, active: &ActiveConnections) -> String {
    let service: ServiceKey = desired::service_key(id);
    match active.get(&(service, *key)) {
        Some(active) if sign == '-' => format!("   DANGER {active} active connections"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, Answers};

    fn outline(text: &str) -> (Outline, Spec) {
        let config = config::load(text.as_bytes(), &Answers::new("director")).config.unwrap();
        let spec = Spec::new(Arc::new(config));
        (Outline::of_spec(&spec), spec)
    }

    #[test]
    fn the_change_of_a_configuration_is_listed_by_service() {
        let old = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate 100\n\treal=10.0.0.3:80 gate\n\tfallback=127.0.0.1:80\n\
                   virtual=10.0.0.1:81\n\treal=10.0.0.2:81 masq\nvirtual=10.0.0.1:82\n\treal=10.0.0.2:82 masq\n";
        let new = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate 50\n\tscheduler=sh\n\
                   virtual=10.0.0.1:81\n\treal=10.0.0.2:81 masq\n\
                   virtual=10.0.0.1:83\n\tservicename=media\n\treal=10.0.0.4:83 gate 7\n";
        let ((old, _), (new, spec)) = (outline(old), outline(new));
        let id = |text: &str| desired::service_key(text.parse().unwrap());
        let key = |text: &str| {
            let address: SocketAddr = text.parse().unwrap();
            DestinationKey { address: address.ip(), port: address.port() }
        };
        let active = ActiveConnections::from([
            ((id("tcp:10.0.0.1:80"), key("10.0.0.3:80")), 83),
            ((id("tcp:10.0.0.1:80"), key("10.0.0.2:80")), 1),
        ]);
        assert_eq!(
            old.changes(&new, &active),
            [
                "  tcp:10.0.0.1:80",
                "~   scheduler wrr -> scheduler sh",
                "~   real 10.0.0.2:80   weight 100 (route) -> weight 50 (route)",
                "-   real 10.0.0.3:80   weight 1 (route)   DANGER 83 active connections",
                "-   fallback 127.0.0.1:80   weight 1 (route)",
                "+ tcp:10.0.0.1:83 media   scheduler wrr",
                "+   real 10.0.0.4:83   weight 7 (route)",
                "- tcp:10.0.0.1:82   scheduler wrr",
                "-   real 10.0.0.2:82   weight 1 (masquerade)",
            ]
        );
        assert!(new.changes(&new, &active).is_empty());
        // A table that is as the configuration wants it, with all servers in rotation.
        let mut table = Table::default();
        for (id, service) in &new.services {
            let v = &spec.virtuals()[spec.virtual_index(*id).unwrap()];
            let mut found = ipvs_rs::Service::new(desired::service_config(v));
            for real in &v.reals {
                found
                    .destinations
                    .insert(desired::real_key(v, real), desired::real_config(v, real, real.weight));
            }
            assert_eq!(found.destinations.len(), service.servers.len());
            table.services.insert(desired::service_key(*id), found);
        }
        assert!(Outline::of_table(&table, &spec).changes(&new, &active).is_empty());
    }
}
