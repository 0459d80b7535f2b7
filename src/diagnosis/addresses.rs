//! Addresses of this machine, and whether packets reach the servers by the forwarding method.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Finding, Interface, Machine, Topic, count, names, servers, services};
use crate::spec::{Real, Spec, Virtual};
use crate::value::{Family, ForwardingMethod, NextHop, VirtualId};

/// The number of findings of one kind. The others are counted.
const SHOWN: usize = 5;

/// Whether the virtual addresses are on this machine, and which servers are.
pub(super) fn addresses(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    if machine.dry_run {
        return Vec::new();
    }
    let interfaces = match &machine.interfaces {
        Ok(interfaces) => interfaces,
        Err(why) => return vec![Finding::unseen(Topic::Addresses, "the addresses of this machine", why)],
    };
    let wanted: BTreeSet<IpAddr> = spec.virtuals().iter().filter_map(address).collect();
    let place = |address: &IpAddr| interfaces.iter().find(|own| own.address == *address);
    let (here, away): (Vec<IpAddr>, Vec<IpAddr>) =
        wanted.iter().partition(|address| place(address).is_some());
    let mut found = Vec::new();
    if !here.is_empty() {
        let on: BTreeSet<&str> =
            here.iter().filter_map(place).map(|own: &Interface| own.name.as_str()).collect();
        let on: Vec<&str> = on.into_iter().collect();
        found.push(Finding::ok(Topic::Addresses, format!("{} on {}", are(&here), on.join(", "))));
    }
    if !away.is_empty() && here.is_empty() {
        let it = if away.len() == 1 { "is" } else { "are" };
        found.push(
            Finding::note(Topic::Addresses, format!("{} {it} not on this machine", range(&away))).why(
                "right on a standby director; the active one needs them, from its cluster manager or by hand",
            ),
        );
    } else if !away.is_empty() {
        let it = if away.len() == 1 { "is" } else { "are" };
        let users = services(spec, |v| address(v).is_some_and(|address| away.contains(&address)));
        found.push(
            Finding::warning(Topic::Addresses, format!("{} {it} not on this machine", range(&away)))
                .why(format!("other virtual addresses are: no client reaches {}", names(&users)))
                .remedy("give the address to this machine, or correct the file"),
        );
    }
    let local: BTreeSet<IpAddr> = spec
        .virtuals()
        .iter()
        .flat_map(|v| &v.reals)
        .map(|real| real.address.ip())
        .filter(|address| machine.is_local(*address))
        .collect();
    if !local.is_empty() {
        let local: Vec<IpAddr> = local.into_iter().collect();
        let (are, s) = if local.len() == 1 { ("is", "") } else { ("are", "s") };
        let what = format!("{} {are} this machine: local server{s}, packets do not leave it", range(&local));
        found.push(Finding::note(Topic::Addresses, what));
    }
    found
}

fn address(v: &Virtual) -> Option<IpAddr> {
    match v.id {
        VirtualId::Address { address, .. } => Some(address.ip()),
        VirtualId::Mark { .. } => None,
    }
}

/// Addresses in words, in order: one, two, or the first and the last.
fn range(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => String::new(),
        [only] => only.to_string(),
        [first, last] => format!("{first} and {last}"),
        [first, .., last] => format!("{first} to {last} ({})", addresses.len()),
    }
}

fn are(addresses: &[IpAddr]) -> String {
    format!("{} {}", range(addresses), if addresses.len() == 1 { "is" } else { "are" })
}

