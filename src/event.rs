//! Events, as values without text. Log lines, mail, monitor files and operator commands are renderings of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipvs_rs::{Error, Operation, Timeouts};

use crate::health::{Blindness, Ending, Override, Owner, Punctuality, Standing};
use crate::spec::ServerRef;
use crate::value::{Change, Verdict, VirtualId};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The virtual service concerned. `None` if the event concerns the director as a whole.
    pub service: Option<VirtualId>,
    /// The real server concerned, by its address and port in the configuration.
    pub server: Option<SocketAddr>,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of [`Event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A check ended, or was skipped because all its servers are in maintenance. Only for services with a
    /// `monitorfile`.
    Checked {
        /// The server.
        member: ServerRef,
        /// The result. `None` if it was skipped.
        verdict: Option<Arc<Verdict>>,
    },
    /// The server was marked up.
    Up {
        /// The cause.
        verdict: Arc<Verdict>,
    },
    /// The server was marked down.
    Down {
        /// The cause.
        verdict: Arc<Verdict>,
    },
    /// The server was marked down, and no change of the table followed: it was not in rotation before, the
    /// destination is shared with another line, or the kernel refused the change.
    DownWithoutChange,
    /// A check failed, with fewer consecutive failures than `failurecount`.
    SoftFailure {
        /// Consecutive failures so far.
        failures: u32,
        /// The server is marked down at this number of failures.
        of: u32,
        /// The cause.
        verdict: Arc<Verdict>,
    },
    /// A check succeeded after soft failures.
    SoftFailureOver,
    /// A check could not be carried out although the previous one could. The state of the server is unchanged.
    Unknown {
        /// The cause.
        verdict: Arc<Verdict>,
    },
    /// A check found something that changes no state but that the operator should know: the warning of the verdict.
    Warning {
        /// The result of the check.
        verdict: Arc<Verdict>,
    },
    /// An override of the server was set.
    Overridden {
        /// The override.
        decision: Arc<Override>,
        /// Whether it has no effect yet, because a file in `maintenancedir` takes precedence.
        in_maintenance: bool,
    },
    /// An override of the server ended.
    OverrideEnded {
        /// The override.
        decision: Arc<Override>,
        /// Why it ended.
        ending: Ending,
        /// The standing of the server now. `None` in maintenance, and without the server.
        state: Option<Standing>,
    },
    /// The server is no longer in the configuration and stays until another server is up.
    Leaving {
        /// The server is removed after this time at the latest.
        at_most: Duration,
    },
    /// The last server of the virtual service went out of rotation, or none of its servers was up at the first check.
    NoServerLeft {
        /// The number of its real servers.
        servers: usize,
        /// The fallback server that is activated, if there is one.
        fallback: Option<SocketAddr>,
    },
    /// A server of the virtual service is in rotation again.
    ServerLeftAgain,
    /// The daemon changed the kernel's table.
    Table {
        /// The change.
        change: Change,
        /// The server transition that caused it, if any.
        because: Option<Because>,
    },
    /// The kernel refused a request twice, with its table read in between.
    Refused {
        /// The request.
        request: KernelRequest,
        /// The kernel's answer.
        error: Error,
        /// Whether the request is retried.
        fate: Fate,
    },
    /// Another program changed the kernel's table.
    Drift {
        /// The operations that restore the table as the daemon left it.
        repairs: Vec<Operation>,
    },
    /// The kernel's table cannot be read.
    Unreadable {
        /// The kernel's answer.
        error: Error,
    },
    /// The kernel's time-outs of idle connections were set.
    TimeoutsSet {
        /// The old time-outs.
        from: Timeouts,
        /// The new time-outs.
        to: Timeouts,
    },
    /// Checks began to start late, or start on time again.
    Punctuality(Punctuality),
    /// Checks became impossible, or are possible again.
    Blindness(Blindness),
    /// A configuration was applied as a whole. The events before it belong to the configuration before it.
    Reloaded,
}

/// The server transition that caused a change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// It was marked up.
    Up,
    /// It was marked down.
    Down,
    /// An override was set.
    Overridden(Owner),
    /// An override ended.
    OverrideEnded,
}

/// A request to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelRequest {
    /// A change of the table.
    Operation(Operation),
    /// The time-outs of idle connections.
    Timeouts(Timeouts),
}

/// Whether a refused request is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is retried, after a second at first and less often later.
    Retried,
    /// It is not retried: the daemon stops.
    Abandoned,
}

impl Event {
    /// Creates an event of the director as a whole.
    #[must_use]
    pub fn of_director(kind: EventKind) -> Event {
        Event { service: None, server: None, kind }
    }

    /// Creates an event of one real server.
    #[must_use]
    pub fn of_server(service: VirtualId, server: SocketAddr, kind: EventKind) -> Event {
        Event { service: Some(service), server: Some(server), kind }
    }

    /// Creates the event for a change of the table.
    #[must_use]
    pub fn of_table(change: Change) -> Event {
        let (service, server) = match &change {
            Change::VirtualAdded(id) | Change::VirtualChanged(id) | Change::VirtualPurged(id, _) => {
                (*id, None)
            }
            Change::Server(change) => (change.of, Some(change.configured.unwrap_or(change.server))),
        };
        Event { service: Some(service), server, kind: EventKind::Table { change, because: None } }
    }
}
