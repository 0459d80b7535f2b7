//! The state for readers: a view, rendered as JSON or as a table, and one line for the service manager.

mod listing;
mod moment;
mod snapshot;
mod status;
mod view;

pub use listing::{Look, render};
pub use moment::Moment;
pub use snapshot::{Checked, Destination, Elsewhere, Server, Snapshot, VirtualService};
pub use status::status;
pub use view::{DestinationRole, DestinationView, ServerView, ServiceView, State, View, service};
