//! Handles `override` and `undo` requests of the control socket, and saves overrides.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tracing::error;

use super::notes::Attempt;
use super::overrides::OverrideFile;
use super::run::{Daemon, moment};
use super::unsaved::{self, Saved};
use crate::control::{
    ErrorCode, OverrideRequest, ReplyChannel, RequestFailure, ServerTarget, SteerAnswer, Steered,
};
use crate::director::Objection;
use crate::health::{Override, Owner};
use crate::value::VirtualId;

impl Daemon {
    /// Answers a request once its override is saved. `in_memory`: what counts if the daemon saves none.
    pub(super) fn answer_when_saved(
        &mut self,
        reply: ReplyChannel<Steered>,
        answer: Steered,
        in_memory: Saved,
        now: Instant,
    ) {
        if self.director.take_overrides_changed() {
            self.note_overrides(now);
        }
        match &self.overrides {
            Some(notes) if answer.is_ok() && notes.is_pending() => self.unsaved.hold(reply, answer, now),
            None => unsaved::give(reply, answer, in_memory),
            Some(notes) if notes.is_saved() => unsaved::give(reply, answer, Saved::Yes),
            Some(_) => unsaved::give(reply, answer, Saved::No),
        }
    }

    /// Sets an override.
    pub(super) fn decide(&mut self, decision: OverrideRequest, owner: Owner, now: Instant) -> Steered {
        let service = service(decision.service.as_deref())?;
        let decided = Override {
            what: decision.what,
            owner,
            reason: decision.note,
            since: now,
            until: decision.seconds.map(|seconds| now + Duration::from_secs(seconds)),
        };
        let server = decision.server;
        answer(self.director.override_server(service, server, &decided, decision.force, now))
    }

    /// Saves all overrides for the next run.
    pub(super) fn note_overrides(&mut self, now: Instant) {
        let Some(notes) = &mut self.overrides else { return };
        let all = self.director.overrides();
        let decisions = OverrideFile::new(all.iter().map(|(id, decided)| (id, &**decided)), moment(now));
        if decisions.is_empty() { notes.remove(now) } else { notes.write(decisions, now) }
    }

    /// Retries a failed write, or reports a file system that does not answer.
    pub(super) fn overrides_due(&mut self, now: Instant) {
        if let Some(line) = self.overrides.as_mut().and_then(|notes| notes.late(now)) {
            error!("{line}");
        }
        self.note_overrides(now);
    }

    /// Reports a failed write.
    pub(super) fn overrides_attempted(&mut self, attempt: Attempt, now: Instant) {
        let Some(notes) = &mut self.overrides else { return };
        if let Err(error) = notes.take(attempt, now) {
            error!("{error}");
        }
        if !notes.is_pending() {
            let is_saved = notes.is_saved();
            self.unsaved.give(is_saved);
        }
    }

    /// Ends an override.
    pub(super) fn undo(&mut self, target: &ServerTarget, owner: &Owner, now: Instant) -> Steered {
        answer(self.director.end_override(service(target.service.as_deref())?, target.server, owner, now))
    }
}

/// The virtual service of a request. `None`: all.
pub(super) fn service(service: Option<&str>) -> Result<Option<VirtualId>, RequestFailure> {
    let Some(service) = service else { return Ok(None) };
    service.parse().map(Some).map_err(|_| RequestFailure {
        code: ErrorCode::NotFound,
        message: format!(
            "no virtual service {service:?}; `show` lists all services, such as tcp:10.0.0.1:80"
        ),
    })
}

fn answer(result: Result<BTreeSet<VirtualId>, Objection>) -> Steered {
    match result {
        Ok(services) => {
            let services = services.iter().map(|id| id.qualified()).collect();
            Ok(SteerAnswer { services, warning: None })
        }
        Err(objection) => Err(refused(objection)),
    }
}

/// The answer to a request that the director refused.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn refused(objection: Objection) -> RequestFailure {
    let code = match objection {
        Objection::NoSuchServer { .. } => ErrorCode::NotFound,
        Objection::LastServer(_)
        | Objection::TooMany
        | Objection::NotOverridden
        | Objection::InMaintenance(_) => ErrorCode::Refused,
    };
    RequestFailure { code, message: objection.to_string() }
}
