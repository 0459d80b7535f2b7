//! The kernel's table, over generic netlink.

mod channel;
mod family;
mod refusal;

use std::fmt;

use channel::{BATCH, Channel, Failure};
use nix::errno::Errno;

use crate::error::Error;
use crate::ipvs::{Ipvs, Timeouts, Version};
use crate::snapshot::{ServiceSnapshot, Snapshot};
use crate::table::{Operation, ServiceKey, Table, check_key};
use crate::wire::{Request, command, decode_destination, decode_service};

/// Maximum attempts to read the table if it changes meanwhile.
const READ_ATTEMPTS: usize = 5;

/// The table of the kernel, in the network namespace of the thread that opened it.
///
/// All calls need the capability `CAP_NET_ADMIN`, including reads. After the module has been unloaded and loaded
/// again, the next read of the table finds it.
pub struct Kernel {
    channel: Channel,
    family: u16,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("family", &self.family).finish_non_exhaustive()
    }
}

impl Kernel {
    /// Connects to the kernel. If it has no IPVS, runs `modprobe ip_vs` as root.
    ///
    /// # Errors
    /// [`Error::NoModule`] with what was tried and what to do; [`Error::NotPermitted`] without `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, Error> {
        let mut channel = Channel::open()?;
        let family = family::resolve(&mut channel)?;
        let mut kernel = Self { channel, family };
        // The controller answers every process. Missing privileges must show now, not during later work.
        kernel.version()?;
        Ok(kernel)
    }

    fn command(&mut self, request: Request) -> Result<(), Error> {
        Ok(self.channel.ask(self.family, request, |_| Ok(()))?)
    }

    /// Sends a request that has one answer.
    fn get<T>(&mut self, command: u8, decode: impl Fn(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
        let mut value = None;
        self.channel.ask(self.family, Request::new(command), |bytes| {
            value = Some(decode(bytes)?);
            Ok(())
        })?;
        value.ok_or_else(|| Error::malformed("no answer except an acknowledgement"))
    }

    fn read(&mut self) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::default();
        self.channel.dump(self.family, Request::new(command::GET_SERVICE), |bytes| {
            snapshot.services.extend(decode_service(bytes)?);
            Ok(())
        })?;
        let mut gone = Vec::new();
        for (key, service) in &mut snapshot.services {
            if !self.read_destinations(*key, service)? {
                gone.push(*key);
            }
        }
        gone.iter().for_each(|key| {
            snapshot.services.remove(key);
        });
        Ok(snapshot)
    }

    /// Reads the destinations of a service. Returns `false` if it has been removed meanwhile.
    fn read_destinations(&mut self, key: ServiceKey, service: &mut ServiceSnapshot) -> Result<bool, Error> {
        let request = Request::about(command::GET_DEST, key);
        let end = self.channel.dump(self.family, request, |bytes| {
            service.destinations.extend(decode_destination(bytes, key)?);
            Ok(())
        });
        match end {
            // The kernel returns an empty list for a service that does not exist.
            Ok(()) if service.destinations.is_empty() => self.is_there(key),
            Ok(()) => Ok(true),
            Err(Failure::Refused(refusal)) if refusal.errno == Errno::ESRCH as i32 => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    fn is_there(&mut self, key: ServiceKey) -> Result<bool, Error> {
        match self.command(Request::about(command::GET_SERVICE, key)) {
            Ok(()) => Ok(true),
            Err(Error::NoSuchService) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends operations that have been checked, and returns one result for each.
    fn send(&mut self, operations: &[&Operation]) -> Vec<Result<(), Error>> {
        let requests: Vec<_> = operations.iter().map(|operation| Request::operation(operation)).collect();
        let ends = self.channel.exchange(self.family, &requests, |_| Ok(()));
        let results = ends.into_iter().zip(operations).map(|(end, operation)| {
            end.map_err(|failure| match failure {
                Failure::Refused(refusal) => refusal::explain(refusal, operation),
                Failure::Failed(error) => error,
            })
        });
        results.collect()
    }
}

impl Ipvs for Kernel {
    fn version(&mut self) -> Result<Version, Error> {
        self.get(command::GET_INFO, Request::decode_version)
    }

    fn dump(&mut self) -> Result<Table, Error> {
        Ok(self.snapshot()?.table())
    }

    fn snapshot(&mut self) -> Result<Snapshot, Error> {
        for _ in 1..READ_ATTEMPTS {
            match self.read() {
                Err(Error::Interrupted) => {}
                // No request about a table gives this error: the family no longer exists. If the module was loaded
                // again, its number is different.
                Err(Error::Os { errno, .. }) if errno == Errno::ENOENT as i32 => {
                    self.family = family::resolve(&mut self.channel)?;
                }
                result => return result,
            }
        }
        self.read()
    }

    fn service_snapshot(&mut self, key: ServiceKey) -> Result<Option<ServiceSnapshot>, Error> {
        check_key(key)?;
        let mut found = None;
        let asked = self.channel.ask(self.family, Request::about(command::GET_SERVICE, key), |bytes| {
            found = decode_service(bytes)?;
            Ok(())
        });
        match asked.map_err(Error::from) {
            Ok(()) => {}
            Err(Error::NoSuchService) => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some((_, mut service)) = found else { return Ok(None) };
        Ok(self.read_destinations(key, &mut service)?.then_some(service))
    }

    fn apply(&mut self, operations: &[Operation]) -> Vec<Result<(), Error>> {
        let mut results: Vec<_> = operations.iter().map(Operation::check).collect();
        let good: Vec<usize> = (0..operations.len()).filter(|index| results[*index].is_ok()).collect();
        for batch in good.chunks(BATCH) {
            let sent: Vec<_> = batch.iter().map(|index| &operations[*index]).collect();
            for (index, result) in batch.iter().zip(self.send(&sent)) {
                results[*index] = result;
            }
        }
        results
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.command(Request::new(command::FLUSH))
    }

    fn zero(&mut self, service: Option<ServiceKey>) -> Result<(), Error> {
        match service {
            None => self.command(Request::new(command::ZERO)),
            Some(key) => {
                check_key(key)?;
                self.command(Request::about(command::ZERO, key))
            }
        }
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        self.get(command::GET_CONFIG, Request::decode_timeouts)
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Error> {
        self.command(Request::timeouts(timeouts))
    }
}
