//! The state for readers: a view, rendered as JSON, as a table or as metrics, one line for the service manager, and
//! findings about the machine.

mod findings;
mod listing;
mod metrics;
mod moment;
mod outline;
mod plan;
mod rotation;
mod snapshot;
mod status;
mod stream;
mod view;

pub use findings::{findings, heading, last_line};
pub use listing::{ListingStyle, render};
pub use metrics::{DaemonFacts, Meters, Scrape};
pub use moment::Moment;
pub use outline::{Outline, check_notes, leaving_notes};
pub use plan::{ActiveConnections, PlanContext, PlanReport, PlannedOperation, active_connections, planned};
pub use rotation::Threshold;
#[cfg(test)]
pub(crate) use rotation::tests::service as test_service;
pub use snapshot::{CheckRun, DestinationEntry, Elsewhere, ServerEntry, StateSnapshot, VirtualService};
pub use status::status;
pub use stream::write_state;
pub use view::{DestinationRole, DestinationView, ServerView, ServiceView, ShownState, View, service};
