//! The state as others see it: one snapshot, rendered as JSON or as a table.

mod snapshot;
mod table;

pub use snapshot::{Checked, Destination, Server, Snapshot, State, VirtualService};
pub use table::render;
