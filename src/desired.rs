//! Computes the wanted table: the only place that decides about `quiescent`, fallback servers, weights and thresholds.
//!
//! It is also the only translator between the terms of `ldirectord.cf` and those of the kernel.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipvs_rs::{
    Checksum, DestinationConfig, DestinationKey, Operation, Persistence, Service, ServiceConfig,
    ServiceFlags, ServiceKey, Table,
};

use crate::health::{Health, ServerId, Standing};
use crate::spec::{Fallback, Netmask, Real, ServerRef, Spec, Timeouts, Tunnel, Virtual};
use crate::value::{
    Change, Family, ForwardingMethod, Occasion, Protocol, Role, ServerAction, ServerChange, VirtualId,
};

/// The wanted table at this moment.
#[must_use]
pub fn wanted(spec: &Spec, health: &Health) -> Table {
    let mut table = Table::default();
    for (virtual_index, v) in spec.virtuals().iter().enumerate() {
        table.services.insert(service_key(v.id), wanted_service(spec, virtual_index, health));
    }
    table
}

/// The wanted state of one virtual service at this moment.
#[must_use]
pub fn wanted_service(spec: &Spec, virtual_index: usize, health: &Health) -> Service {
    let v = &spec.virtuals()[virtual_index];
    let mut service = Service::new(service_config(v));
    for (real_index, real) in v.reals.iter().enumerate() {
        let member = ServerRef { virtual_index, real_index };
        let key = real_key(v, real);
        // If several lines name one destination, the last one sets its properties.
        let weight = match health.standing(spec, member) {
            Standing::InRotation => Some(health.weight(spec, member)),
            _ if spec.is_leaving(member) => None,
            Standing::Draining => Some(0),
            Standing::Out => v.quiescent.then_some(0),
        };
        if let Some(weight) = weight {
            service.destinations.insert(key, real_config(v, real, weight));
        }
    }
    if let Some(fallback) = v.fallback.filter(|_| !health.any_in(spec, virtual_index)) {
        let (key, config) = fallback_destination(v, fallback);
        service.destinations.insert(key, config);
    }
    service
}

/// The servers of a spec that the kernel has in service: with a weight above 0, or with a configured weight of 0 if
/// a failed server would look different.
#[must_use]
pub fn in_service(spec: &Spec, kernel: &Table) -> BTreeSet<ServerId> {
    let mut found = BTreeSet::new();
    for v in spec.virtuals() {
        let Some(service) = kernel.services.get(&service_key(v.id)) else { continue };
        let fallback_key = fallback_key(v);
        let taking = service.destinations.values().filter(|d| d.weight > 0).count();
        // With quiescent=no, a failed server of weight 0 is not in the table. With quiescent=yes, such a server is
        // up if no destination has a weight above 0 although the service has a fallback: it would be active if all
        // servers were down.
        let idle_is_up = !v.quiescent || (v.fallback.is_some() && taking == 0);
        for real in &v.reals {
            let key = real_key(v, real);
            let Some(destination) = service.destinations.get(&key) else { continue };
            // If a real server and the fallback are one destination, its weight does not show which of them is active.
            let only_fallback = fallback_key == Some(key) && taking == 1;
            let is_up = match destination.weight {
                0 => real.weight == 0 && idle_is_up,
                _ => !only_fallback,
            };
            if is_up {
                found.insert((v.id, real.address));
            }
        }
    }
    found
}

/// The servers of a spec that the kernel has out of rotation in all their services, although their configured
/// weight is above 0: at weight 0, or with quiescent=no absent.
#[must_use]
pub fn out_of_rotation(spec: &Spec, kernel: &Table) -> BTreeSet<SocketAddr> {
    let (mut out, mut taking) = (BTreeSet::new(), BTreeSet::new());
    for v in spec.virtuals() {
        let Some(service) = kernel.services.get(&service_key(v.id)) else { continue };
        for real in v.reals.iter().filter(|real| real.weight > 0) {
            match service.destinations.get(&real_key(v, real)) {
                Some(destination) if destination.weight > 0 => drop(taking.insert(real.address)),
                None if v.quiescent => {}
                Some(_) | None => drop(out.insert(real.address)),
            }
        }
    }
    out.difference(&taking).copied().collect()
}

