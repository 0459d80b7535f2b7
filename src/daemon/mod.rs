//! One loop that owns all mutable state and joins the parts.

mod addresses;
mod backlog;
mod checks;
mod control;
mod director;
pub mod instances;
mod left_behind;
mod leftovers;
mod load;
mod maintenance;
mod observe;
mod outlets;
mod owned;
mod peers;
mod places;
mod reload;
mod run;
mod setup;
mod signals;
#[cfg(test)]
mod simulation;
mod stable;
#[cfg(test)]
mod steps;
mod timeouts;
mod turn;

pub use addresses::{InUse, in_use};
pub use backlog::runtime;
pub use checks::Checks;
pub use director::Director;
pub use leftovers::{Leftovers, remove_leftovers};
pub use load::{LoadError, Loaded, judge, load, load_for, load_for_daemon};
pub use maintenance::InMaintenance;
pub use outlets::CommandSetup;
pub use places::Limits;
pub use run::{give_up, log_target, run};
pub use setup::{Setup, StartError};
