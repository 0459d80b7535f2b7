//! Carries the director's requests to the kernel, on a thread of its own: the loop never waits for netlink.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc;
use std::thread;

use ipvs_rs::{Error, Ipvs, ServiceKey, Table, Timeouts};
use tokio::sync::mpsc as channel;

use crate::desired;
use crate::director::{Done, Step};

/// So many services are read one by one; more of them are read by a dump of the whole table.
const ONE_BY_ONE: usize = 16;

/// The table, in the hands of its thread.
pub struct Kernel {
    steps: mpsc::Sender<Step>,
    done: channel::Receiver<Done>,
}

impl Kernel {
    /// Hands the table to a thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(mut ipvs: Box<dyn Ipvs>) -> io::Result<Kernel> {
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
        Ok(Kernel { steps, done })
    }

    /// Reads these services, while no request is under way.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn read(&mut self, keys: BTreeSet<ServiceKey>) -> Result<Table, Error> {
        self.send(Step::Read(keys));
        match self.next().await {
            Some(Done::Read(table)) => table,
            _ => Err(Error::NoAnswer),
        }
    }

    /// Hands a request over. [`Kernel::next`] gives its end.
    pub fn send(&self, step: Step) {
        // Without the thread the end never comes, which `next` reports.
        let _ = self.steps.send(step);
    }

    /// The end of the request that is under way; none when a bug ended the thread. Safe to cancel.
    pub async fn next(&mut self) -> Option<Done> {
        self.done.recv().await
    }
}

/// Carries one request out; gives nothing for [`Step::Rest`].
pub fn perform(ipvs: &mut dyn Ipvs, step: Step) -> Option<Done> {
    match step {
        Step::Read(keys) => Some(Done::Read(read(ipvs, &keys))),
        Step::Apply(operations) => Some(Done::Applied(ipvs.apply(&operations))),
        Step::SetTimeouts(wanted) => Some(Done::Timeouts(set_timeouts(ipvs, wanted))),
        Step::Rest => None,
    }
}

/// These services as they are in the kernel. A listing may leave one out, so that each that is expected and not in it is asked for
/// by itself: to take a service for gone would take its servers out.
fn read(ipvs: &mut dyn Ipvs, keys: &BTreeSet<ServiceKey>) -> Result<Table, Error> {
    if keys.len() <= ONE_BY_ONE
        && let Ok(table) = one_by_one(ipvs, keys, Table::default())
    {
        return Ok(table);
    }
    // The dump finds a module again that was loaded again, and is repeated where the table changes meanwhile.
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

/// Sets the time-outs where they differ; nothing is written otherwise. One that is wanted as 0 stays as it is.
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
        assert_eq!(memory.operations(), writes, "a time-out that is right costs no write");
        memory.set_timeouts(Timeouts { tcp: 1, ..Timeouts::default() }).unwrap();
        memory.fail_next(1, Error::NoSuchService);
        assert_eq!(set_timeouts(&mut memory, wanted), Err(Error::NoSuchService));
    }
}
