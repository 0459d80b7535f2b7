//! The end of the loop: the table is cleaned up, or handed over as it is.

#![expect(clippy::disallowed_methods, reason = "the end has a deadline")]

use std::time::{Duration, Instant};

use tracing::{error, info};

use super::run::{Daemon, End, PEERS_LIMIT};
use crate::director::Step;
use crate::value::DaemonStatus;

/// How long the end waits for the kernel at most. Its answers come within microseconds.
const KERNEL_LIMIT: Duration = Duration::from_secs(5);

impl Daemon {
    pub(super) async fn finish(mut self, end: End) {
        let end_of_grace = Instant::now() + self.grace;
        let left = || end_of_grace.saturating_duration_since(Instant::now());
        self.manager.stopping();
        self.outlets.set_status(DaemonStatus::Stopping, self.director.plan());
        if let End::Stop(_) = end {
            self.outlets.stop();
            // Counts as a part of the grace.
            self.settle_with_peers().await;
        }
        self.checks.shut_down(left()).await;
        self.rest().await;
        match end {
            End::HandOver => {
                self.outlets.shut_down(left()).await;
                info!("Linux Director Daemon hands the table over as it is");
            }
            End::Stop(signal) => {
                self.director.stop();
                self.rest().await;
                let events = self.director.finish_stop();
                self.publish(&events, Instant::now());
                if !self.director.owned().is_empty() {
                    // The next daemon has to remove what the kernel refused to.
                    self.remember(Instant::now());
                } else if let Some(owned) = self.owned.take() {
                    owned.remove();
                }
                self.outlets.shut_down(left()).await;
                info!("Linux Director Daemon terminated on signal: {signal}");
            }
        }
    }

    /// Before the end: takes what has come free, and leaves what others want.
    async fn settle_with_peers(&mut self) {
        self.look_at_peers(Instant::now());
        self.rest().await;
        let events = self.director.take_events();
        self.publish(&events, Instant::now());
        if let Some(peers) = &self.peers {
            let theirs = peers.directory().claims_within(PEERS_LIMIT).await.into_keys().collect();
            self.director.leave(&theirs);
        }
    }

    /// Carries the director's requests out until there is none, for a limited time.
    async fn rest(&mut self) {
        let deadline = tokio::time::Instant::now() + KERNEL_LIMIT;
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
                        "The kernel has not answered within {} s: what is left in its table is unknown; look with ipvsadm -Ln",
                        KERNEL_LIMIT.as_secs()
                    );
                    return;
                }
            }
        }
    }
}