/// The services that `new` has and `old` does not, each with only those servers that the kernel has in rotation and
/// `new` does not have: the service belonged to another daemon.
#[must_use]
pub fn taken_over(old: &Spec, new: &Spec, kernel: &Table) -> Vec<Virtual> {
    let of_another = |v: &Virtual| {
        let known: BTreeSet<DestinationKey> =
            v.reals.iter().map(|real| real_key(v, real)).chain(fallback_key(v)).collect();
        let destinations = &kernel.services.get(&service_key(v.id))?.destinations;
        let taking = destinations.iter().filter(|(key, config)| config.weight > 0 && !known.contains(key));
        let reals = taking.filter_map(|(key, config)| found(v, key, config)).collect::<Vec<Real>>();
        (!reals.is_empty()).then(|| Virtual { reals, ..v.clone() })
    };
    new.virtuals().iter().filter(|v| old.virtual_index(v.id).is_none()).filter_map(of_another).collect()
}

/// The `real=` line for a server that only the kernel's table has. `None` if no line could describe it.
fn found(v: &Virtual, key: &DestinationKey, config: &DestinationConfig) -> Option<Real> {
    let method = match config.method {
        ipvs_rs::ForwardingMethod::DirectRoute => ForwardingMethod::Gate,
        ipvs_rs::ForwardingMethod::Masquerade => ForwardingMethod::Masq,
        ipvs_rs::ForwardingMethod::Tunnel => ForwardingMethod::Ipip,
        ipvs_rs::ForwardingMethod::LocalNode | ipvs_rs::ForwardingMethod::Bypass => return None,
    };
    let real = Real {
        line: 0,
        address: SocketAddr::new(key.address, key.port),
        method,
        weight: config.weight,
        upper: config.upper,
        lower: config.lower,
        request: None,
        receive: None,
    };
    (real_key(v, &real) == *key).then_some(real)
}

/// The kernel's key of a virtual service.
#[must_use]
pub fn service_key(id: VirtualId) -> ServiceKey {
    match id {
        VirtualId::Address { protocol, address } => ServiceKey::Address {
            protocol: match protocol {
                Protocol::Tcp => ipvs_rs::Protocol::Tcp,
                Protocol::Udp => ipvs_rs::Protocol::Udp,
                Protocol::Sctp => ipvs_rs::Protocol::Sctp,
            },
            address: address.ip(),
            port: address.port(),
        },
        VirtualId::Mark { mark, family } => ServiceKey::Mark { mark, family: kernel_family(family) },
    }
}

/// The part of a table with the given services.
#[must_use]
pub fn restrict(table: &Table, owned: &BTreeSet<ServiceKey>) -> Table {
    let services = table.services.iter().filter(|(key, _)| owned.contains(key));
    Table { services: services.map(|(key, service)| (*key, service.clone())).collect() }
}

/// The kernel's key of a real server. Direct routing and tunnels cannot change the port, so the key then has the
/// port of the virtual service, as with `ipvsadm`.
#[must_use]
pub fn real_key(v: &Virtual, real: &Real) -> DestinationKey {
    destination_key(v, real.address, real.method)
}

/// The virtual service of a key of the kernel.
#[must_use]
pub fn virtual_id(key: ServiceKey) -> VirtualId {
    match key {
        ServiceKey::Address { protocol, address, port } => {
            let protocol = match protocol {
                ipvs_rs::Protocol::Tcp => Protocol::Tcp,
                ipvs_rs::Protocol::Udp => Protocol::Udp,
                ipvs_rs::Protocol::Sctp => Protocol::Sctp,
            };
            VirtualId::Address { protocol, address: SocketAddr::new(address, port) }
        }
        ServiceKey::Mark { mark, family } => {
            let family = match family {
                ipvs_rs::Family::V4 => Family::V4,
                ipvs_rs::Family::V6 => Family::V6,
            };
            VirtualId::Mark { mark, family }
        }
    }
}

/// Translates an operation into ldirectord's terms. `occasion`: why unwanted objects are removed.
#[must_use]
pub fn change(spec: &Spec, operation: &Operation, occasion: Occasion) -> Change {
    let of = virtual_id(operation.service());
    let server = |key: &DestinationKey, action: ServerAction, config: Option<&DestinationConfig>| {
        Change::Server(server_change(spec, of, key, action, config))
    };
    match operation {
        Operation::AddService { .. } => Change::VirtualAdded(of),
        Operation::EditService { .. } => Change::VirtualChanged(of),
        Operation::RemoveService { .. } => Change::VirtualPurged(of, occasion),
        Operation::AddDestination { key, config, .. } => {
            server(key, ServerAction::Added(config.weight), Some(config))
        }
        Operation::EditDestination { key, config, .. } => server(key, edited(config), Some(config)),
        Operation::RemoveDestination { key, .. } => {
            let mut change = server_change(spec, of, key, ServerAction::Deleted, None);
            if !is_configured(spec, of, key) && change.role == Role::Real {
                change.action = ServerAction::Purged(occasion);
            }
            Change::Server(change)
        }
    }
}

