//! Reads connections and traffic from the kernel, for readers.

use std::collections::BTreeMap;

use ipvs_rs::{Error, Ipvs, Kernel, Snapshot};

use crate::desired;
use crate::report::CounterSource;
use crate::value::VirtualId;

/// The counters of the kernel's table in the network namespace of this process. A table in memory has none.
pub(super) fn of(is_in_kernel: bool) -> CounterSource {
    match is_in_kernel {
        true => CounterSource::new(|service| read(service).map_err(|error| error.to_string())),
        false => CounterSource::none(),
    }
}

fn read(service: Option<VirtualId>) -> Result<Snapshot, Error> {
    let mut kernel = Kernel::open()?;
    let Some(id) = service else { return kernel.snapshot() };
    let key = desired::service_key(id);
    let found = kernel.service_snapshot(key)?;
    Ok(Snapshot { services: found.map(|found| (key, found)).into_iter().collect::<BTreeMap<_, _>>() })
}
