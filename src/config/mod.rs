//! From the text of `ldirectord.cf` to a [`Config`] and all diagnostics. No I/O: names are asked of [`Names`].

mod model;

pub use model::{
    Alert, AlertStatus, CheckType, Config, Fallback, Globals, HttpMethod, LogTarget, Negotiate, Netmask,
    Real, Virtual,
};
mod stub;
pub use stub::*;
