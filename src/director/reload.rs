//! Applies a new spec: what stays, what leaves, and what is reported.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Director, configured};
use crate::desired;
use crate::event::{Event, EventKind};
use crate::health::Health;
use crate::spec::Spec;

/// A spec and its health that a reload replaced. Large ones take milliseconds to drop.
#[derive(Clone)]
pub struct Replaced {
    _spec: Spec,
    _health: Health,
}

/// A configuration that waits for the table to be read.
#[derive(Clone)]
pub(super) struct Reload {
    pub(super) spec: Spec,
    pub(super) is_reading: bool,
}

impl Director {
    /// What the last reload replaced, to be dropped elsewhere.
    pub fn take_replaced(&mut self) -> Option<Replaced> {
        self.replaced.take()
    }

    /// Treats the servers of services that this daemon takes over from another daemon as servers of an earlier
    /// configuration.
    fn take_over(&mut self, spec: &Spec, now: Instant) {
        let services = desired::taken_over(&self.spec, spec, self.table());
        if services.is_empty() {
            return;
        }
        let before = self.spec.with_services(services);
        let in_service = desired::in_service(&before, self.table());
        self.health = self.health.carry_over(&self.spec, &before, &in_service, now);
        self.spec = before;
    }

    pub(super) fn switch_to(&mut self, spec: Spec, now: Instant) {
        let overrides = self.overrides();
        let had_servers = self.services_with_servers();
        self.take_over(&spec, now);
        let in_service = desired::in_service(&spec, self.table());
        let health = self.health.carry_over(&self.spec, &spec, &in_service, now);
        let kept = self.health.to_keep(&self.spec, &spec, &health);
        let (next, settled, health) = if kept.is_empty() {
            (spec, None, health)
        } else {
            let with_leaving = spec.with_leaving(&self.spec, &kept);
            let health = self.health.carry_over(&self.spec, &with_leaving, &in_service, now);
            (with_leaving, Some(spec), health)
        };
        self.settled = settled;
        self.replaced = Some(Replaced {
            _spec: std::mem::replace(&mut self.spec, next),
            _health: std::mem::replace(&mut self.health, health),
        });
        self.overrides_changed = true;
        self.warned.retain(|id, _| self.health.knows(*id));
        self.pending.retain(|key| self.spec.virtual_index(desired::virtual_id(key)).is_some());
        self.touched = (0..self.spec.virtuals().len()).collect();
        self.changed.clone_from(&self.touched);
        self.rotated.clone_from(&self.touched);
        self.reconciler.set_spec(&configured(&self.spec));
        self.report_removed(overrides);
        self.events.push(Event::of_director(EventKind::Reloaded));
        for member in self.spec.leaving().clone() {
            let at_most = self.spec.leaving_time(member.virtual_index);
            self.events.push(self.server_event(member, EventKind::Leaving { at_most }));
        }
        self.release_leaving(now);
        self.report_rotation_after_reload(&had_servers);
    }

    /// Drops the leaving servers from the spec when all have been removed and the table is reconciled, because the
    /// events about them need their indices.
    pub(super) fn forget_left(&mut self, now: Instant) {
        if self.health.leaves_at(&self.spec).is_some() || !self.reconciler.is_at_rest() {
            return;
        }
        if let Some(spec) = self.settled.take() {
            self.changed = (0..spec.virtuals().len()).collect();
            self.rotated.clone_from(&self.changed);
            self.health = self.health.carry_over(&self.spec, &spec, &BTreeSet::new(), now);
            self.spec = spec;
        }
    }

    /// Releases leaving servers that are replaced or whose time has passed. Reports services without a server.
    pub(super) fn release_leaving(&mut self, now: Instant) {
        for member in self.health.let_go(&self.spec, now) {
            self.mark(member.virtual_index);
            self.rotation.touch(member.virtual_index);
        }
        self.report_rotation();
    }
}
