//! A table in memory that answers like the kernel.
//!
//! It refuses what `net/netfilter/ipvs/ip_vs_ctl.c` refuses, with the same errors in the same order. The test suite
//! `tests/contract.rs` runs on it and on a real kernel.

mod rules;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::ipvs::{Ipvs, Timeouts, Version};
use crate::snapshot::{Connections, DestinationSnapshot, ServiceSnapshot, Snapshot, Statistics};
use crate::table::{DestinationKey, Operation, ServiceKey, Table, check_key};

/// A table in memory, for dry runs and tests.
///
/// Clones share the table, so that a test can observe or change what another part uses.
///
/// ```
/// use ipvs_rs::{Family, Ipvs, Memory, Operation, ServiceConfig, ServiceKey};
///
/// let mut memory = Memory::new();
/// let key = ServiceKey::Mark { mark: 1, family: Family::V4 };
/// let results = memory.apply(&[Operation::AddService { key, config: ServiceConfig::new("wlc") }]);
/// assert_eq!(results, [Ok(())]);
/// assert!(memory.dump()?.services.contains_key(&key));
/// # Ok::<(), ipvs_rs::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    snapshot: Snapshot,
    timeouts: Timeouts,
    operations: u64,
    /// Number of writes and reads that still have to fail.
    write_failures: Option<(usize, Error)>,
    read_failures: Option<(usize, Error)>,
    hidden: BTreeSet<ServiceKey>,
}

impl Default for State {
    fn default() -> Self {
        let timeouts = Timeouts { tcp: 900, tcp_fin: 120, udp: 300 };
        let snapshot = Snapshot::default();
        Self {
            snapshot,
            timeouts,
            operations: 0,
            write_failures: None,
            read_failures: None,
            hidden: BTreeSet::new(),
        }
    }
}

impl Memory {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// A table with this content. It is not checked whether the kernel would accept it.
    pub fn with_table(table: &Table) -> Self {
        let services = table.services.iter().map(|(key, service)| {
            let destinations = service.destinations.iter();
            let destinations = destinations.map(|(key, config)| (*key, DestinationSnapshot::new(*config)));
            let service = ServiceSnapshot {
                destinations: destinations.collect(),
                ..ServiceSnapshot::new(service.config.clone())
            };
            (*key, service)
        });
        let memory = Self::new();
        memory.lock().snapshot.services = services.collect();
        memory
    }

    /// Number of writes so far: operations, including refused ones, and each call of flush, zero and
    /// `set_timeouts`.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Makes the next `count` writes fail with this error, without a change.
    pub fn fail_next(&self, count: usize, error: Error) {
        self.lock().write_failures = Some((count, error));
    }

    /// Makes the next `count` reads fail with this error.
    pub fn fail_next_reads(&self, count: usize, error: Error) {
        self.lock().read_failures = Some((count, error));
    }

    /// Leaves this service out when the whole table is read, as the kernel can do while others are removed.
    pub fn hide(&self, service: ServiceKey) {
        self.lock().hidden.insert(service);
    }

    /// Sets the connections of a destination. Returns `false` if it does not exist.
    pub fn set_connections(
        &self,
        service: ServiceKey,
        destination: DestinationKey,
        connections: Connections,
    ) -> bool {
        self.lock().change(service, destination, |entry| entry.connections = connections)
    }

