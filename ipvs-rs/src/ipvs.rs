//! What can be asked of a table of virtual services, be it the kernel's or one in memory.

use std::fmt;

use crate::error::Error;
use crate::snapshot::Snapshot;
use crate::table::{Operation, Service, ServiceKey, Table};

/// A table of virtual services.
///
/// All calls are synchronous: the kernel carries a request out before the sending of it returns.
pub trait Ipvs: Send {
    /// The version of IPVS.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    fn version(&mut self) -> Result<Version, Error>;

    /// The table.
    ///
    /// Services of protocols other than [`Protocol`](crate::Protocol) has are left out. The kernel gives a large
    /// table in pieces and goes on by counting, over all network namespaces: what somebody else changes meanwhile may be in it or
    /// not, and for each service that is removed meanwhile another one may be missing. Ask for one that matters by
    /// [`Ipvs::service`].
    ///
    /// # Errors
    /// When the kernel cannot be asked, [`Error::Interrupted`] when the table kept changing meanwhile.
    fn dump(&mut self) -> Result<Table, Error>;

    /// The table with connections and statistics.
    ///
    /// # Errors
    /// As for [`Ipvs::dump`].
    fn snapshot(&mut self) -> Result<Snapshot, Error>;

    /// One service with its destinations, none if it is not there.
    ///
    /// # Errors
    /// As for [`Ipvs::dump`].
    fn service(&mut self, key: ServiceKey) -> Result<Option<Service>, Error>;

    /// Carries operations out, one after the other, and gives one result for each, in their order.
    ///
    /// It is no transaction: an operation that is refused keeps the later ones from nothing. When
    /// [`Error::is_uncertain`] holds for a result, read the table again.
    fn apply(&mut self, operations: &[Operation]) -> Vec<Result<(), Error>>;

    /// Removes all services, also those that somebody else added.
    ///
    /// # Errors
    /// When the kernel refuses it.
    fn flush(&mut self) -> Result<(), Error>;

    /// Zeroes the statistics of one service with its destinations, or of all.
    ///
    /// # Errors
    /// [`Error::NoSuchService`], or when the kernel refuses it.
    fn zero(&mut self, service: Option<ServiceKey>) -> Result<(), Error>;

    /// How long idle connections are kept.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    fn timeouts(&mut self) -> Result<Timeouts, Error>;

    /// Sets how long idle connections are kept; those that are 0 stay as they are.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one is more than the kernel can count (2,147,483,647 ticks).
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
    /// The first number.
    pub major: u8,
    /// The second number.
    pub minor: u8,
    /// The third number.
    pub patch: u8,
    /// How many buckets the hash table of connections has.
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
    /// Established TCP connections; 900 unless somebody changed it.
    pub tcp: u32,
    /// TCP connections after a FIN; 120 unless somebody changed it.
    pub tcp_fin: u32,
    /// UDP; 300 unless somebody changed it.
    pub udp: u32,
}
