//! ldirectord-rs.

pub mod check;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod desired;
pub mod health;
pub mod net;
pub mod notify;
pub mod plan;
pub mod report;
pub mod settings;
pub mod sys;
pub mod value;
