//! The HTTP listener: metrics, state, events and health of a daemon, for reading only. It has a thread of its own, and
//! gets everything through [`crate::control::DaemonAccess`]: neither a client nor a large answer delays the loop, and
//! it reports a loop that is stuck.

mod answer;
mod connection;
mod dispatch;
mod events;
mod health;
mod hosts;
mod listener;
mod metrics;
mod stalled;
mod state;

pub use listener::{CONNECTIONS, HttpSetup, start};
