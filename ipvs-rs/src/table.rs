//! A table of virtual services and their destinations, as the kernel has one per network namespace.

mod destination;
mod flags;
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
/// Two tables are equal when the kernel does the same with both; a dump of a table that was written equals it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The services.
    pub services: BTreeMap<ServiceKey, Service>,
}

/// A virtual service with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// How the service is set up.
    pub config: ServiceConfig,
    /// The servers behind it.
    pub destinations: BTreeMap<DestinationKey, DestinationConfig>,
}

impl Service {
    /// A service without destinations.
    pub fn new(config: ServiceConfig) -> Self {
        Self { config, destinations: BTreeMap::new() }
    }
}

impl Table {
    /// Makes one change, or none if it is refused.
    ///
    /// Only presence is asked here, not whether the kernel would take the values: see
    /// [`Memory`](crate::Memory) for that.
    ///
    /// # Errors
    /// [`Error::NoSuchService`], [`Error::NoSuchDestination`], [`Error::ServiceExists`] and
    /// [`Error::DestinationExists`], as the kernel has them.
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
