//! Lists the kernel's table as `ipvsadm -Ln` does, byte for byte.
//!
//! The order may differ: `ipvsadm` compares addresses by the sign of their difference, which is not transitive for
//! addresses far apart. The order then depends on the order in the kernel.

use std::cmp::Ordering;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use ipvs_rs::{
    DestinationKey, DestinationSnapshot, Error, Family, ForwardingMethod, Ipvs, Kernel, Protocol,
    ServiceFlags, ServiceKey, ServiceSnapshot, Snapshot, Version,
};

fn main() -> ExitCode {
    match read() {
        Ok((version, snapshot)) => match print(&mut io::stdout().lock(), version, &snapshot) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn read() -> Result<(Version, Snapshot), Error> {
    let mut kernel = Kernel::open()?;
    Ok((kernel.version()?, kernel.snapshot()?))
}

fn print(out: &mut impl Write, version: Version, snapshot: &Snapshot) -> io::Result<()> {
    writeln!(out, "IP Virtual Server version {version} (size={})", version.connection_table_size)?;
    writeln!(out, "Prot LocalAddress:Port Scheduler Flags")?;
    writeln!(out, "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn")?;
    let services: Vec<_> = snapshot.services.iter().collect();
    for (key, service) in sorted(&services, &|a, b| compare_services(a.0, b.0)) {
        print_service(out, *key, service)?;
    }
    Ok(())
}

fn print_service(out: &mut impl Write, key: ServiceKey, service: &ServiceSnapshot) -> io::Result<()> {
    match key {
        ServiceKey::Address { protocol, address, port } => {
            let protocol = protocol.to_string().to_uppercase();
            write!(out, "{protocol:<4} {}", SocketAddr::new(address, port))?;
        }
        // The mark is printed as a signed number.
        ServiceKey::Mark { mark, family: Family::V4 } => write!(out, "FWM  {}", mark.cast_signed())?,
        ServiceKey::Mark { mark, family: Family::V6 } => write!(out, "FWM  {} IPv6", mark.cast_signed())?,
    }
    let mut config = service.config.clone();
    if matches!(config.scheduler.as_str(), "sh" | "mh") {
        // The third flag has no meaning for these two, and ipvsadm does not show it.
        let shown = config.flags.bits() & !ServiceFlags::SCHEDULER_3.bits();
        config.flags = ServiceFlags::from_bits_truncate(shown);
    }
    writeln!(out, " {config}")?;
    let destinations: Vec<_> = service.destinations.iter().collect();
    for (destination, state) in sorted(&destinations, &|a, b| compare_destinations(a.0, b.0)) {
        print_destination(out, *destination, state)?;
    }
    Ok(())
}

fn print_destination(
    out: &mut impl Write,
    key: DestinationKey,
    state: &DestinationSnapshot,
) -> io::Result<()> {
    let name = key.to_string();
    let method = match state.config.method {
        ForwardingMethod::Masquerade => "Masq",
        ForwardingMethod::Tunnel => "Tunnel",
        ForwardingMethod::DirectRoute => "Route",
        ForwardingMethod::LocalNode => "Local",
        // ipvsadm has no name for it: this is how the C library prints a null pointer.
        ForwardingMethod::Bypass => "(null)",
    };
    let (weight, connections) = (state.config.weight, state.connections);
    let (active, inactive) = (connections.active, connections.inactive);
    writeln!(out, "  -> {name:<28} {method:<7} {weight:<6} {active:<10} {inactive:<10}")
}

/// Compares by mark, family, protocol, address and port.
fn compare_services(a: &ServiceKey, b: &ServiceKey) -> Ordering {
    let mark = |key: &ServiceKey| if let ServiceKey::Mark { mark, .. } = key { *mark } else { 0 };
    let order = by_difference(mark(a), mark(b)).then(a.family().cmp(&b.family()));
    order.then_with(|| match (a, b) {
        (
            ServiceKey::Address { protocol, address, port },
            ServiceKey::Address { protocol: other_protocol, address: other_address, port: other_port },
        ) => {
            let order = protocol_number(*protocol).cmp(&protocol_number(*other_protocol));
            order.then_with(|| compare_addresses(*address, *other_address)).then(port.cmp(other_port))
        }
        _ => Ordering::Equal,
    })
}

/// Compares by address and port.
fn compare_destinations(a: &DestinationKey, b: &DestinationKey) -> Ordering {
    compare_addresses(a.address, b.address).then(a.port.cmp(&b.port))
}

/// Compares as many groups of 32 bits as the first address has. An IPv4 address has one group; the others are zero.
fn compare_addresses(a: IpAddr, b: IpAddr) -> Ordering {
    let groups = |address| match address {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => [96, 64, 32, 0].map(|shift| (address.to_bits() >> shift) as u32),
    };
    let count = if a.is_ipv6() { 4 } else { 1 };
    let pairs = groups(a).into_iter().zip(groups(b)).take(count);
    pairs.fold(Ordering::Equal, |order, (a, b)| order.then(by_difference(a, b)))
}

/// Compares by the sign of a difference of 32 bits: 192.168.0.1 comes before 10.0.0.1.
fn by_difference(a: u32, b: u32) -> Ordering {
    a.wrapping_sub(b).cast_signed().cmp(&0)
}

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// Sorts by merging halves, as the C library does. The order of `ipvsadm` is not a total order (see above), and the
/// standard library may panic on such an order.
fn sorted<T: Copy>(items: &[T], compare: &impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    if items.len() < 2 {
        return items.to_vec();
    }
    let (left, right) = items.split_at(items.len() / 2);
    let (left, right) = (sorted(left, compare), sorted(right, compare));
    let (mut left, mut right) = (left.as_slice(), right.as_slice());
    let mut merged = Vec::with_capacity(items.len());
    while let ([first, left_rest @ ..], [other, right_rest @ ..]) = (left, right) {
        if compare(first, other).is_le() {
            merged.push(*first);
            left = left_rest;
        } else {
            merged.push(*other);
            right = right_rest;
        }
    }
    merged.extend(left.iter().chain(right));
    merged
}
