//! Events for people and programs: log lines in the original's words, mail, monitor files, operator commands.

pub mod commands;
pub mod fallback;
mod json;
mod line;
pub mod mail;
pub mod monitor;
pub mod queue;
pub mod storm;

pub use json::json;
pub use line::{because, kind, level, line, message_id, reason, state};
