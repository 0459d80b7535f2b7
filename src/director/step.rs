//! The requests of the director to the kernel and their results, as values. The shell transfers them.

use std::collections::BTreeSet;

use ipvs_rs::{Error, Operation, ServiceKey, Table, Timeouts};

use crate::event::Event;

/// A request to the kernel. At most one is in progress at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read these services.
    Read(BTreeSet<ServiceKey>),
    /// Execute these operations in this order.
    Apply(Vec<Operation>),
    /// Set the time-outs of idle connections if they differ. A time-out of 0 stays as it is.
    SetTimeouts(Timeouts),
    /// Nothing: the table is reconciled, a request is in progress, or the next one is not due yet.
    Rest,
}

/// The result of a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Those of the requested services that are in the table.
    Read(Result<Table, Error>),
    /// One result for each operation.
    Applied(Vec<Result<(), Error>>),
    /// The time-outs before and after. `None` if they were not changed.
    Timeouts(Result<Option<(Timeouts, Timeouts)>, Error>),
}

/// The result of a step.
#[derive(Default)]
pub(super) struct StepOutcome {
    /// The events.
    pub events: Vec<Event>,
    /// Services that are reconciled, or for which nothing more is tried for now.
    pub settled: BTreeSet<ServiceKey>,
    /// Services whose present state may have changed.
    pub touched: BTreeSet<ServiceKey>,
}