/// The real servers in service that are removed with their service when the daemon stops.
#[must_use]
pub fn purged(spec: &Spec, present: &Table, service: ServiceKey) -> Vec<Change> {
    let of = virtual_id(service);
    let destinations = present.services.get(&service).into_iter().flat_map(|service| &service.destinations);
    let changes = destinations.filter(|(_, config)| config.weight > 0).map(|(key, config)| {
        server_change(spec, of, key, ServerAction::Purged(Occasion::Stop), Some(config))
    });
    changes.filter(|change| change.role == Role::Real).map(Change::Server).collect()
}

fn edited(config: &DestinationConfig) -> ServerAction {
    if config.weight == 0 { ServerAction::Quiescent } else { ServerAction::Restored(config.weight) }
}

/// Whether the configuration has a real server for a destination. It no longer has servers that are leaving.
fn is_configured(spec: &Spec, of: VirtualId, key: &DestinationKey) -> bool {
    let servers =
        spec.virtual_index(of).map(|index| spec.servers_at(index, SocketAddr::new(key.address, key.port)));
    servers.into_iter().flatten().any(|member| !spec.is_leaving(member))
}

fn server_change(
    spec: &Spec,
    of: VirtualId,
    key: &DestinationKey,
    action: ServerAction,
    config: Option<&DestinationConfig>,
) -> ServerChange {
    let server = SocketAddr::new(key.address, key.port);
    let index = spec.virtual_index(of);
    let v = index.map(|index| &spec.virtuals()[index]);
    let fallback = v.and_then(|v| v.fallback.map(|fallback| fallback_destination(v, fallback)));
    let member = index.and_then(|index| spec.servers_at(index, server).next());
    let real = member.map(|member| spec.member(member).1);
    // If a real server and the fallback are one destination, it is the fallback if it has the fallback's properties.
    let is_fallback = fallback.is_some_and(|(fallback_key, fallback_config)| {
        fallback_key == *key && (real.is_none() || config == Some(&fallback_config))
    });
    ServerChange {
        action,
        role: if is_fallback { Role::Fallback } else { Role::Real },
        server,
        configured: real.map(|real| real.address).filter(|address| *address != server && !is_fallback),
        of,
    }
}

fn destination_key(v: &Virtual, address: SocketAddr, method: ForwardingMethod) -> DestinationKey {
    let destination = v.destination(address, method);
    DestinationKey { address: destination.ip(), port: destination.port() }
}

/// The kernel's key of the fallback server of a virtual service.
#[must_use]
pub fn fallback_key(v: &Virtual) -> Option<DestinationKey> {
    v.fallback.map(|fallback| fallback_destination(v, fallback).0)
}

/// The fallback server of a virtual service in the kernel's terms.
#[must_use]
pub fn fallback_destination(v: &Virtual, fallback: Fallback) -> (DestinationKey, DestinationConfig) {
    let port = fallback.port.or(v.id.port()).unwrap_or(0);
    let key = destination_key(v, SocketAddr::new(fallback.address, port), fallback.method);
    let mut config = DestinationConfig::new(kernel_method(fallback.method), 1);
    config.tunnel = kernel_tunnel(v);
    (key, config)
}

/// A real server with a weight in the kernel's terms.
#[must_use]
pub fn real_config(v: &Virtual, real: &Real, weight: u32) -> DestinationConfig {
    let mut config =
        DestinationConfig::new(kernel_method(real.method), weight.min(DestinationConfig::MAX_WEIGHT));
    config.tunnel = kernel_tunnel(v);
    config.upper = real.upper;
    // The kernel refuses a server whose lower threshold is above the upper one.
    config.lower = if real.lower <= real.upper { real.lower } else { 0 };
    config
}

