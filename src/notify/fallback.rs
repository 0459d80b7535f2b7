//! `fallbackcommand`: run with `start` when no server of a virtual service is up any more, with `stop` when one is up
//! again.

use std::collections::BTreeMap;

use crate::health::Health;
use crate::spec::Spec;
use crate::value::VirtualId;

/// The last call of each command.
#[derive(Debug, Default)]
pub struct FallbackCommands {
    last: BTreeMap<VirtualId, Last>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Last {
    command: String,
    action: FallbackAction,
}

/// The first argument of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackAction {
    /// No server is up.
    Start,
    /// A server is up.
    Stop,
}

/// A command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The virtual service.
    pub of: VirtualId,
    /// `fallbackcommand`
    pub command: String,
    /// `start` or `stop`, the virtual service's address and port, its protocol.
    pub arguments: [String; 3],
}

impl FallbackCommands {
    /// The commands to run now for these virtual services, given by their index in the spec. No `start` is due before
    /// all servers of a virtual service have been checked.
    pub fn due(
        &mut self,
        spec: &Spec,
        health: &Health,
        virtuals: impl IntoIterator<Item = usize>,
    ) -> Vec<Call> {
        let mut calls = Vec::new();
        for virtual_index in virtuals {
            let v = &spec.virtuals()[virtual_index];
            let before = self.last.remove(&v.id);
            let Some(command) = &v.fallbackcommand else { continue };
            let before = before.filter(|last| last.command == *command);
            let action = action(spec, health, virtual_index);
            if let Some(action) = action
                && before.as_ref().is_none_or(|last| last.action != action)
            {
                calls.push(Call { of: v.id, command: command.clone(), arguments: arguments(v.id, action) });
            }
            if let Some(action) = action.or(before.map(|last| last.action)) {
                self.last.insert(v.id, Last { command: command.clone(), action });
            }
        }
        calls
    }

    /// Forgets virtual services that are no longer configured.
    pub fn set_spec(&mut self, spec: &Spec) {
        self.last.retain(|id, _| spec.virtual_index(*id).is_some());
    }

    /// The `stop` calls for all commands that had `start` last, for a daemon that stops.
    pub fn all_stopped(&mut self) -> Vec<Call> {
        let started = std::mem::take(&mut self.last)
            .into_iter()
            .filter(|(_, last)| last.action == FallbackAction::Start);
        let call = |(of, last): (VirtualId, Last)| Call {
            of,
            command: last.command,
            arguments: arguments(of, FallbackAction::Stop),
        };
        started.map(call).collect()
    }
}

fn action(spec: &Spec, health: &Health, virtual_index: usize) -> Option<FallbackAction> {
    if health.any_in(spec, virtual_index) {
        return Some(FallbackAction::Stop);
    }
    health.all_seen_in(spec, virtual_index).then_some(FallbackAction::Start)
}

fn arguments(of: VirtualId, action: FallbackAction) -> [String; 3] {
    let action = match action {
        FallbackAction::Start => "start",
        FallbackAction::Stop => "stop",
    };
    // A firewall mark has no address.
    let (address, protocol) = match of {
        VirtualId::Address { protocol, address } => (address.to_string(), protocol.to_string()),
        VirtualId::Mark { .. } => (":0".to_owned(), "fwm".to_owned()),
    };
    [action.to_owned(), address, protocol]
}
