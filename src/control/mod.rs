//! The control socket of a daemon: a JSON object on a line asks, objects on lines answer. The protocol is described in
//! `docs/control.md`.

mod client;
mod protocol;
mod rights;
mod session;
mod socket;

pub use client::{ClientError, ask, why};
pub use protocol::{
    Answer, Asked, ErrorCode, Failure, MAX_SECONDS, OverrideRequest, Request, Target, VERSION,
};
pub use rights::{Right, Rights};
pub use session::{Question, Reply, Steered};
pub use socket::{Control, next};
