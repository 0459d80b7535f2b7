//! ldirectord-rs.

pub mod check;
pub mod config;
pub mod daemon;
pub mod desired;
pub mod health;
pub mod notify;
pub mod plan;
pub mod sys;
pub mod value;
