//! What follows from a [`Config`](crate::config::Config): the distinct checks and who waits for each.

mod probe;

pub use probe::{Action, ExternalProbe, HttpProbe, Probe, Scheme, SimpleTcpProbe};
