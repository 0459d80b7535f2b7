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
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
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
    /// Syslog by /dev/log with the facility of this number (RFC 5424, table 1).
    Syslog(u8),
}

/// The log of this process. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    target: Target,
    json: bool,
    name: String,
    syslog: Option<UnixDatagram>,
    journald: bool,
    journal: Option<UnixDatagram>,
}

impl Log {
    /// A log for the configuration of this name (it stands in each line of a log file).
    #[must_use]
    pub fn new(name: &str, target: Target) -> Log {
        Log {
            state: Arc::new(Mutex::new(State {
                target,
                json: false,
                name: name.to_owned(),
                syslog: None,
                journald: false,
                journal: None,
            })),
        }
    }

    /// Whether lines are JSON objects instead of the original's text. Syslog keeps its text.
    pub fn set_json(&self, json: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).json = json;
    }

    /// Whether lines go to the journal of systemd too, with the name of the configuration as the field `LDIRECTORD_CONFIG`.
    pub fn set_journald(&self, journald: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).journald = journald;
    }

    /// Looks whether lines can be written; a log file is made by that, as the first line would.
    ///
    /// # Errors
    /// When the log file cannot be opened; names it.
    pub fn probe(&self) -> Result<(), String> {
        match &self.state.lock().unwrap_or_else(PoisonError::into_inner).target {
            Target::File(path) => append(path, "").map_err(|error| format!("{}: {error}", path.display())),
            _ => Ok(()),
        }
    }

    /// Makes this the process's log for all of `tracing`; lines less important than `level` are dropped.
    pub fn install(&self, level: Level) {
        // What a library thinks of a server's reply is in the verdict already.
        let filter = Targets::new().with_default(level).with_target("ldap3_proto", LevelFilter::OFF);
        // A second call in one process (tests) leaves the first log in place.
        let _ = tracing_subscriber::registry().with(filter).with(self.clone()).try_init();
    }

    /// Sends lines somewhere else from now on.
    pub fn redirect(&self, target: Target) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.target = target;
        state.syslog = None;
    }

    /// Writes one line of no special weight.
    pub fn line(&self, text: &str) {
        self.write(Level::INFO, text);
    }

    fn write(&self, level: Level, text: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).write(level, text);
    }
}

impl State {
    fn write(&mut self, level: Level, text: &str) {
        if self.journald {
            let packet = journal_packet(level, &self.name, text);
            send(&mut self.journal, Path::new(JOURNAL), &packet);
        }
        let json = self.json.then(|| json_line(level, &self.name, text));
        match &self.target {
            Target::Nowhere => {}
            Target::Stderr => to_stderr(json.as_deref().unwrap_or(text)),
            Target::Stdout => {
                // A supervisor that closed its end must not end the daemon.
                let line = json.unwrap_or_else(|| format!("[{}] {text}", time_stamp()));
                let _ = writeln!(std::io::stdout().lock(), "{line}");
            }
            Target::File(path) => {
                let line = json.unwrap_or_else(|| {
                    format!("[{}|{}|{}] {text}", time_stamp(), self.name, std::process::id())
                });
                if append(path, &format!("{line}\n")).is_err() {
                    to_stderr(text);
                }
            }
            Target::Syslog(facility) => {
                let packet = syslog_packet(*facility, level, text);
                send(&mut self.syslog, Path::new(SYSLOG), packet.as_bytes());
            }
        }
    }
}

const SYSLOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Never blocks: a log daemon that is stuck loses lines, it does not stop checks. After its restart it is found again.
fn send(socket: &mut Option<UnixDatagram>, path: &Path, packet: &[u8]) {
    if let Some(socket) = socket
        && socket.send(packet).is_ok()
    {
        return;
    }
    *socket = connect_to_syslog(path);
    if let Some(socket) = socket {
        let _ = socket.send(packet);
    }
}

/// The native protocol of the journal: fields, the message with its length, as it may have several lines.
fn journal_packet(level: Level, name: &str, text: &str) -> Vec<u8> {
    let name = name.replace('\n', " ");
    let head = format!(
        "PRIORITY={}\nSYSLOG_IDENTIFIER=ldirectord\nLDIRECTORD_CONFIG={name}\nMESSAGE\n",
        severity(level)
    );
    let length = u64::try_from(text.len()).unwrap_or_default();
    [head.as_bytes(), &length.to_le_bytes(), text.as_bytes(), b"\n"].concat()
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
fn syslog_packet(facility: u8, level: Level, text: &str) -> String {
    let priority = facility * 8 + severity(level);
    let time = chrono::Local::now().format("%b %e %H:%M:%S");
    format!("<{priority}>{time} ldirectord[{}]: {text}", std::process::id())
}

/// The severity that syslog has for a level (RFC 5424, table 2). The original says everything at 6.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn json_line(level: Level, name: &str, text: &str) -> String {
    let time = chrono::Local::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, false);
    let level = level.as_str().to_ascii_lowercase();
    serde_json::json!({ "time": time, "level": level, "config": name, "pid": std::process::id(), "message": text })
        .to_string()
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Message(String::new());
        event.record(&mut text);
        self.write(*event.metadata().level(), &text.0);
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
    fn json_has_the_facts_of_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::new("web.cf", Target::File(path.clone()));
        log.set_json(true);
        log.write(Level::WARN, "one \"two\"\nthree");
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!((value["level"].as_str(), value["config"].as_str()), (Some("warn"), Some("web.cf")));
        assert_eq!(value["message"], "one \"two\"\nthree");
        assert_eq!(value["pid"], std::process::id());
        assert!(chrono::DateTime::parse_from_rfc3339(value["time"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn the_journal_gets_fields_and_a_counted_message() {
        let expected = b"PRIORITY=4\nSYSLOG_IDENTIFIER=ldirectord\nLDIRECTORD_CONFIG=web.cf\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert_eq!(journal_packet(Level::WARN, "web.cf", "a\nb"), expected);
    }

    #[test]
    fn syslog_gets_the_severity_of_the_level() {
        // L04
        for (level, start) in [(Level::ERROR, "<27>"), (Level::WARN, "<28>"), (Level::INFO, "<30>")] {
            assert!(syslog_packet(3, level, "x").starts_with(start), "{level}");
        }
    }

    #[test]
    fn syslog_is_found_again_after_its_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(connect_to_syslog(&path).is_none());
        let server = UnixDatagram::bind(&path).unwrap();
        let client = connect_to_syslog(&path).unwrap();
        client.send(syslog_packet(16, Level::INFO, "hello").as_bytes()).unwrap();
        let mut buffer = [0; 200];
        let length = server.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(text.starts_with("<134>") && text.ends_with("]: hello"), "{text}");
    }
}
