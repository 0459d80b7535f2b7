//! Reports virtual services that lose their last server in rotation, or get one again.

use std::collections::BTreeSet;

use super::Director;
use crate::event::{Event, EventKind};
use crate::spec::ServerRef;
use crate::value::VirtualId;

/// What was reported.
#[derive(Clone, Default)]
pub(super) struct Rotation {
    /// The services that were reported to have no server left.
    lost: BTreeSet<VirtualId>,
    /// Services, by index in the spec, with a transition since the last report.
    touched: BTreeSet<usize>,
}

impl Rotation {
    /// A server of this service, by index in the spec, changed its state.
    pub(super) fn touch(&mut self, virtual_index: usize) {
        self.touched.insert(virtual_index);
    }
}

impl Director {
    /// Reports services that have lost their last server in rotation, or have one again. A loss is not reported before
    /// all servers of a service have been checked.
    pub(super) fn report_rotation(&mut self) {
        for virtual_index in std::mem::take(&mut self.rotation.touched) {
            let v = &self.spec.virtuals()[virtual_index];
            let lost = &mut self.rotation.lost;
            let kind = if self.health.any_in(&self.spec, virtual_index) {
                lost.remove(&v.id).then_some(EventKind::ServerLeftAgain)
            } else if lost.contains(&v.id) || !self.health.all_seen_in(&self.spec, virtual_index) {
                None
            } else {
                lost.insert(v.id);
                let stays = |real_index: &usize| {
                    !self.spec.is_leaving(ServerRef { virtual_index, real_index: *real_index })
                };
                let servers = (0..v.reals.len()).filter(stays).count();
                Some(EventKind::NoServerLeft { servers, fallback: v.fallback_address() })
            };
            self.events.extend(kind.map(|kind| Event { service: Some(v.id), server: None, kind }));
        }
    }

    /// The services with a server in rotation.
    pub(super) fn services_with_servers(&self) -> BTreeSet<VirtualId> {
        let services = self.spec.virtuals().iter().enumerate();
        services.filter(|(index, _)| self.health.any_in(&self.spec, *index)).map(|(_, v)| v.id).collect()
    }

    /// Forgets services that are no longer configured. Of the others, reports those that have a server again, and
    /// those that had servers before the reload and have none now.
    pub(super) fn report_rotation_after_reload(&mut self, had_servers: &BTreeSet<VirtualId>) {
        let Rotation { lost, touched } = &mut self.rotation;
        lost.retain(|id| self.spec.virtual_index(*id).is_some());
        *touched = lost.union(had_servers).filter_map(|id| self.spec.virtual_index(*id)).collect();
        self.report_rotation();
    }
}
