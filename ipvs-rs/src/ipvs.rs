//! The operations on a table of virtual services, in the kernel or in memory.

use std::fmt;

use crate::error::Error;
use crate::snapshot::{ServiceSnapshot, Snapshot};
use crate::table::{Operation, Service, ServiceKey, Table};

/// A table of virtual services.
///
/// All calls are synchronous: the kernel executes a request before `send` returns.
pub trait Ipvs: Send {
    /// The version of IPVS.
    ///
    /// # Errors
    /// When the kernel cannot be reached.
    fn version(&mut self) -> Result<Version, Error>;

    /// The table.
    ///
    /// Services with a protocol that is not in [`Protocol`](crate::Protocol) are left out. The kernel returns a
    /// large table in pieces and continues by counting, over all network namespaces. Changes made meanwhile by
    /// others may be included or not, and for each service that is removed meanwhile another one may be missing. To
    /// be sure about one service, use [`Ipvs::service`].
    ///
    /// # Errors
    /// When the kernel cannot be reached; [`Error::Interrupted`] when the table changed during each attempt.
    fn dump(&mut self) -> Result<Table, Error>;

    /// The table with connections and statistics.
    ///
    /// # Errors
    /// As for [`Ipvs::dump`].
    fn snapshot(&mut self) -> Result<Snapshot, Error>;

    /// One service with its destinations, connections and statistics. None if it does not exist.
    ///
    /// # Errors
    /// As for [`Ipvs::dump`].
    fn service_snapshot(&mut self, key: ServiceKey) -> Result<Option<ServiceSnapshot>, Error>;

    /// One service with its destinations. None if it does not exist.
    ///
    /// # Errors
    /// As for [`Ipvs::dump`].
    fn service(&mut self, key: ServiceKey) -> Result<Option<Service>, Error> {
        Ok(self.service_snapshot(key)?.map(|found| found.service()))
    }

    /// Applies operations one after the other, and returns one result for each, in their order.
    ///
    /// This is not a transaction: a refused operation does not stop the later ones. If
    /// [`Error::is_uncertain`] is true for a result, read the table again.
    fn apply(&mut self, operations: &[Operation]) -> Vec<Result<(), Error>>;

    /// Removes all services, including those added by other programs.
    ///
    /// # Errors
    /// When the kernel refuses it.
    fn flush(&mut self) -> Result<(), Error>;

    /// Resets the statistics of one service with its destinations, or of all services.
    ///
    /// # Errors
    /// [`Error::NoSuchService`], or when the kernel refuses it.
    fn zero(&mut self, service: Option<ServiceKey>) -> Result<(), Error>;

    /// How long idle connections are kept.
    ///
    /// # Errors
    /// When the kernel cannot be reached.
    fn timeouts(&mut self) -> Result<Timeouts, Error>;

    /// Sets how long idle connections are kept. A time-out of 0 is not changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a time-out is more than the maximum of the kernel (2,147,483,647 ticks).
    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Error>;
}

impl<T: Ipvs + ?Sized> Ipvs for Box<T> {
    fn version(&mut self) -> Result<Version, Error> {
        (**self).version()
    }

    fn dump(&mut self) -> Result<Table, Error> {
        (**self).dump()
    }

    fn snapshot(&mut self) -> Result<Snapshot, Error> {
        (**self).snapshot()
    }

    fn service_snapshot(&mut self, key: ServiceKey) -> Result<Option<ServiceSnapshot>, Error> {
        (**self).service_snapshot(key)
    }

    fn service(&mut self, key: ServiceKey) -> Result<Option<Service>, Error> {
        (**self).service(key)
    }

    fn apply(&mut self, operations: &[Operation]) -> Vec<Result<(), Error>> {
        (**self).apply(operations)
    }

    fn flush(&mut self) -> Result<(), Error> {
        (**self).flush()
    }

    fn zero(&mut self, service: Option<ServiceKey>) -> Result<(), Error> {
        (**self).zero(service)
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        (**self).timeouts()
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Error> {
        (**self).set_timeouts(timeouts)
    }
}

/// The version of IPVS. Displayed as `1.2.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Major version.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
    /// Patch level.
    pub patch: u8,
    /// Number of buckets in the hash table of connections.
    pub connection_table_size: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// How long idle connections are kept, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Established TCP connections. Default 900.
    pub tcp: u32,
    /// TCP connections after a FIN. Default 120.
    pub tcp_fin: u32,
    /// UDP. Default 300.
    pub udp: u32,
}
