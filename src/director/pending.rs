//! Links changes of the table to the server transitions that caused them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipvs_rs::ServiceKey;

use crate::desired;
use crate::event::{Because, Event, EventKind};
use crate::health;
use crate::value::{Change, Role, ServerAction, ServerChange, VirtualId};

/// Transitions that the table does not show yet, by virtual service and configured address.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending(BTreeMap<ServiceKey, BTreeMap<SocketAddr, Because>>);

impl Pending {
    /// Records a transition. It replaces an earlier one of the same server.
    pub(super) fn add(&mut self, of: VirtualId, server: SocketAddr, event: &health::HealthEvent) {
        let because = match event {
            health::HealthEvent::Up(_) => Because::Up,
            health::HealthEvent::Down(_) => Because::Down,
            health::HealthEvent::Overridden(decision) => Because::Overridden(decision.owner.clone()),
            health::HealthEvent::OverrideEnded { .. } => Because::OverrideEnded,
            health::HealthEvent::SoftFailure { .. }
            | health::HealthEvent::SoftFailureOver
            | health::HealthEvent::Unknown(_) => return,
        };
        let pending = self.0.entry(desired::service_key(of)).or_default();
        match event {
            // A weight does not explain why a server goes out of rotation.
            health::HealthEvent::Overridden(decision)
            | health::HealthEvent::OverrideEnded { decision, .. }
                if !decision.what.replaces_check() =>
            {
                pending.entry(server).or_insert(because);
            }
            _ => drop(pending.insert(server, because)),
        }
    }

    /// Fills in the cause of a table change.
    pub(super) fn explain(&mut self, event: &mut Event) {
        let EventKind::Table { change: Change::Server(change), because } = &mut event.kind else { return };
        let Some(pending) = self.0.get_mut(&desired::service_key(change.of)) else { return };
        let server = change.configured.unwrap_or(change.server);
        if change.role == Role::Real
            && pending.get(&server).is_some_and(|found| is_carried_out(found, change))
        {
            *because = pending.remove(&server);
        }
    }

    /// Forgets the transitions of a service whose table is as wanted. Returns the servers that are down without a
    /// table change.
    pub(super) fn settle(&mut self, service: ServiceKey) -> Vec<SocketAddr> {
        let left = self.0.remove(&service).unwrap_or_default().into_iter();
        let is_dead = |because: &Because| {
            matches!(because, Because::Down | Because::Overridden(health::Owner::Maintenance))
        };
        left.filter(|(_, because)| is_dead(because)).map(|(server, _)| server).collect()
    }

    /// Forgets removed services.
    pub(super) fn retain(&mut self, is_there: impl Fn(ServiceKey) -> bool) {
        self.0.retain(|key, _| is_there(*key));
    }
}

fn is_carried_out(because: &Because, change: &ServerChange) -> bool {
    let takes_traffic = match change.action {
        ServerAction::Added(weight) | ServerAction::Restored(weight) => weight > 0,
        ServerAction::Deleted | ServerAction::Quiescent => false,
        ServerAction::Purged(_) => return false,
    };
    match because {
        Because::Up => takes_traffic,
        Because::Down | Because::Overridden(health::Owner::Maintenance) => !takes_traffic,
        Because::Overridden(_) | Because::OverrideEnded => true,
    }
}
