//! The end of the loop: cleans up the table, or leaves it to the next daemon.

#![expect(clippy::disallowed_methods, reason = "the end has a deadline")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipvs_rs::ServiceKey;
use tracing::{error, info, warn};

use super::handover;
use super::notes::{self, NoteWriter};
use super::owned::Owned;
use super::run::{Daemon, LoopEnd, PEERS_LIMIT, moment};
use crate::desired;
use crate::director::Step;
use crate::event::Event;
use crate::value::DaemonStatus;

/// Total time limit for the kernel. It normally answers within microseconds.
const KERNEL_LIMIT: Duration = Duration::from_secs(5);
/// Number of events that are published at once at the end.
const PART: usize = 500;
/// How long a reader whose request is not answered yet can delay the end.
const READERS_LIMIT: Duration = Duration::from_secs(1);
/// Time limit for each access to the state directory, whose file system may hang.
const NOTE_LIMIT: Duration = Duration::from_secs(1);

impl Daemon {
    pub(super) async fn finish(mut self, end: LoopEnd) {
        let end_of_grace = Instant::now() + self.grace;
        let grace = || end_of_grace.saturating_duration_since(Instant::now());
        self.manager.stopping();
        // Clients that connect now learn that the daemon is stopping. So do clients that wait for an answer.
        let readers_limit = tokio::time::Instant::now() + READERS_LIMIT;
        drop(self.readers.control.take());
        self.readers.inbox.stop();
        let (spec, health) = (self.director.spec(), self.director.health());
        self.outlets.set_status(DaemonStatus::Stopping, spec, health, Instant::now());
        let kernel_limit = tokio::time::Instant::now() + KERNEL_LIMIT;
        let mut left = BTreeSet::new();
        if let LoopEnd::Stop(_) = end {
            self.outlets.stop();
            // This time counts towards `grace`.
            left = self.settle_with_peers(kernel_limit).await;
        }
        self.checks.shut_down(grace()).await;
        self.rest(kernel_limit).await;
        let events = self.director.take_events();
        self.publish_in_parts(&events).await;
        self.await_overrides().await;
        match end {
            LoopEnd::HandOver => {
                self.save_owned(Instant::now());
                self.await_note().await;
                if let Some(path) = self.handover.take() {
                    handover::leave(path, &self.director, moment(Instant::now())).await;
                }
                self.finish_track(BTreeSet::new(), NOTE_LIMIT, Instant::now()).await;
                self.outlets.shut_down(grace()).await;
                info!("Linux Director Daemon terminated for a handover; the table stays as it is");
            }
            LoopEnd::Stop(signal) => {
                // Services that another daemon takes are that daemon's.
                let given_up = self.director.cleaned_at_stop().difference(&left).copied().collect();
                self.director.stop();
                self.rest(kernel_limit).await;
                let events = self.director.finish_stop();
                self.publish_in_parts(&events).await;
                self.leave_note(left).await;
                self.finish_track(given_up, NOTE_LIMIT, Instant::now()).await;
                self.outlets.shut_down(grace()).await;
                info!("Linux Director Daemon terminated on signal: {signal}");
            }
        }
        // The log has the end of the daemon already: a slow reader delays only the end of the process.
        let _ = tokio::time::timeout_at(readers_limit, self.readers.inbox.finished()).await;
        self.manager.finish();
    }

    /// Settles the owners of services before a stop: takes services that are free now, and leaves those that other
    /// daemons claim. Returns the latter.
    ///
    /// First writes a note that this daemon stops and that others may take all its services. So if two daemons stop
    /// at the same moment, one sees that the other claims nothing, or takes the services that the other leaves and
    /// removes them.
    async fn settle_with_peers(&mut self, kernel_limit: tokio::time::Instant) -> BTreeSet<ServiceKey> {
        let Some(directory) = self.peers.as_ref().map(|peers| peers.directory().clone()) else {
            return BTreeSet::new();
        };
        let owned = self.to_note();
        let stops = Owned { offered: owned.services.clone(), is_stopping: true, ..owned };
        self.write_note(stops, Instant::now());
        self.await_note().await;
        let sight = directory.look_within(self.hosts.clone(), PEERS_LIMIT).await;
        if let Some(trouble) = &sight.trouble {
            warn!(
                "{trouble}: the stop also removes virtual services that another daemon has in its configuration, unless \
                 cleanstop=no; make that directory readable, then reload the other daemon"
            );
        } else if !sight.is_whole {
            warn!(
                "The configuration of another daemon was not read within {} s: the stop removes virtual services that were moved \
                 to it but not loaded yet; reload the other daemon",
                PEERS_LIMIT.as_secs()
            );
        }
        let Some(peers) = &mut self.peers else { return BTreeSet::new() };
        // Services of an earlier run are removed here, unless another daemon claims them.
        let held_before = peers.held().clone();
        let wanted = sight.to_leave(&held_before);
        let now = Instant::now();
        let share = peers.look(sight, self.director.spec(), now);
        let held = peers.take_held();
        if let Some(share) = share {
            self.run_share(share, now);
        }
        let abandoned = held.difference(&wanted).copied().collect();
        if let Some(track) = &mut self.track {
            track.forget(&abandoned, now);
        }
        self.director.adopt(abandoned);
        self.rest(kernel_limit).await;
        let ours: BTreeSet<ServiceKey> = self.director.owned().union(&held).copied().collect();
        let left = wanted.intersection(&ours).copied().collect();
        self.director.leave(&left);
        left
    }

