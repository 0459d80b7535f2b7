//! One loop that owns all mutable state and joins the parts.

mod director;

pub use director::Director;
