//! The state for readers: a view, rendered as JSON, as a table or as metrics, one line for the service manager, and
//! findings about the machine.

mod counters;
mod emptying;
mod findings;
mod history;
mod listing;
mod metrics;
mod moment;
mod outline;
mod plan;
mod rotation;
mod saved;
mod snapshot;
mod status;
mod story;
mod stream;
mod traffic;
mod view;

pub use counters::{CounterSource, Counters};
pub use emptying::{Emptying, EmptyingServer};
pub use findings::{findings, heading, last_line};
pub use history::{CheckTime, History};
pub use listing::{ListingStyle, render, render_one, story, traffic_table};
pub use metrics::{DaemonFacts, Meters, Scrape};
pub use moment::Moment;
pub use outline::{Outline, check_notes, leaving_notes};
pub use plan::{ActiveConnections, PlanContext, PlanReport, PlannedOperation, active_connections, planned};
pub use rotation::Threshold;
#[cfg(test)]
pub(crate) use rotation::tests::service as test_service;
pub use saved::{SavedOverride, SavedState, SkippedOverride, saved_states};
pub use snapshot::{
    CheckRun, DestinationEntry, Elsewhere, Overridden, PhaseDuration, ServerEntry, StateSnapshot,
    VirtualService,
};
pub use status::status;
pub use story::{MemberReport, MemberStory, ServerStory, StoryReport};
pub use stream::write_state;
pub use traffic::{ConnectionCounts, Traffic};
pub use view::{
    DestinationRole, DestinationView, ServerView, ServiceView, ShownState, View, any_in_rotation, service,
};