/// A virtual service in the kernel's terms.
#[must_use]
pub fn service_config(v: &Virtual) -> ServiceConfig {
    let mut config = ServiceConfig::new(v.scheduling.scheduler.clone());
    // The configuration reports unknown flags; they are ignored here.
    config.flags =
        v.scheduling.schedflags.as_deref().and_then(|flags| flags.parse().ok()).unwrap_or_default();
    if v.scheduling.ops && matches!(v.id, VirtualId::Address { protocol: Protocol::Udp, .. }) {
        config.flags |= ServiceFlags::ONE_PACKET;
    }
    config.persistence = v.scheduling.persistent.map(|timeout| {
        let family = kernel_family(v.id.family());
        let netmask = v.scheduling.netmask.map_or_else(
            || ipvs_rs::Netmask::host(family),
            |mask| match mask {
                Netmask::V4(mask) => ipvs_rs::Netmask::V4(mask),
                Netmask::V6(length) => ipvs_rs::Netmask::V6(length),
            },
        );
        Persistence { timeout, netmask, engine: v.scheduling.persistengine.clone() }
    });
    config
}

/// The encapsulation for servers with `ipip`. It has no effect on others.
fn kernel_tunnel(v: &Virtual) -> ipvs_rs::Tunnel {
    let checksum = |wanted| if wanted { Checksum::Full } else { Checksum::None };
    match v.scheduling.tunnel {
        None => ipvs_rs::Tunnel::Ipip,
        Some(Tunnel::Gue { port, checksum: wanted }) => {
            ipvs_rs::Tunnel::Gue { port, checksum: checksum(wanted) }
        }
        Some(Tunnel::Gre { checksum: wanted }) => ipvs_rs::Tunnel::Gre { checksum: checksum(wanted) },
    }
}

/// Translates `timeouts` for the kernel.
#[must_use]
pub fn timeouts(spec: &Spec) -> Option<ipvs_rs::Timeouts> {
    let Timeouts { tcp, tcpfin, udp } = spec.config().globals.timeouts?;
    Some(ipvs_rs::Timeouts { tcp, tcp_fin: tcpfin, udp })
}

fn kernel_family(family: Family) -> ipvs_rs::Family {
    match family {
        Family::V4 => ipvs_rs::Family::V4,
        Family::V6 => ipvs_rs::Family::V6,
    }
}

fn kernel_method(method: ForwardingMethod) -> ipvs_rs::ForwardingMethod {
    match method {
        ForwardingMethod::Gate => ipvs_rs::ForwardingMethod::DirectRoute,
        ForwardingMethod::Masq => ipvs_rs::ForwardingMethod::Masquerade,
        ForwardingMethod::Ipip => ipvs_rs::ForwardingMethod::Tunnel,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::config::{self, Answers};

    /// The translation of our additional directives for the kernel. The lab tests them in a real table.
    #[test]
    fn words_for_the_kernel_are_translated() {
        let text = "#rs: timeouts=900,0,300\n\
                    virtual=10.0.0.1:80\n\treal=10.0.0.2:80 ipip\n\tquiescent=yes\n\tfallback=10.0.0.9 ipip\n\t#rs: tunnel=gue:5555,csum\n\
                    virtual=10.0.0.1:81\n\treal=10.0.0.2:81 gate\n\tquiescent=yes\n\t#rs: protocol=sctp\n\
                    virtual=10.0.0.1:82\n\treal=10.0.0.2:82 masq\n\tprotocol=udp\n\tpersistent=300\n\t#rs: persistengine=sip\n";
        let config = config::load(text.as_bytes(), &Answers::new("director")).config.unwrap();
        let spec = Spec::new(Arc::new(config));
        let health = Health::new(&spec, &BTreeSet::new(), Instant::now());
        let mut lines = Vec::new();
        for (key, service) in &wanted(&spec, &health).services {
            lines.push(format!("{key} {}", service.config));
            lines.extend(service.destinations.iter().map(|(server, config)| format!("-> {server} {config}")));
            assert_eq!(service_key(virtual_id(*key)), *key);
        }
        assert_eq!(
            lines,
            [
                "tcp 10.0.0.1:80 wrr",
                "-> 10.0.0.2:80 weight 0 (tunnel gue port 5555 csum)",
                "-> 10.0.0.9:80 weight 1 (tunnel gue port 5555 csum)",
                "udp 10.0.0.1:82 wrr persistent 300 pe sip",
                "sctp 10.0.0.1:81 wrr",
                "-> 10.0.0.2:81 weight 0 (route)",
            ]
        );
        assert_eq!(timeouts(&spec), Some(ipvs_rs::Timeouts { tcp: 900, tcp_fin: 0, udp: 300 }));
    }
}
