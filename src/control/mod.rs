//! The control socket of a daemon. A request is a JSON object on one line, and so is each line of an answer.
//! `docs/control.md` describes the protocol.

mod client;
mod protocol;
mod rights;
mod session;
mod socket;
mod stream;

pub use client::{ClientError, ask, why};
pub use protocol::{
    Answer, ControlRequest, CounterDetail, ErrorCode, MAX_NOTE, MAX_SECONDS, OverrideRequest, RequestFailure,
    ServerTarget, VERSION, VersionedRequest,
};
pub use rights::{Right, Rights, own_owner};
pub use session::{LoopRequest, PlanAnswer, ReplyChannel, SteerAnswer, Steered, StoryAnswer};
pub use socket::{ControlSocket, next};
pub use stream::{EventStream, StreamLine, follow};
