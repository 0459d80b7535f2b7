//! Answers the requests of the control socket and of the HTTP listener.

use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::peers::Peers;
use super::run::{Daemon, moment};
use super::unsaved::Saved;
use crate::control::LoopRequest;
use crate::report::View;

impl Daemon {
    /// Answers one request. A request that changes an override is answered once that is saved.
    pub(super) fn answer_request(&mut self, request: LoopRequest, now: Instant) {
        match request {
            LoopRequest::Ping(reply) => reply.give(()),
            LoopRequest::View(reply) => reply.give(self.view(now)),
            LoopRequest::Service(id, reply) => {
                reply.give(self.publisher.one(&mut self.director, id).map(|view| (view, moment(now))));
            }
            LoopRequest::Story(target, reply) => reply.give(self.story(&target, now)),
            LoopRequest::Status(reply) => reply.give(self.summary()),
            LoopRequest::Plan(reply) => self.plan(reply, now),
            LoopRequest::Metrics(reply) => reply.give(self.scrape(now)),
            LoopRequest::Reload => {
                info!("Reloading Linux Director Daemon config on request");
                self.request_reload();
            }
            LoopRequest::Override(decision, owner, reply) => {
                let answer = self.decide(decision, owner, now);
                self.answer_when_saved(reply, answer, Saved::Never, now);
            }
            LoopRequest::Undo(target, owner, reply) => {
                let answer = self.undo(&target, &owner, now);
                self.answer_when_saved(reply, answer, Saved::Yes, now);
            }
        }
    }

    pub(super) fn view(&mut self, now: Instant) -> Arc<View> {
        self.publisher.view(&mut self.director, self.peers.as_ref().map(Peers::elsewhere), moment(now))
    }
}
