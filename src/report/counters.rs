//! Connections and statistics of the kernel's table, beside the state of the servers.

use std::sync::Arc;

use ipvs_rs::{DestinationSnapshot, ServiceSnapshot, Snapshot};

use super::snapshot::{DestinationEntry, StateSnapshot, VirtualService};
use super::traffic::traffic;
use super::view::{ServiceView, View};
use crate::desired;
use crate::value::VirtualId;

/// Reads the counters of one virtual service or of all, or says why they cannot be read. May block.
pub type CounterSource = Arc<dyn Fn(Option<VirtualId>) -> Result<Counters, String> + Send + Sync>;

/// The counters of the kernel at one moment.
#[derive(Clone, Debug, Default)]
pub struct Counters(Snapshot);

impl Counters {
    /// The counters of a table.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Counters {
        Counters(snapshot)
    }

    fn service(&self, id: VirtualId) -> Option<&ServiceSnapshot> {
        self.0.services.get(&desired::service_key(id))
    }
}

impl StateSnapshot {
    /// Adds the counters to a snapshot that was created from this view. `with_traffic`: also traffic and rates.
    #[must_use]
    pub fn with_counters(mut self, view: &View, counters: &Counters, with_traffic: bool) -> StateSnapshot {
        for (v, service) in self.virtuals.iter_mut().zip(&view.services) {
            v.count(service, counters, with_traffic);
        }
        self
    }
}

impl VirtualService {
    /// Adds the counters to the JSON form of this view.
    #[must_use]
    pub fn with_counters(
        mut self,
        view: &ServiceView,
        counters: &Counters,
        with_traffic: bool,
    ) -> VirtualService {
        self.count(view, counters, with_traffic);
        self
    }

    fn count(&mut self, view: &ServiceView, counters: &Counters, with_traffic: bool) {
        let Some(found) = counters.service(view.id) else { return };
        if with_traffic {
            let (total, rates) = traffic(&found.statistics);
            (self.traffic, self.rates) = (Some(total), Some(rates));
        }
        let entries = self.destinations.iter_mut().flatten().zip(view.destinations.iter().flatten());
        for (entry, destination) in entries {
            if let Some(found) = found.destinations.get(&destination.key) {
                count(entry, found, with_traffic);
            }
        }
    }
}

fn count(entry: &mut DestinationEntry, found: &DestinationSnapshot, with_traffic: bool) {
    entry.connections = Some(found.connections.into());
    if with_traffic {
        let (total, rates) = traffic(&found.statistics);
        (entry.traffic, entry.rates) = (Some(total), Some(rates));
    }
}