/// Whether the kernel forwards packets, which NAT needs.
pub(super) fn forwarding(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    if machine.dry_run {
        return Vec::new();
    }
    let families = [(Family::V4, "net.ipv4.ip_forward"), (Family::V6, "net.ipv6.conf.all.forwarding")];
    let of_family = |(family, name): (Family, &str)| {
        let remote = |real: &Real| {
            real.method == ForwardingMethod::Masq
                && Family::of(real.address.ip()) == family
                && !machine.is_local(real.address.ip())
        };
        let users = services(spec, |v| v.reals.iter().any(remote));
        if users.is_empty() {
            return None;
        }
        if let Some(why) = machine.sysctls.unreadable.get(name) {
            return Some(Finding::unseen(Topic::Forwarding, name, why));
        }
        let number = servers(&users, remote).len();
        Some(match machine.sysctls.number(name) {
            Some(0) => Finding::error(Topic::Forwarding, format!("{name} = 0, needed: 1"))
                .why(format!(
                    "{} {} by masq: no packet of a client reaches {}",
                    names(&users),
                    if users.len() == 1 { "forwards" } else { "forward" },
                    if number == 1 {
                        "the server".to_owned()
                    } else {
                        format!("the {}", count(number, "server"))
                    }
                ))
                .remedy(format!("sysctl -w {name}=1")),
            Some(value) => Finding::ok(Topic::Forwarding, format!("{name} = {value}")),
            None => {
                Finding::unseen(Topic::Forwarding, name, "this kernel does not have it: is IPv6 disabled?")
            }
        })
    };
    families.into_iter().filter_map(of_family).collect()
}

/// Servers that their forwarding method cannot reach as written.
pub(super) fn method(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    let mut found = Vec::new();
    for v in spec.virtuals() {
        let Some((port, named_by)) = port_of_clients(v) else { continue };
        for real in
            v.reals.iter().filter(|real| keeps_port(real) && ![0, port].contains(&real.address.port()))
        {
            let what =
                format!("{} in {}: {} cannot change the port", real.address, v.id.qualified(), real.method);
            let way =
                if real.method == ForwardingMethod::Gate { "direct routing keeps" } else { "a tunnel keeps" };
            found.push(
                Finding::error(Topic::Method, what)
                    .why(format!("{way} the port of the client, {port}{named_by}"))
                    .remedy(format!("write masq, or the same port (line {})", real.line)),
            );
        }
    }
    let (errors, unseen) = by_router(spec, machine)
        .into_iter()
        .partition::<Vec<_>, _>(|f| f.level == super::FindingLevel::Error);
    found.extend(errors);
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for finding in found.drain(SHOWN.min(found.len())..) {
        *others.entry(finding.why.unwrap_or_default()).or_default() += 1;
    }
    let others = others.into_iter().map(|(why, number)| {
        Finding::error(Topic::Method, format!("{} as well", count(number, "more server"))).why(why)
    });
    found.extend(others);
    found.extend(unseen);
    found
}

fn keeps_port(real: &Real) -> bool {
    real.method != ForwardingMethod::Masq
}

/// The port that clients of a service use. For a firewall mark, that of most servers.
fn port_of_clients(v: &Virtual) -> Option<(u16, &'static str)> {
    if let Some(port) = v.id.port() {
        // Port 0: all ports of the address.
        return Some((port, "")).filter(|_| port != 0);
    }
    let mut ports: BTreeMap<u16, usize> = BTreeMap::new();
    for real in v.reals.iter().filter(|real| keeps_port(real) && real.address.port() != 0) {
        *ports.entry(real.address.port()).or_default() += 1;
    }
    let (port, number) = ports.into_iter().max_by_key(|(_, number)| *number)?;
    (2 * number > v.reals.len()).then_some((port, " as most of its servers have it"))
}

/// Direct routing by a router: the router sends the packet back, as its destination is the virtual address.
fn by_router(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    if machine.dry_run {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut unseen = None;
    for v in spec.virtuals() {
        for real in v.reals.iter().filter(|real| real.method == ForwardingMethod::Gate) {
            let way = match machine.next_hops.get(&real.address.ip()) {
                Some(Ok(NextHop::Router)) => {
                    "its route is by a router, which does not forward a packet for the virtual address to it"
                }
                Some(Ok(NextHop::Unreachable)) => "this machine has no route to it",
                Some(Ok(NextHop::Local | NextHop::Direct)) | None => continue,
                Some(Err(why)) => {
                    unseen = Some(why);
                    continue;
                }
            };
            let server = format!("{} in {}", real.address, v.id.qualified());
            found.push(
                Finding::error(
                    Topic::Method,
                    format!("{server}: gate needs a server in a network of this machine"),
                )
                .why(way)
                .remedy(format!("write ipip or masq, or connect both to one network (line {})", real.line)),
            );
        }
    }
    found.extend(unseen.map(|why| Finding::unseen(Topic::Method, "the route to a server", why)));
    found
}
