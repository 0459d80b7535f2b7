//! The service manager (systemd, `sd_notify(3)`): it is told when the daemon is ready, reloads and stops, and that it lives.
//! Where no manager listens, nothing is said.

use std::time::{Duration, Instant};

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// What is said to the manager.
#[derive(Debug)]
pub struct Manager {
    /// The manager ends a daemon that has not spoken for so long.
    watchdog: Option<Duration>,
    next_sign: Option<Instant>,
}

impl Manager {
    /// The manager that has started this process, if one has.
    #[must_use]
    pub fn new(now: Instant) -> Manager {
        let watchdog = watchdog_enabled();
        Manager { watchdog, next_sign: watchdog.map(|_| now) }
    }

    /// The table is set up. `status` is a line for people.
    pub fn ready(&self, status: &str) {
        say(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is read again; [`Manager::ready`] follows, whatever comes of it.
    pub fn reloading(&self) {
        // Without the time the manager of Type=notify-reload would wait for ever.
        match NotifyState::monotonic_usec_now() {
            Ok(time) => say(&[NotifyState::Reloading, time]),
            Err(_) => say(&[NotifyState::Reloading]),
        }
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        say(&[NotifyState::Stopping]);
    }

    /// When the next sign of life is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_sign
    }

    /// Gives a sign of life if it is due: three in the time that the manager waits.
    pub fn alive(&mut self, now: Instant) {
        if let (Some(limit), Some(next)) = (self.watchdog, self.next_sign)
            && next <= now
        {
            say(&[NotifyState::Watchdog]);
            self.next_sign = Some(now + limit / 3);
        }
    }
}

/// A manager that does not listen any more changes nothing for the servers.
fn say(states: &[NotifyState<'_>]) {
    drop(notify(states));
}
