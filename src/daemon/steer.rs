//! What operators ask for on the control socket.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tracing::error;

use super::notes::Attempt;
use super::overrides::Decisions;
use super::run::{Daemon, moment};
use crate::control::{Decision, ErrorCode, Failure, Steered, Target};
use crate::director::Objection;
use crate::health::{Override, Owner};
use crate::value::VirtualId;

impl Daemon {
    /// Decides about a server.
    pub(super) fn decide(&mut self, decision: Decision, owner: Owner, now: Instant) -> Steered {
        let service = service(&decision.target)?;
        let decided = Override {
            what: decision.what,
            owner,
            reason: decision.note,
            since: now,
            until: decision.seconds.map(|seconds| now + Duration::from_secs(seconds)),
        };
        let server = decision.target.server;
        answer(self.director.override_server(service, server, &decided, decision.force, now))
    }

    /// Notes what operators decided, for the next run.
    pub(super) fn note_overrides(&mut self, now: Instant) {
        let Some(notes) = &mut self.overrides else { return };
        let all = self.director.overrides();
        let decisions = Decisions::new(all.iter().map(|(id, decided)| (id, &**decided)), moment(now));
        if decisions.is_empty() { notes.remove(now) } else { notes.write(decisions, now) }
    }

    /// Writes them again where that failed, or reports that the file system does not answer.
    pub(super) fn overrides_due(&mut self, now: Instant) {
        if let Some(line) = self.overrides.as_mut().and_then(|notes| notes.late(now)) {
            error!("{line}");
        }
        self.note_overrides(now);
    }

    /// The end of an attempt to write the file.
    pub(super) fn overrides_attempted(&mut self, attempt: Attempt, now: Instant) {
        let Some(notes) = &mut self.overrides else { return };
        if let Err(error) = notes.take(attempt, now) {
            error!("{error}");
        }
    }

    /// Ends what was decided about a server.
    pub(super) fn undo(&mut self, target: &Target, owner: &Owner, now: Instant) -> Steered {
        answer(self.director.end_override(service(target)?, target.server, owner, now))
    }
}

fn service(target: &Target) -> Result<Option<VirtualId>, Failure> {
    let Some(service) = &target.service else { return Ok(None) };
    service.parse().map(Some).map_err(|_| Failure {
        code: ErrorCode::NotFound,
        message: format!("no virtual service {service:?}; show lists them"),
    })
}

fn answer(result: Result<BTreeSet<VirtualId>, Objection>) -> Steered {
    match result {
        Ok(services) => Ok(services.iter().map(|id| id.qualified()).collect()),
        Err(objection) => {
            let code = match objection {
                Objection::NoSuchServer => ErrorCode::NotFound,
                Objection::LastServer(_) | Objection::NotOverridden => ErrorCode::Refused,
            };
            Err(Failure { code, message: objection.to_string() })
        }
    }
}
