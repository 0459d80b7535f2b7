//! One loop that owns all mutable state and joins the parts.

mod addresses;
mod apply;
mod backlog;
mod checks;
mod counters;
mod directory;
mod finish;
mod handover;
#[cfg(test)]
mod harness;
pub mod instances;
#[cfg(test)]
mod interleaved;
mod kernel;
mod left_behind;
mod leftovers;
mod load;
mod maintenance;
mod metering;
mod metrics;
mod notes;
mod observe;
mod old_overrides;
mod outlets;
mod overrides;
mod owned;
mod peers;
mod places;
mod plan;
mod publisher;
mod reload;
mod requests;
mod run;
mod setup;
mod signals;
#[cfg(test)]
mod simulation;
mod stable;
mod starting;
mod steer;
#[cfg(test)]
mod steps;
mod story;
mod track;
mod tracking;
mod turn;
mod unsaved;

pub use addresses::{InUse, in_use};
pub use backlog::runtime;
pub use checks::RunningChecks;
pub use handover::is_in_progress as is_handing_over;
#[cfg(test)]
pub use harness::spec as test_spec;
pub use kernel::perform;
pub use leftovers::{Leftovers, remove_leftovers};
pub use load::{LoadError, LoadedFile, judge, load, load_for, load_for_daemon};
pub use maintenance::MaintainedServers;
pub use outlets::CommandSetup;
pub use overrides::path as overrides_file;
pub use places::Limits;
pub use plan::StartPlan;
pub use run::{give_up, log_target, run};
pub use setup::{Setup, StartError};
