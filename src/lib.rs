//! ldirectord-rs.

pub mod check;
pub mod config;
pub mod net;
pub mod plan;
pub mod value;
