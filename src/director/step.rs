//! What the director asks of the kernel, and what comes back: values, carried by the shell.

use std::collections::BTreeSet;

use ipvs_rs::{Error, Operation, ServiceKey, Table, Timeouts};

/// The next request to the kernel. Exactly one is under way at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read these services.
    Read(BTreeSet<ServiceKey>),
    /// Carry these operations out, in this order.
    Apply(Vec<Operation>),
    /// Set the time-outs of idle connections where they differ. A time-out of 0 stays as it is.
    SetTimeouts(Timeouts),
    /// Nothing: the table is as it should be, a request is under way, or the time for the next one has not come.
    Rest,
}

/// The end of a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The services that are in the table, of those that were asked for.
    Read(Result<Table, Error>),
    /// One result for each operation.
    Applied(Vec<Result<(), Error>>),
    /// The time-outs before and after, where they were set.
    Timeouts(Result<Option<(Timeouts, Timeouts)>, Error>),
}
