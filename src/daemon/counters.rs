//! Reads connections and statistics from the kernel, for readers.

use std::sync::Arc;

use ipvs_rs::{Error, Ipvs, Kernel, Snapshot};

use crate::desired;
use crate::report::{CounterSource, Counters};
use crate::value::VirtualId;

/// The counters of the kernel's table in the network namespace of this process. A table in memory has none.
pub(super) fn of(is_in_kernel: bool) -> CounterSource {
    match is_in_kernel {
        true => Arc::new(|service| read(service).map(Counters::new).map_err(|error| error.to_string())),
        false => Arc::new(|_| Err("the table is in memory and has no connections".to_owned())),
    }
}

fn read(service: Option<VirtualId>) -> Result<Snapshot, Error> {
    let mut kernel = Kernel::open()?;
    let Some(id) = service else { return kernel.snapshot() };
    let key = desired::service_key(id);
    let found = kernel.service_snapshot(key)?;
    Ok(Snapshot { services: found.into_iter().map(|found| (key, found)).collect() })
}
