//! Records what happens to each server, and answers requests for everything known about one.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use super::run::{Daemon, moment};
use super::steer;
use crate::control::{RequestFailure, ServerTarget};
use crate::event::{Event, EventKind};
use crate::notify;
use crate::report::{CheckTime, MemberStory, ServerStory};
use crate::spec::ServerRef;

impl Daemon {
    /// Records events of servers.
    pub(super) fn record(&mut self, events: &[Event], at: SystemTime) {
        let is_kept = |event: &&Event| !matches!(event.kind, EventKind::Checked { .. });
        for event in events.iter().filter(is_kept) {
            self.history.happened(event, notify::state(event), at);
        }
    }

    /// Everything known about a server.
    pub(super) fn story(
        &mut self,
        target: &ServerTarget,
        now: Instant,
    ) -> Result<ServerStory, RequestFailure> {
        let service = steer::service(target.service.as_deref())?;
        let members = self.director.find_server(service, target.server).map_err(steer::refused)?;
        let at = moment(now);
        let services: BTreeSet<usize> = members.iter().map(|member| member.virtual_index).collect();
        let mut stories = Vec::new();
        for virtual_index in services {
            let id = self.director.spec().virtuals()[virtual_index].id;
            let Some(view) = self.publisher.one(&mut self.director, id) else { continue };
            let indices =
                (0..view.servers.len()).filter(|index| view.servers[*index].address == target.server);
            let of_service = members.iter().filter(|member| member.virtual_index == virtual_index);
            // Both in the order of the file.
            for (index, member) in indices.zip(of_service) {
                let past = self.history.server((id, target.server));
                let (next, times) = self.check_runs(*member);
                stories.push(MemberStory {
                    service: view.clone(),
                    index,
                    next_check: next.map(|at| at.saturating_duration_since(now)),
                    changes: past.changes(at.wall).collect(),
                    times,
                    events: past.events.into(),
                });
            }
        }
        Ok(ServerStory {
            name: self.publisher.name(),
            config: self.publisher.config(),
            at,
            members: stories,
            render_event: notify::json,
        })
    }

    /// When the check of a server runs next, and the times of its last runs.
    fn check_runs(&self, member: ServerRef) -> (Option<Instant>, Vec<CheckTime>) {
        let Some(index) = self.director.spec().check_index(member) else { return (None, Vec::new()) };
        let (id, next) = self.director.health().next_run(index);
        let is_checked = !self.director.health().server(member).is_in_maintenance();
        (next.filter(|_| is_checked), self.history.times(id))
    }
}
