//! A table of virtual services and their destinations. The kernel has one per network namespace.

mod destination;
mod flags;
mod ipvsadm;
mod operation;
mod service;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

pub use destination::{Checksum, DestinationConfig, DestinationKey, ForwardingMethod, Tunnel};
pub use flags::{ParseFlagsError, ServiceFlags};
pub use operation::Operation;
pub(crate) use operation::check_key;
pub use service::{Family, Netmask, Persistence, Protocol, ServiceConfig, ServiceKey};

use crate::error::Error;

/// Virtual services and their destinations.
///
/// Two tables are equal if the kernel treats them the same. A dump of a table that was written is equal to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The services.
    pub services: BTreeMap<ServiceKey, Service>,
}

/// A virtual service with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The configuration of the service.
    pub config: ServiceConfig,
    /// The destinations.
    pub destinations: BTreeMap<DestinationKey, DestinationConfig>,
}

impl Service {
    /// A service without destinations.
    pub fn new(config: ServiceConfig) -> Self {
        Self { config, destinations: BTreeMap::new() }
    }
}

impl Table {
    /// Applies one operation, or changes nothing if it is refused.
    ///
    /// Checks only whether objects exist, not whether the kernel would accept the values: see
    /// [`Memory`](crate::Memory) for that.
    ///
    /// # Errors
    /// [`Error::NoSuchService`], [`Error::NoSuchDestination`], [`Error::ServiceExists`] and
    /// [`Error::DestinationExists`], as in the kernel.
    pub fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        match operation {
            Operation::AddService { key, config } => match self.services.entry(*key) {
                Entry::Occupied(_) => return Err(Error::ServiceExists),
                Entry::Vacant(entry) => {
                    entry.insert(Service::new(config.clone()));
                }
            },
            Operation::EditService { key, config } => self.service_mut(*key)?.config = config.clone(),
            Operation::RemoveService { key } => {
                self.services.remove(key).ok_or(Error::NoSuchService)?;
            }
            Operation::AddDestination { service, key, config } => {
                match self.service_mut(*service)?.destinations.entry(*key) {
                    Entry::Occupied(_) => return Err(Error::DestinationExists),
                    Entry::Vacant(entry) => {
                        entry.insert(*config);
                    }
                }
            }
            Operation::EditDestination { service, key, config } => {
                let destinations = &mut self.service_mut(*service)?.destinations;
                *destinations.get_mut(key).ok_or(Error::NoSuchDestination)? = *config;
            }
            Operation::RemoveDestination { service, key } => {
                self.service_mut(*service)?.destinations.remove(key).ok_or(Error::NoSuchDestination)?;
            }
        }
        Ok(())
    }

    fn service_mut(&mut self, key: ServiceKey) -> Result<&mut Service, Error> {
        self.services.get_mut(&key).ok_or(Error::NoSuchService)
    }
}
