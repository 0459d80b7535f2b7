//! Connections and traffic of the kernel's table, next to the state of the servers.

use std::fmt;
use std::sync::Arc;

use ipvs_rs::{DestinationKey, ServiceSnapshot, Snapshot};

use super::snapshot::{DestinationEntry, VirtualService};
use super::traffic::{Traffic, traffic};
use super::view::ServiceView;
use crate::desired;
use crate::value::VirtualId;

/// Reads the counters of one virtual service or of all, or says why they cannot be read. May block.
type ReadTable = dyn Fn(Option<VirtualId>) -> Result<Snapshot, String> + Send + Sync;

/// Where the counters come from.
#[derive(Clone)]
pub struct CounterSource(Arc<ReadTable>);

/// The counters of the kernel at one moment. By default none.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    table: Snapshot,
    has_traffic: bool,
}

impl CounterSource {
    /// Counters that this function reads. It may block.
    pub fn new(
        read: impl Fn(Option<VirtualId>) -> Result<Snapshot, String> + Send + Sync + 'static,
    ) -> CounterSource {
        CounterSource(Arc::new(read))
    }

    /// No counters: the table is in memory.
    #[must_use]
    pub fn none() -> CounterSource {
        CounterSource::new(|_| Ok(Snapshot::default()))
    }

    /// Reads the counters of one virtual service or of all. `with_traffic`: not only connections. Blocks.
    ///
    /// # Errors
    /// The kernel's answer, if it cannot be read.
    pub fn read(&self, service: Option<VirtualId>, with_traffic: bool) -> Result<Counters, String> {
        Ok(Counters { table: (self.0)(service)?, has_traffic: with_traffic })
    }
}

impl fmt::Debug for CounterSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CounterSource")
    }
}

impl Counters {
    /// The counters of one virtual service.
    pub(super) fn service(&self, id: VirtualId) -> Option<ServiceCounters<'_>> {
        let found = self.table.services.get(&desired::service_key(id))?;
        Some(ServiceCounters { found, has_traffic: self.has_traffic })
    }
}

/// The counters of one virtual service.
#[derive(Clone, Copy)]
pub(super) struct ServiceCounters<'a> {
    found: &'a ServiceSnapshot,
    has_traffic: bool,
}

impl ServiceCounters<'_> {
    /// The traffic of the service and its rates, if they are wanted.
    pub(super) fn traffic(self) -> (Option<Traffic>, Option<Traffic>) {
        if !self.has_traffic {
            return (None, None);
        }
        let (total, rates) = traffic(&self.found.statistics);
        (Some(total), Some(rates))
    }

    /// Adds the counters of a destination.
    pub(super) fn count(self, key: DestinationKey, entry: &mut DestinationEntry) {
        let Some(found) = self.found.destinations.get(&key) else { return };
        entry.connections = Some(found.connections.into());
        if self.has_traffic {
            let (total, rates) = traffic(&found.statistics);
            (entry.traffic, entry.rates) = (Some(total), Some(rates));
        }
    }
}

impl VirtualService {
    /// Adds the counters to the JSON form of this view.
    #[must_use]
    pub fn with_counters(mut self, view: &ServiceView, counters: &Counters) -> VirtualService {
        let Some(found) = counters.service(view.id) else { return self };
        (self.traffic, self.rates) = found.traffic();
        let entries = self.destinations.iter_mut().flatten().zip(view.destinations.iter().flatten());
        for (entry, destination) in entries {
            found.count(destination.key, entry);
        }
        self
    }
}
