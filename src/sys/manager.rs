//! Messages to the service manager (systemd, `sd_notify(3)`): ready, reloading, stopping, watchdog, status. Without a
//! manager nothing is sent. A thread sends the messages: a manager that does not read delays no check.

use std::io;
use std::mem::discriminant;
use std::time::{Duration, Instant};

use sd_notify::{NotifyState, notify, watchdog_enabled};

use super::write_queue::WriteQueue;

/// The shortest time between two status lines.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the daemon waits for a manager that does not read.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// The connection to the service manager.
#[derive(Debug)]
pub struct Manager {
    /// `None` without a manager.
    messages: Option<WriteQueue<ManagerMessage>>,
    status: Status,
    /// The manager kills a daemon that sends no watchdog message for this time.
    watchdog: Option<Duration>,
    next_sign: Option<Instant>,
}

/// A message. Only the newest of each kind is queued, so the queue is short.
#[derive(Debug)]
enum ManagerMessage {
    Ready(String),
    Status(String),
    /// With the monotonic time, if the system provides it.
    Reloading(Option<NotifyState<'static>>),
    Stopping,
    Watchdog,
}

impl Manager {
    /// Connects to the manager that has started this process, if any, and then starts a thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(now: Instant) -> io::Result<Manager> {
        let messages = match std::env::var_os("NOTIFY_SOCKET") {
            None => None,
            Some(_) => {
                let queue = WriteQueue::new(usize::MAX);
                queue.start("manager", |messages| messages.iter().for_each(|(message, _)| send(message)))?;
                Some(queue)
            }
        };
        let watchdog = watchdog_enabled();
        Ok(Manager { messages, status: Status::default(), watchdog, next_sign: watchdog.map(|_| now) })
    }

    /// Reports that the table is set up, with a status line.
    pub fn ready(&mut self, status: &str, now: Instant) {
        self.status.told(status, now);
        self.say(ManagerMessage::Ready(status.to_owned()));
    }

    /// Notes that the status line may have changed.
    pub fn changed(&mut self, now: Instant) {
        if self.messages.is_some() {
            self.status.changed(now);
        }
    }

    /// Sends the status line if it may have changed and is due. Calls `line` only then.
    pub fn tell_status(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if let Some(line) = self.status.due(now, line) {
            self.say(ManagerMessage::Status(line));
        }
    }

    /// Reports that the configuration is read again. [`Manager::ready`] must follow, also after a failure.
    pub fn reloading(&self) {
        // Type=notify-reload requires the time; without it the manager would wait forever.
        self.say(ManagerMessage::Reloading(NotifyState::monotonic_usec_now().ok()));
    }

    /// Reports that the daemon stops.
    pub fn stopping(&self) {
        self.say(ManagerMessage::Stopping);
    }

    /// Waits until all messages are sent, before the process ends. A manager that does not read delays the end by at
    /// most a second.
    pub fn finish(&self) {
        if let Some(messages) = &self.messages {
            messages.flush(LAST_MESSAGES);
        }
    }

    fn say(&self, message: ManagerMessage) {
        if let Some(messages) = &self.messages {
            let kind = discriminant(&message);
            messages.replace(message, |waiting| discriminant(waiting) == kind);
        }
    }

    /// When the next watchdog message or status line is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.next_sign, self.status.due].into_iter().flatten().min()
    }

    /// Sends a watchdog message if it is due: three per watchdog interval.
    pub fn alive(&mut self, now: Instant) {
        if let (Some(limit), Some(next)) = (self.watchdog, self.next_sign)
            && next <= now
        {
            self.say(ManagerMessage::Watchdog);
            self.next_sign = Some(now + limit / 3);
        }
    }
}

/// The last status line, and when the next may be sent.
#[derive(Debug, Default)]
struct Status {
    told: String,
    /// `None` before the daemon is ready.
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

    /// The line, if it is due and differs from the last one.
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

/// Sends a message. Blocks while the manager does not read. Errors are ignored: a missing manager must not affect the
/// daemon.
fn send(message: &ManagerMessage) {
    drop(match message {
        ManagerMessage::Ready(status) => notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        ManagerMessage::Status(line) => notify(&[NotifyState::Status(line)]),
        ManagerMessage::Reloading(Some(time)) => notify(&[NotifyState::Reloading, time.clone()]),
        ManagerMessage::Reloading(None) => notify(&[NotifyState::Reloading]),
        ManagerMessage::Stopping => notify(&[NotifyState::Stopping]),
        ManagerMessage::Watchdog => notify(&[NotifyState::Watchdog]),
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
        // Changes within a second become one line, and an unchanged line is not sent.
        status.changed(at(9100));
        status.changed(at(9200));
        assert_eq!((status.due, status.due(at(9999), line("0 of 2 up"))), (Some(at(10000)), None));
        assert_eq!(status.due(at(10000), line("0 of 2 up")), Some("0 of 2 up".to_owned()));
        status.changed(at(12000));
        assert_eq!((status.due(at(12000), line("0 of 2 up")), status.due), (None, None));
    }
}
