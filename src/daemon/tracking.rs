//! When the loop writes the files for keepalived's `track_file`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipvs_rs::ServiceKey;
use tracing::error;

use super::run::Daemon;
use crate::desired;
use crate::sys::command::aside;

impl Daemon {
    /// Writes the track files of services that went up or down, and tries again what failed.
    pub(super) fn track_services(&mut self, now: Instant) {
        let Some(track) = &mut self.track else { return };
        track.update(&mut self.director, now);
        if let Some(line) = track.look(now) {
            error!("{line}");
        }
    }

    /// Removes the track files of services that the new spec does not have.
    pub(super) fn track_spec(&mut self, now: Instant) {
        if let Some(track) = &mut self.track {
            track.set_spec(self.director.spec(), now);
        }
    }

    /// Writes the last state of the services, within `limit`. `given_up`: the services that this daemon removes from
    /// the table.
    pub(super) async fn finish_track(
        &mut self,
        given_up: BTreeSet<ServiceKey>,
        limit: Duration,
        now: Instant,
    ) {
        self.track_services(now);
        let Some(mut track) = self.track.take() else { return };
        track.give_up(given_up.into_iter().map(desired::virtual_id), now);
        if let Some(line) = aside(move || track.finish(limit)).await {
            error!("{line}");
        }
    }
}
