//! Events for people and programs: log lines in the original's words, mail, monitor files, operator commands.

pub mod alerts;
pub mod commands;
pub mod fallback;
mod json;
pub mod letter;
mod line;
pub mod monitor;
pub mod parcel;
mod post;
mod relay;
mod reminders;
mod sendmail;
pub mod storm;
pub mod way;

pub use json::json;
pub use line::{because, kind, level, line, message_id, reason, state};
