//! Executes the director's requests on a separate thread, so that the loop never waits for netlink.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc;
use std::thread;

use ipvs_rs::{Error, Ipvs, ServiceKey, Table, Timeouts};
use tokio::sync::mpsc as channel;

use crate::desired;
use crate::director::{Done, Step};

/// Up to this number of services are read one by one. More are read by a dump of the whole table.
const ONE_BY_ONE: usize = 16;

/// A handle to the thread that owns the table.
pub struct KernelHandle {
    steps: mpsc::Sender<Step>,
    done: channel::Receiver<Done>,
}

impl KernelHandle {
    /// Starts the thread that owns the table.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(mut ipvs: Box<dyn Ipvs>) -> io::Result<KernelHandle> {
        let (steps, requests) = mpsc::channel::<Step>();
        let (answers, done) = channel::channel(1);
        thread::Builder::new().name("kernel".to_owned()).spawn(move || {
            for step in requests {
                let Some(done) = perform(&mut *ipvs, step) else { continue };
                if answers.blocking_send(done).is_err() {
                    return;
                }
            }
        })?;
        Ok(KernelHandle { steps, done })
    }

    /// Reads these services. No request may be in progress.
    ///
    /// # Errors
    /// The kernel cannot be read.
    pub async fn read(&mut self, keys: BTreeSet<ServiceKey>) -> Result<Table, Error> {
        self.send(Step::Read(keys));
        match self.next().await {
            Some(Done::Read(table)) => table,
            _ => Err(Error::NoAnswer),
        }
    }

    /// Sends a request to the thread. [`KernelHandle::next`] returns its result.
    pub fn send(&self, step: Step) {
        // If the thread has ended, `next` reports it.
        let _ = self.steps.send(step);
    }

    /// Waits for the result of the request in progress. Returns `None` if a bug ended the thread. Safe to cancel.
    pub async fn next(&mut self) -> Option<Done> {
        self.done.recv().await
    }
}

/// Executes one request. Returns `None` for [`Step::Rest`].
pub fn perform(ipvs: &mut dyn Ipvs, step: Step) -> Option<Done> {
    match step {
        Step::Read(keys) => Some(Done::Read(read(ipvs, &keys))),
        Step::Apply(operations) => Some(Done::Applied(ipvs.apply(&operations))),
        Step::SetTimeouts(wanted) => Some(Done::Timeouts(set_timeouts(ipvs, wanted))),
        Step::Rest => None,
    }
}

/// Reads these services from the kernel. A dump may omit a service, so each missing one is read individually: a
/// service that is wrongly considered gone would lose its servers.
fn read(ipvs: &mut dyn Ipvs, keys: &BTreeSet<ServiceKey>) -> Result<Table, Error> {
    if keys.len() <= ONE_BY_ONE
        && let Ok(table) = one_by_one(ipvs, keys, Table::default())
    {
        return Ok(table);
    }
    // The dump also works after the kernel module was reloaded, and is repeated if the table changes in the meantime.
    let table = desired::restrict(&ipvs.dump()?, keys);
    one_by_one(ipvs, keys, table)
}

fn one_by_one(ipvs: &mut dyn Ipvs, keys: &BTreeSet<ServiceKey>, mut table: Table) -> Result<Table, Error> {
    for key in keys {
        if !table.services.contains_key(key)
            && let Some(service) = ipvs.service(*key)?
        {
            table.services.insert(*key, service);
        }
    }
    Ok(table)
}

/// Sets the time-outs if they differ. Otherwise writes nothing. A time-out of 0 stays as it is.
fn set_timeouts(ipvs: &mut dyn Ipvs, wanted: Timeouts) -> Result<Option<(Timeouts, Timeouts)>, Error> {
    let found = ipvs.timeouts()?;
    let of = |wanted: u32, found: u32| if wanted == 0 { found } else { wanted };
    let to = Timeouts {
        tcp: of(wanted.tcp, found.tcp),
        tcp_fin: of(wanted.tcp_fin, found.tcp_fin),
        udp: of(wanted.udp, found.udp),
    };
    if to == found {
        return Ok(None);
    }
    ipvs.set_timeouts(wanted)?;
    Ok(Some((found, to)))
}

#[cfg(test)]
mod tests {
    use ipvs_rs::Memory;

    use super::*;

    #[test]
    fn only_timeouts_that_differ_are_set() {
        let mut memory = Memory::new();
        let wanted = Timeouts { tcp: 7200, tcp_fin: 0, udp: 300 };
        let before = memory.timeouts().unwrap();
        let after = Timeouts { tcp: 7200, tcp_fin: 120, udp: 300 };
        assert_eq!(set_timeouts(&mut memory, wanted), Ok(Some((before, after))));
        assert_eq!(memory.timeouts(), Ok(after));
        let writes = memory.operations();
        assert_eq!(set_timeouts(&mut memory, wanted), Ok(None));
        assert_eq!(memory.operations(), writes, "unchanged time-outs are not written");
        memory.set_timeouts(Timeouts { tcp: 1, ..Timeouts::default() }).unwrap();
        memory.fail_next(1, Error::NoSuchService);
        assert_eq!(set_timeouts(&mut memory, wanted), Err(Error::NoSuchService));
    }
}
