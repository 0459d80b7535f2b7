//! The service manager (systemd, `sd_notify(3)`): it is told when the daemon is ready, reloads and stops, and that it lives.
//! Where no manager listens, nothing is said. A thread sends the messages: a manager that does not read delays no check.

use std::io;
use std::mem::discriminant;
use std::time::{Duration, Instant};

use sd_notify::{NotifyState, notify, watchdog_enabled};

use super::lane::Lane;

/// The state for people is told at most once in this time.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the daemon waits for a manager that does not read.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// What is said to the manager.
#[derive(Debug)]
pub struct Manager {
    /// None without a manager.
    messages: Option<Lane<Message>>,
    status: Status,
    /// The manager ends a daemon that has not spoken for so long.
    watchdog: Option<Duration>,
    next_sign: Option<Instant>,
}

/// Of each kind only the newest waits for the thread that sends it, so that there are never more than these.
#[derive(Debug)]
enum Message {
    Ready(String),
    Status(String),
    /// With the time, where the system tells it.
    Reloading(Option<NotifyState<'static>>),
    Stopping,
    Watchdog,
}

impl Manager {
    /// The manager that has started this process, if one has. Starts a thread then.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(now: Instant) -> io::Result<Manager> {
        let messages = match std::env::var_os("NOTIFY_SOCKET") {
            None => None,
            Some(_) => {
                let lane = Lane::new(usize::MAX);
                lane.start("manager", |messages| messages.iter().for_each(|(message, _)| send(message)))?;
                Some(lane)
            }
        };
        let watchdog = watchdog_enabled();
        Ok(Manager { messages, status: Status::default(), watchdog, next_sign: watchdog.map(|_| now) })
    }

    /// The table is set up. `status` is a line for people.
    pub fn ready(&mut self, status: &str, now: Instant) {
        self.status.told(status, now);
        self.say(Message::Ready(status.to_owned()));
    }

    /// Something has happened after which the line for people may be another one.
    pub fn changed(&mut self, now: Instant) {
        if self.messages.is_some() {
            self.status.changed(now);
        }
    }

    /// Tells the line for people if it may be another one and it is time to. It is asked for only then.
    pub fn tell_status(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if let Some(line) = self.status.due(now, line) {
            self.say(Message::Status(line));
        }
    }

    /// The configuration is read again; [`Manager::ready`] follows, whatever comes of it.
    pub fn reloading(&self) {
        // Without the time the manager of Type=notify-reload would wait for ever.
        self.say(Message::Reloading(NotifyState::monotonic_usec_now().ok()));
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        self.say(Message::Stopping);
    }

    /// Waits until all is sent, before the process ends. A manager that does not read delays the end by at most a second.
    pub fn finish(&self) {
        if let Some(messages) = &self.messages {
            messages.flush(LAST_MESSAGES);
        }
    }

    fn say(&self, message: Message) {
        if let Some(messages) = &self.messages {
            let kind = discriminant(&message);
            messages.replace(message, |waiting| discriminant(waiting) == kind);
        }
    }

    /// When the next sign of life, or the line for people, is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.next_sign, self.status.due].into_iter().flatten().min()
    }

    /// Gives a sign of life if it is due: three in the time that the manager waits.
    pub fn alive(&mut self, now: Instant) {
        if let (Some(limit), Some(next)) = (self.watchdog, self.next_sign)
            && next <= now
        {
            self.say(Message::Watchdog);
            self.next_sign = Some(now + limit / 3);
        }
    }
}

/// The line for people: what was told last, and when the next one may be.
#[derive(Debug, Default)]
struct Status {
    told: String,
    /// None before the daemon is ready.
    earliest: Option<Instant>,
    due: Option<Instant>,
}

impl Status {
    fn told(&mut self, line: &str, now: Instant) {
        line.clone_into(&mut self.told);
        self.earliest = Some(now + STATUS_INTERVAL);
        self.due = None;
    }

    fn changed(&mut self, now: Instant) {
        if self.due.is_none() {
            self.due = self.earliest.map(|earliest| earliest.max(now));
        }
    }

    /// The line, if it is due and another one than the last.
    fn due(&mut self, now: Instant, line: impl FnOnce() -> String) -> Option<String> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        self.due = None;
        let line = line();
        if line == self.told {
            return None;
        }
        self.told(&line, now);
        Some(line)
    }
}

/// Blocks while the manager does not read. One that does not listen any more changes nothing for the servers.
fn send(message: &Message) {
    drop(match message {
        Message::Ready(status) => notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        Message::Status(line) => notify(&[NotifyState::Status(line)]),
        Message::Reloading(Some(time)) => notify(&[NotifyState::Reloading, time.clone()]),
        Message::Reloading(None) => notify(&[NotifyState::Reloading]),
        Message::Stopping => notify(&[NotifyState::Stopping]),
        Message::Watchdog => notify(&[NotifyState::Watchdog]),
    });
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test begins now")]

    use super::*;

    #[test]
    fn status_is_told_when_it_changes_and_once_a_second() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let line = |text: &'static str| move || text.to_owned();
        let mut status = Status::default();
        status.changed(at(0));
        assert_eq!(status.due(at(5000), line("0 of 2 up")), None, "not before the daemon is ready");
        status.told("2 of 2 up", at(5000));
        assert_eq!(status.due(at(9000), || panic!("nothing has changed")), None);
        status.changed(at(9000));
        assert_eq!(status.due(at(9000), line("1 of 2 up")), Some("1 of 2 up".to_owned()));
        // Changes within a second become one line, and what is as before is not told.
        status.changed(at(9100));
        status.changed(at(9200));
        assert_eq!((status.due, status.due(at(9999), line("0 of 2 up"))), (Some(at(10000)), None));
        assert_eq!(status.due(at(10000), line("0 of 2 up")), Some("0 of 2 up".to_owned()));
        status.changed(at(12000));
        assert_eq!((status.due(at(12000), line("0 of 2 up")), status.due), (None, None));
    }
}
