//! Servers that a reload removed from the configuration and that stay until another server is up: make before break.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use super::Health;
use crate::spec::{ServerRef, Spec};
use crate::value::VirtualId;

impl Health {
    /// The servers of the old spec that have to stay for a while, because their service has no server in rotation
    /// in `next`, the state after the reload. A service whose configured weights are all 0 keeps none.
    #[must_use]
    pub fn to_keep(&self, old: &Spec, new: &Spec, next: &Health) -> Vec<ServerRef> {
        let before: BTreeMap<VirtualId, usize> =
            old.virtuals().iter().enumerate().map(|(index, v)| (v.id, index)).collect();
        let mut kept = Vec::new();
        for (index, v) in new.virtuals().iter().enumerate() {
            let Some(virtual_index) = before.get(&v.id).copied() else { continue };
            if next.has_rotation(new, index) || v.reals.iter().all(|real| real.weight == 0) {
                continue;
            }
            let stay: BTreeSet<SocketAddr> = v.reals.iter().map(|real| real.address).collect();
            let reals = old.virtuals()[virtual_index].reals.iter().enumerate();
            let gone = reals.filter(|(_, real)| real.weight > 0 && !stay.contains(&real.address));
            let members = gone.map(|(real_index, _)| ServerRef { virtual_index, real_index });
            kept.extend(members.filter(|member| self.is_in(old, *member)));
        }
        kept
    }

    /// Releases leaving servers whose service has another server in rotation, or whose time has passed. Returns them.
    pub fn let_go(&mut self, spec: &Spec, now: Instant) -> Vec<ServerRef> {
        let goes = |member: &ServerRef| match self.server(*member) {
            server if server.has_gone() => false,
            server => {
                server.leaves_at.is_some_and(|at| at <= now) || self.has_rotation(spec, member.virtual_index)
            }
        };
        let gone: Vec<ServerRef> = spec.leaving().iter().copied().filter(goes).collect();
        for member in &gone {
            let server = self.server_mut(*member);
            server.change(now, |server| server.checked = server.checked.taken_down());
        }
        gone
    }

    /// When the next leaving server is removed at the latest. `None` if there is none left.
    #[must_use]
    pub fn leaves_at(&self, spec: &Spec) -> Option<Instant> {
        let leaving =
            spec.leaving().iter().map(|member| self.server(*member)).filter(|server| !server.has_gone());
        leaving.filter_map(|server| server.leaves_at).min()
    }

    /// Whether the service has a server in rotation with a weight above 0 that is not leaving.
    fn has_rotation(&self, spec: &Spec, virtual_index: usize) -> bool {
        let mut reals = spec.virtuals()[virtual_index].reals.iter().enumerate();
        reals.any(|(real_index, real)| {
            let member = ServerRef { virtual_index, real_index };
            real.weight > 0 && !spec.is_leaving(member) && self.is_in(spec, member)
        })
    }
}
