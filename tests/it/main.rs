//! The program as a process, on an in-memory table: what operators and cluster managers see. Needs no privileges.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail by panic, and waits by the clock"
)]

mod ask;
mod cases;
mod check;
mod command_line;
mod commands;
mod config_only;
mod control;
mod corpus;
mod dry_run;
mod examples;
mod http;
mod instances;
mod lateness;
mod lifecycle;
mod limits;
mod log;
mod log_messages;
mod machine;
mod mail;
mod manager;
mod monitoring;
#[cfg(feature = "oracle")]
mod oracle;
mod orders;
mod packages;
mod plan;
mod privileges;
mod reload;
mod replies;
mod sandbox;
mod secrets;
mod show;
mod stages;
mod steer;
mod tls;
mod track;
mod unit;
