//! A table at one moment, with connections and statistics.
//!
//! Source: `IPVS_DEST_ATTR_*` and `IPVS_STATS_ATTR_*` of `linux/ip_vs.h`.

use std::collections::BTreeMap;

use crate::table::{DestinationConfig, DestinationKey, Service, ServiceConfig, ServiceKey, Table};

/// A table with connections and statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The services.
    pub services: BTreeMap<ServiceKey, ServiceSnapshot>,
}

/// A virtual service with its statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSnapshot {
    /// The configuration of the service.
    pub config: ServiceConfig,
    /// Counters since it was added or the counters were reset.
    pub statistics: Statistics,
    /// The destinations.
    pub destinations: BTreeMap<DestinationKey, DestinationSnapshot>,
}

/// A destination with its connections and statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationSnapshot {
    /// The configuration of the destination.
    pub config: DestinationConfig,
    /// The current connections.
    pub connections: Connections,
    /// Counters since it was added or the counters were reset.
    pub statistics: Statistics,
}

/// Numbers of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Established connections.
    pub active: u32,
    /// Connections in any other state, for example closing.
    pub inactive: u32,
    /// Clients that persistence keeps on this destination.
    pub persistent: u32,
}

/// Counters of 64 bits. Kernels before 4.1 count in 32 bits and wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients. The director sees them only with masquerading.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// The current rates.
    pub rates: Rates,
}

/// The rates per second, which the kernel estimates every two seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Connections scheduled per second.
    pub connections: u64,
    /// Packets from clients per second.
    pub packets_in: u64,
    /// Packets to clients per second.
    pub packets_out: u64,
    /// Bytes from clients per second.
    pub bytes_in: u64,
    /// Bytes to clients per second.
    pub bytes_out: u64,
}

impl ServiceSnapshot {
    /// A service without destinations and with zero counters.
    pub fn new(config: ServiceConfig) -> Self {
        Self { config, statistics: Statistics::default(), destinations: BTreeMap::new() }
    }

    /// The service without connections and statistics.
    pub fn service(&self) -> Service {
        let destinations = self.destinations.iter().map(|(key, destination)| (*key, destination.config));
        Service { config: self.config.clone(), destinations: destinations.collect() }
    }
}

impl DestinationSnapshot {
    /// A destination with zero counters.
    pub fn new(config: DestinationConfig) -> Self {
        Self { config, connections: Connections::default(), statistics: Statistics::default() }
    }
}

impl Snapshot {
    /// The table without connections and statistics.
    pub fn table(&self) -> Table {
        Table { services: self.services.iter().map(|(key, service)| (*key, service.service())).collect() }
    }
}
