//! What the kernel refuses, in the order of its checks.
//!
//! Source: `ip_vs_genl_set_cmd`, `ip_vs_add_service`, `ip_vs_edit_service`, `ip_vs_add_dest`, `ip_vs_new_dest`
//! and `ip_vs_edit_dest` in `net/netfilter/ipvs/ip_vs_ctl.c`.

use std::net::{IpAddr, Ipv6Addr};

use crate::error::{Error, REFUSED_DESTINATION, REFUSED_SERVICE};
use crate::ipvs::Timeouts;
use crate::snapshot::ServiceSnapshot;
use crate::table::{
    DestinationConfig, DestinationKey, Family, ForwardingMethod, Netmask, Operation, ServiceConfig,
    ServiceKey, Tunnel,
};

/// The schedulers of Linux 6. `none` is built in and schedules nothing.
const SCHEDULERS: [&str; 15] =
    ["none", "rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos"];

/// The persistence engines of Linux 6.
const ENGINES: [&str; 1] = ["sip"];

/// Maximum time-out in seconds: 2,147,483,647 ticks, at 250 ticks per second as in most distributions.
const MAX_TIMEOUT: u32 = i32::MAX as u32 / 250;

/// Refuses what the kernel would refuse. `service` is the service of the operation, if it exists.
pub(super) fn check(service: Option<&ServiceSnapshot>, operation: &Operation) -> Result<(), Error> {
    match (operation, service) {
        (Operation::AddService { .. }, Some(_)) => Err(Error::ServiceExists),
        (Operation::AddService { key, config }, None) => check_service(*key, config),
        (_, None) => Err(Error::NoSuchService),
        (Operation::EditService { key, config }, Some(_)) => check_service(*key, config),
        (Operation::RemoveService { .. }, Some(_)) => Ok(()),
        (Operation::AddDestination { service: owner, key, config }, Some(service)) => {
            check_destination(*owner, *key, config)?;
            if service.destinations.contains_key(key) {
                return Err(Error::DestinationExists);
            }
            if is_unicast(key.address) { Ok(()) } else { Err(Error::invalid(REFUSED_DESTINATION)) }
        }
        (Operation::EditDestination { service: owner, key, config }, Some(service)) => {
            check_destination(*owner, *key, config)?;
            check_presence(service, key)
        }
        (Operation::RemoveDestination { key, .. }, Some(service)) => check_presence(service, key),
    }
}

/// Refuses time-outs of more ticks than the maximum of the kernel.
pub(super) fn check_timeouts(timeouts: Timeouts) -> Result<(), Error> {
    if [timeouts.tcp, timeouts.tcp_fin, timeouts.udp].iter().all(|seconds| *seconds <= MAX_TIMEOUT) {
        Ok(())
    } else {
        Err(Error::invalid("the kernel refuses the values"))
    }
}

fn check_service(key: ServiceKey, config: &ServiceConfig) -> Result<(), Error> {
    let engine = config.persistence.as_ref().and_then(|persistence| persistence.engine.as_deref());
    let known = SCHEDULERS.contains(&config.scheduler.as_str());
    if !known || !engine.is_none_or(|engine| ENGINES.contains(&engine)) {
        return Err(Error::NoSuchScheduler {
            scheduler: config.scheduler.clone(),
            engine: engine.map(str::to_owned),
        });
    }
    match config.persistence.as_ref().map(|persistence| persistence.netmask) {
        Some(Netmask::V6(prefix)) if key.family() == Family::V6 && !(1..=128).contains(&prefix) => {
            Err(Error::invalid(REFUSED_SERVICE))
        }
        _ => Ok(()),
    }
}

fn check_destination(
    service: ServiceKey,
    key: DestinationKey,
    config: &DestinationConfig,
) -> Result<(), Error> {
    if key.family() != service.family() && config.method != ForwardingMethod::Tunnel {
        return Err(Error::invalid(REFUSED_DESTINATION));
    }
    if config.weight > DestinationConfig::MAX_WEIGHT || config.lower > config.upper {
        return Err(Error::OutOfRange);
    }
    let gue_without_port = matches!(config.effective_tunnel(), Some(Tunnel::Gue { port: 0, .. }));
    if config.upper > DestinationConfig::MAX_UPPER || gue_without_port {
        return Err(Error::invalid(REFUSED_DESTINATION));
    }
    Ok(())
}

fn check_presence(service: &ServiceSnapshot, key: &DestinationKey) -> Result<(), Error> {
    if service.destinations.contains_key(key) { Ok(()) } else { Err(Error::NoSuchDestination) }
}

/// Whether `inet_addr_type` or `ipv6_addr_type` treats an address as unicast on a machine without its own addresses.
fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_unspecified() || address.is_broadcast() || address.is_multicast())
        }
        IpAddr::V6(address) => {
            let mapped = address.to_ipv4_mapped().is_some();
            !(address == Ipv6Addr::UNSPECIFIED
                || address.is_multicast()
                || address.is_unicast_link_local()
                || mapped)
        }
    }
}