    /// Sets the statistics of a destination. Returns `false` if it does not exist.
    pub fn set_statistics(
        &self,
        service: ServiceKey,
        destination: DestinationKey,
        statistics: Statistics,
    ) -> bool {
        self.lock().change(service, destination, |entry| entry.statistics = statistics)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is changed in single steps, so a panic in another thread cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a write, and makes it fail if requested.
    fn begin_write(&mut self) -> Result<(), Error> {
        self.operations += 1;
        take_failure(&mut self.write_failures)
    }

    /// Returns the state, or fails if requested.
    fn begin_read(&mut self) -> Result<&Self, Error> {
        take_failure(&mut self.read_failures)?;
        Ok(self)
    }

    fn write(&mut self, operation: &Operation) -> Result<(), Error> {
        self.begin_write()?;
        operation.check()?;
        let service = self.snapshot.services.get(&operation.service());
        rules::check(service, operation)?;
        self.change_table(operation);
        Ok(())
    }

    /// Makes a change that [`rules::check`] has accepted.
    fn change_table(&mut self, operation: &Operation) {
        let services = &mut self.snapshot.services;
        match operation {
            Operation::AddService { key, config } => {
                services.insert(*key, ServiceSnapshot::new(config.clone()));
            }
            Operation::RemoveService { key } => {
                services.remove(key);
            }
            _ => {
                if let Some(service) = services.get_mut(&operation.service()) {
                    change_service(service, operation);
                }
            }
        }
    }

    fn change(
        &mut self,
        service: ServiceKey,
        destination: DestinationKey,
        change: impl FnOnce(&mut DestinationSnapshot),
    ) -> bool {
        let service = self.snapshot.services.get_mut(&service);
        service.and_then(|service| service.destinations.get_mut(&destination)).map(change).is_some()
    }
}

fn take_failure(failures: &mut Option<(usize, Error)>) -> Result<(), Error> {
    match failures {
        Some((count, error)) if *count > 0 => {
            *count -= 1;
            Err(error.clone())
        }
        _ => Ok(()),
    }
}

fn change_service(service: &mut ServiceSnapshot, operation: &Operation) {
    match operation {
        Operation::EditService { config, .. } => service.config = config.clone(),
        Operation::AddDestination { key, config, .. } => {
            service.destinations.insert(*key, DestinationSnapshot::new(*config));
        }
        Operation::EditDestination { key, config, .. } => {
            if let Some(destination) = service.destinations.get_mut(key) {
                destination.config = *config;
            }
        }
        Operation::RemoveDestination { key, .. } => {
            service.destinations.remove(key);
        }
        Operation::AddService { .. } | Operation::RemoveService { .. } => {}
    }
}

fn zero_service(service: &mut ServiceSnapshot) {
    service.statistics = Statistics::default();
    for destination in service.destinations.values_mut() {
        destination.statistics = Statistics::default();
    }
}

impl Ipvs for Memory {
    fn version(&mut self) -> Result<Version, Error> {
        self.lock().begin_read()?;
        Ok(Version { major: 1, minor: 2, patch: 1, connection_table_size: 4096 })
    }

    fn dump(&mut self) -> Result<Table, Error> {
        Ok(self.snapshot()?.table())
    }

    fn snapshot(&mut self) -> Result<Snapshot, Error> {
        let mut state = self.lock();
        let mut snapshot = state.begin_read()?.snapshot.clone();
        snapshot.services.retain(|key, _| !state.hidden.contains(key));
        Ok(snapshot)
    }

    fn service_snapshot(&mut self, key: ServiceKey) -> Result<Option<ServiceSnapshot>, Error> {
        check_key(key)?;
        Ok(self.lock().begin_read()?.snapshot.services.get(&key).cloned())
    }

    fn apply(&mut self, operations: &[Operation]) -> Vec<Result<(), Error>> {
        let mut state = self.lock();
        operations.iter().map(|operation| state.write(operation)).collect()
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut state = self.lock();
        state.begin_write()?;
        state.snapshot.services.clear();
        Ok(())
    }

    fn zero(&mut self, service: Option<ServiceKey>) -> Result<(), Error> {
        let mut state = self.lock();
        state.begin_write()?;
        match service {
            None => state.snapshot.services.values_mut().for_each(zero_service),
            Some(key) => {
                check_key(key)?;
                zero_service(state.snapshot.services.get_mut(&key).ok_or(Error::NoSuchService)?);
            }
        }
        Ok(())
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        Ok(self.lock().begin_read()?.timeouts)
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Error> {
        let mut state = self.lock();
        state.begin_write()?;
        rules::check_timeouts(timeouts)?;
        let kept = state.timeouts;
        let set = |new: u32, kept: u32| if new == 0 { kept } else { new };
        state.timeouts = Timeouts {
            tcp: set(timeouts.tcp, kept.tcp),
            tcp_fin: set(timeouts.tcp_fin, kept.tcp_fin),
            udp: set(timeouts.udp, kept.udp),
        };
        Ok(())
    }
}
