//! Connections and traffic of a virtual service or a destination, as readers see them.

use ipvs_rs::{Connections, Statistics};
use serde::{Deserialize, Serialize};

/// The connections of a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// Established connections (`ActiveConn` of ipvsadm).
    pub active: u32,
    /// Connections that are not established, for example closed ones (`InActConn`).
    pub inactive: u32,
    /// Persistence templates: clients that return to this server.
    pub persistent: u32,
}

/// Traffic of a virtual service or a destination, since the last reset or per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is what its name says")]
pub struct Traffic {
    pub connections: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

impl From<Connections> for ConnectionCounts {
    fn from(found: Connections) -> ConnectionCounts {
        ConnectionCounts { active: found.active, inactive: found.inactive, persistent: found.persistent }
    }
}

/// The totals and the rates per second.
pub(super) fn traffic(found: &Statistics) -> (Traffic, Traffic) {
    let (total, rate) = (found, &found.rates);
    (
        Traffic {
            connections: total.connections,
            packets_in: total.packets_in,
            packets_out: total.packets_out,
            bytes_in: total.bytes_in,
            bytes_out: total.bytes_out,
        },
        Traffic {
            connections: rate.connections,
            packets_in: rate.packets_in,
            packets_out: rate.packets_out,
            bytes_in: rate.bytes_in,
            bytes_out: rate.bytes_out,
        },
    )
}
