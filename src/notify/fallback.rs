//! `fallbackcommand`: run with `start` when no server of a virtual service is up any more, with `stop` when one is up
//! again.

use std::collections::BTreeMap;

use crate::health::Health;
use crate::plan::{Member, Plan, Virtual};
use crate::value::VirtualId;

/// The last call of each command.
#[derive(Debug, Default)]
pub struct FallbackCommands {
    last: BTreeMap<VirtualId, Said>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    command: String,
    word: Word,
}

/// The first argument of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
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
    /// The commands to run now for these virtual services, given by their index in the plan. No `start` is due before
    /// all servers of a virtual service have been checked.
    pub fn due(
        &mut self,
        plan: &Plan,
        health: &Health,
        virtuals: impl IntoIterator<Item = usize>,
    ) -> Vec<Call> {
        let mut calls = Vec::new();
        for virtual_index in virtuals {
            let v = &plan.virtuals()[virtual_index];
            let before = self.last.remove(&v.id);
            let Some(command) = &v.fallbackcommand else { continue };
            let before = before.filter(|said| said.command == *command);
            let word = word(plan, health, virtual_index, v);
            if let Some(word) = word
                && before.as_ref().is_none_or(|said| said.word != word)
            {
                calls.push(Call { of: v.id, command: command.clone(), arguments: arguments(v.id, word) });
            }
            if let Some(word) = word.or(before.map(|said| said.word)) {
                self.last.insert(v.id, Said { command: command.clone(), word });
            }
        }
        calls
    }

    /// Forgets virtual services that are no longer configured.
    pub fn replan(&mut self, plan: &Plan) {
        self.last.retain(|id, _| plan.virtual_index(*id).is_some());
    }

    /// The `stop` calls for all commands that had `start` last, for a daemon that stops.
    pub fn all_stopped(&mut self) -> Vec<Call> {
        let started = std::mem::take(&mut self.last).into_iter().filter(|(_, said)| said.word == Word::Start);
        let call = |(of, said): (VirtualId, Said)| Call {
            of,
            command: said.command,
            arguments: arguments(of, Word::Stop),
        };
        started.map(call).collect()
    }
}

fn word(plan: &Plan, health: &Health, virtual_index: usize, v: &Virtual) -> Option<Word> {
    if health.any_in(plan, virtual_index) {
        return Some(Word::Stop);
    }
    let seen = |real_index: usize| {
        let member = Member { virtual_index, real_index };
        plan.check_of(member).is_none() || health.server(member).is_seen() || plan.is_leaving(member)
    };
    (0..v.reals.len()).all(seen).then_some(Word::Start)
}

fn arguments(of: VirtualId, word: Word) -> [String; 3] {
    let word = match word {
        Word::Start => "start",
        Word::Stop => "stop",
    };
    // A firewall mark has no address.
    let (address, protocol) = match of {
        VirtualId::Address { protocol, address } => (address.to_string(), protocol.to_string()),
        VirtualId::Mark { .. } => (":0".to_owned(), "fwm".to_owned()),
    };
    [word.to_owned(), address, protocol]
}
