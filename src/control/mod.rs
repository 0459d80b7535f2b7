//! The control socket of a daemon. A request is a JSON object on one line, and so is each line of an answer.
//! `docs/control.md` describes the protocol.

mod access;
mod client;
mod pieces;
mod protocol;
mod recent;
mod request;
mod rights;
mod session;
mod socket;
mod stream;

pub use access::{DaemonAccess, DaemonInbox, access};
pub use client::{ClientError, ask, why};
pub use pieces::{PIECE, PieceWriter, RenderTurn};
pub use protocol::{
    Answer, ControlRequest, CounterDetail, ErrorCode, MAX_NOTE, MAX_SECONDS, OverrideRequest, RequestFailure,
    ServerTarget, VERSION, VersionedRequest,
};
pub use request::{LoopRequest, PlanAnswer, ReplyChannel, SteerAnswer, Steered, StoryAnswer};
pub use rights::{Right, Rights, own_owner};
pub use socket::ControlSocket;
pub use stream::{EventStream, StreamLine, follow};
