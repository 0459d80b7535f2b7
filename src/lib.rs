//! ldirectord-rs.

pub mod check;
pub mod config;
pub mod health;
pub mod plan;
pub mod value;
