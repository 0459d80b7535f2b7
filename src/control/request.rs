//! Requests to the loop, and the channels of their answers.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::oneshot;

use super::protocol::{OverrideRequest, RequestFailure, ServerTarget};
use crate::health::Owner;
use crate::report::{Moment, PlanReport, Scrape, ServerStory, ServiceView, View};
use crate::value::VirtualId;

/// A request to the loop.
#[derive(Debug)]
pub enum LoopRequest {
    /// Answer at once: shows by how much the loop is late.
    Ping(ReplyChannel<()>),
    /// The state of all services.
    View(ReplyChannel<Arc<View>>),
    /// The state of one service and its time. `None` if the daemon does not have the service.
    Service(VirtualId, ReplyChannel<Option<(Arc<ServiceView>, Moment)>>),
    /// Everything known about a server.
    Story(ServerTarget, ReplyChannel<StoryAnswer>),
    /// The state in one line.
    Status(ReplyChannel<String>),
    /// Everything that metrics are computed from.
    Metrics(ReplyChannel<Scrape>),
    /// Reload the configuration.
    Reload,
    /// What a reload would change now.
    Plan(ReplyChannel<PlanAnswer>),
    /// Set an override. The reply has the virtual services concerned.
    Override(OverrideRequest, Owner, ReplyChannel<Steered>),
    /// End an override. The reply has the virtual services concerned.
    Undo(ServerTarget, Owner, ReplyChannel<Steered>),
}

/// What a reload would change, or why that cannot be said.
pub type PlanAnswer = Result<PlanReport, RequestFailure>;

/// Everything known about a server, or why it is not found.
pub type StoryAnswer = Result<ServerStory, RequestFailure>;

/// What an override concerns, or why the request was refused.
pub type Steered = Result<SteerAnswer, RequestFailure>;

/// The answer to a request that was carried out.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct SteerAnswer {
    /// The virtual services concerned.
    pub services: Vec<String>,
    /// What the operator should know, although the request was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// The channel for one answer.
#[derive(Debug)]
pub struct ReplyChannel<T>(oneshot::Sender<T>);

impl<T> ReplyChannel<T> {
    /// A channel and its receiver.
    pub(crate) fn pair() -> (ReplyChannel<T>, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (ReplyChannel(sender), receiver)
    }

    /// Sends the answer. The client may be gone.
    pub fn give(self, value: T) {
        let _ = self.0.send(value);
    }
}