    /// Writes a note of the services that are still in the table, for the next daemon or the next stop: those that
    /// the kernel refused to remove, and those that another daemon claims and has not taken yet.
    async fn leave_note(&mut self, left: BTreeSet<ServiceKey>) {
        let notes = match &self.peers {
            Some(peers) if !left.is_empty() => {
                let sight = tokio::time::timeout(NOTE_LIMIT, peers.directory().clone().notes_aside()).await;
                sight.unwrap_or_default().notes
            }
            _ => Vec::new(),
        };
        let is_taken = |key: &ServiceKey| notes.iter().any(|note| note.is_alive() && note.keeps(key));
        let untaken: BTreeSet<ServiceKey> = left.into_iter().filter(|key| !is_taken(key)).collect();
        for key in &untaken {
            warn!(
                "Virtual server {} stays in the table without checks until the other daemon that has it in its configuration takes \
                 it; reload that daemon",
                desired::virtual_id(*key)
            );
        }
        let services: BTreeSet<ServiceKey> = self.director.owned().union(&untaken).copied().collect();
        if !services.is_empty() {
            let offered = services.clone();
            let owned = Owned { services, offered, is_stopping: true, ..Owned::default() };
            self.write_note(owned, Instant::now());
        } else if let Some(notes) = &mut self.notes {
            notes.remove(Instant::now());
        }
        self.await_note().await;
    }

    /// Publishes many events, such as the removal of every server, without a long turn of the loop.
    async fn publish_in_parts(&mut self, events: &[Event]) {
        for part in events.chunks(PART) {
            self.publish(part, Instant::now());
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the overrides are saved, at most [`NOTE_LIMIT`].
    async fn await_overrides(&mut self) {
        let limit = tokio::time::Instant::now() + NOTE_LIMIT;
        while self.overrides.as_ref().is_some_and(NoteWriter::is_pending) {
            match tokio::time::timeout_at(limit, notes::attempt(&mut self.overrides)).await {
                Ok(attempt) => self.overrides_attempted(attempt, Instant::now()),
                Err(_) => {
                    error!(
                        "The latest drain, down, up, weight or undo was not saved within {} s and may be lost at the next start; check the file system of [paths] state",
                        NOTE_LIMIT.as_secs()
                    );
                    return;
                }
            }
        }
    }

    /// Waits until the note is written, so that the next daemon and the others find it, at most [`NOTE_LIMIT`].
    async fn await_note(&mut self) {
        let limit = tokio::time::Instant::now() + NOTE_LIMIT;
        while self.is_note_pending() {
            match tokio::time::timeout_at(limit, notes::attempt(&mut self.notes)).await {
                Ok(attempt) => self.note_attempted(attempt, Instant::now()),
                Err(_) => {
                    warn!(
                        "The directory of pid files and notes ([paths] run) did not respond within {} s: the next start or stop may not know which virtual services \
                         this daemon leaves in the table; list them with ipvsadm -Ln",
                        NOTE_LIMIT.as_secs()
                    );
                    return;
                }
            }
        }
    }

    /// Executes the director's requests until there are none left or the deadline has passed.
    async fn rest(&mut self, deadline: tokio::time::Instant) {
        while !self.director.is_at_rest() {
            match self.director.next_step() {
                Step::Rest if self.director.is_at_rest() => return,
                Step::Rest => {}
                step => self.kernel.send(step),
            }
            match tokio::time::timeout_at(deadline, self.kernel.next()).await {
                Ok(Some(done)) => self.director.done(done, Instant::now()),
                _ => {
                    error!(
                        "The kernel did not answer within {} s: the content of its table is unknown; list it with ipvsadm -Ln",
                        KERNEL_LIMIT.as_secs()
                    );
                    return;
                }
            }
        }
    }
}
