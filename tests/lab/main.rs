//! Scenarios that need a real IPVS kernel: run by `tests/lab/run`, see `make lab`.
//!
//! Every scenario is a network of its own (network namespaces on a bridge), so that many run at the same time in one
//! process. A missing requirement *fails* the test; nothing is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]
#![allow(clippy::disallowed_methods, reason = "the lab observes real time")]
#![allow(unreachable_pub, reason = "one binary, no users outside it")]

mod client;
mod cluster;
#[path = "../compat/mod.rs"]
mod compat;
mod director;
mod drain;
mod exporter;
mod first_hour;
mod identity;
mod kernel_words;
mod leftovers;
mod lifecycle;
mod netns;
mod network;
mod overrides;
mod ownership;
mod paths;
mod plan;
mod privileges;
mod samples;
mod systemd;
mod table;
mod wait;
mod web;
