//! Where log lines end up: a file that is opened anew for each line, syslog, standard output or standard error.
//!
//! The rest of the program says what it has to say by `tracing`; the [`Layer`] here writes the message alone, in the
//! original's line formats. The target can be changed at any time, since the configuration is read after the start.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere yet.
    Nowhere,
    /// Standard error, bare (`-d`).
    Stderr,
    /// Standard output with a time stamp (`supervised=yes`).
    Stdout,
    /// A file; each line with time, name of the configuration and pid.
    File(PathBuf),
    /// Syslog by /dev/log with this facility.
    Syslog(String),
}

/// The log of this process. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    target: Target,
    name: String,
    syslog: Option<UnixDatagram>,
}

impl Log {
    /// A log for the configuration of this name (it stands in each line of a log file).
    #[must_use]
    pub fn new(name: &str, target: Target) -> Log {
        Log { state: Arc::new(Mutex::new(State { target, name: name.to_owned(), syslog: None })) }
    }

    /// Makes this the process's log for all of `tracing`. `filter` is a level or a list of targets with levels.
    pub fn install(&self, filter: &str) {
        let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
        // A second call in one process (tests) leaves the first log in place.
        let _ = tracing_subscriber::registry().with(filter).with(self.clone()).try_init();
    }

    /// Sends lines somewhere else from now on.
    pub fn redirect(&self, target: Target) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.target = target;
        state.syslog = None;
    }

    /// Writes one line.
    pub fn line(&self, text: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).write(text);
    }
}

impl State {
    fn write(&mut self, text: &str) {
        match &self.target {
            Target::Nowhere => {}
            Target::Stderr => to_stderr(text),
            Target::Stdout => {
                // A supervisor that closed its end must not end the daemon.
                let _ = writeln!(std::io::stdout().lock(), "[{}] {text}", time_stamp());
            }
            Target::File(path) => {
                let line = format!("[{}|{}|{}] {text}\n", time_stamp(), self.name, std::process::id());
                if append(path, &line).is_err() {
                    to_stderr(text);
                }
            }
            Target::Syslog(facility) => {
                let packet = syslog_packet(facility, text);
                self.send_to_syslog(packet.as_bytes());
            }
        }
    }

    /// Never blocks: a syslog daemon that is stuck loses lines, it does not stop checks. After its restart it is found again.
    fn send_to_syslog(&mut self, packet: &[u8]) {
        if let Some(socket) = &self.syslog
            && socket.send(packet).is_ok()
        {
            return;
        }
        self.syslog = connect_to_syslog(Path::new("/dev/log"));
        if let Some(socket) = &self.syslog {
            let _ = socket.send(packet);
        }
    }
}

fn connect_to_syslog(path: &Path) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(path).ok()?;
    Some(socket)
}

fn to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Opens the file for each line, as the original does: log rotation then needs no signal.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(line.as_bytes())
}

/// `Mon Nov 23 22:50:55 2026`, local time.
fn time_stamp() -> String {
    chrono::Local::now().format("%a %b %e %H:%M:%S %Y").to_string()
}

/// RFC 3164 as local daemons expect it: priority, time stamp, tag with pid.
fn syslog_packet(facility: &str, text: &str) -> String {
    const INFO: u8 = 6;
    let priority = facility_number(facility).unwrap_or(3) * 8 + INFO;
    let time = chrono::Local::now().format("%b %e %H:%M:%S");
    format!("<{priority}>{time} ldirectord[{}]: {text}", std::process::id())
}

/// The facility of a name (RFC 5424, table 1; the names are those of syslog.conf).
#[must_use]
pub fn facility_number(name: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    ];
    let name = name.to_ascii_lowercase();
    let local = name.strip_prefix("local").and_then(|digit| digit.parse::<u8>().ok()).filter(|n| *n < 8);
    let position = NAMES.iter().position(|known| *known == name).and_then(|n| u8::try_from(n).ok());
    local.map(|n| 16 + n).or(position)
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Message(String::new());
        event.record(&mut text);
        self.line(&text.0);
    }
}

/// Collects the message of an event, other fields behind it.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_may_be_moved_away_at_any_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::new("web.cf", Target::File(path.clone()));
        log.line("one");
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        log.line("two");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with(&format!("|web.cf|{}] two\n", std::process::id())), "{text}");
        assert!(!text.contains("one"));
    }

    #[test]
    fn facilities_have_the_numbers_of_syslog() {
        let check = |name: &str, expected: Option<u8>| assert_eq!(facility_number(name), expected, "{name}");
        check("daemon", Some(3));
        check("LOCAL0", Some(16));
        check("local7", Some(23));
        check("local8", None);
        check("nosuch", None);
    }

    #[test]
    fn syslog_is_found_again_after_its_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(connect_to_syslog(&path).is_none());
        let server = UnixDatagram::bind(&path).unwrap();
        let client = connect_to_syslog(&path).unwrap();
        client.send(syslog_packet("local0", "hello").as_bytes()).unwrap();
        let mut buffer = [0; 200];
        let length = server.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(text.starts_with("<134>") && text.ends_with("]: hello"), "{text}");
    }
}
