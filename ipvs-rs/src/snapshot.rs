//! A table as it was at one moment, with connections and statistics.
//!
//! Source: `IPVS_DEST_ATTR_*` and `IPVS_STATS_ATTR_*` of `linux/ip_vs.h`.

use std::collections::BTreeMap;

use crate::table::{DestinationConfig, DestinationKey, Service, ServiceConfig, ServiceKey, Table};

/// A table with what happened in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The services.
    pub services: BTreeMap<ServiceKey, ServiceSnapshot>,
}

/// A virtual service with what happened in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSnapshot {
    /// How the service is set up.
    pub config: ServiceConfig,
    /// What it has handled since it was added or its counters were zeroed.
    pub statistics: Statistics,
    /// The servers behind it.
    pub destinations: BTreeMap<DestinationKey, DestinationSnapshot>,
}

/// A destination with what happened on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationSnapshot {
    /// How it is reached.
    pub config: DestinationConfig,
    /// The connections that it has now.
    pub connections: Connections,
    /// What it has handled since it was added or its counters were zeroed.
    pub statistics: Statistics,
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Established ones.
    pub active: u32,
    /// Those in any other state, for example ending.
    pub inactive: u32,
    /// Clients that persistence holds to this destination.
    pub persistent: u32,
}

/// What was handled, in numbers of 64 bits; kernels before 4.1 count in 32 bits and wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; only masquerading lets the director see them.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// How fast it goes at present.
    pub rates: Rates,
}

/// The same per second, as the kernel estimates it every two seconds.
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
    /// A service without destinations, of which nothing is counted yet.
    pub fn new(config: ServiceConfig) -> Self {
        Self { config, statistics: Statistics::default(), destinations: BTreeMap::new() }
    }

    /// The service alone.
    pub fn service(&self) -> Service {
        let destinations = self.destinations.iter().map(|(key, destination)| (*key, destination.config));
        Service { config: self.config.clone(), destinations: destinations.collect() }
    }
}

impl DestinationSnapshot {
    /// A destination of which nothing is counted yet.
    pub fn new(config: DestinationConfig) -> Self {
        Self { config, connections: Connections::default(), statistics: Statistics::default() }
    }
}

impl Snapshot {
    /// The table alone.
    pub fn table(&self) -> Table {
        Table { services: self.services.iter().map(|(key, service)| (*key, service.service())).collect() }
    }
}
