//! The control socket of a daemon. A request is a JSON object on one line, and so is each line of an answer.
//! `docs/control.md` describes the protocol.

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
pub use session::{Done, Question, Reply, Steered};
pub use socket::{Control, next};
