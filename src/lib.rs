//! ldirectord-rs.
