//! `checktype=connect`: the server accepts TCP connections.

use super::failure::unreachable;
use crate::net::dial;
use crate::spec::Probe;
use crate::value::Verdict;

/// Opens a connection and closes it.
pub(super) async fn run(probe: &Probe) -> Verdict {
    match dial::probe(probe.target).await {
        Ok(_) => Verdict::up(format!("connected to {}", probe.target)),
        Err(error) => unreachable(&format!("connect to {}", probe.target), &error),
    }
}
