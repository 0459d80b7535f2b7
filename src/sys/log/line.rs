//! One line of the log in its formats: log file, JSON, syslog, the journal of systemd.

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, Local, SecondsFormat, Utc};
use tracing::Level;
use tracing::field::{Field, Visit};

use super::LogOutput;
use crate::value::shown::escaped_except;

/// The fields of an event, in addition to the message: the name in the program, in JSON (`None`: not in JSON) and in
/// the journal. The names in the journal are documented in the manual and must never change.
const FIELDS: &[(&str, Option<&str>, &str)] = &[
    ("kind", Some("event"), "LDIRECTORD_EVENT"),
    ("service", Some("service"), "LDIRECTORD_SERVICE"),
    ("server", Some("server"), "LDIRECTORD_SERVER"),
    ("state", Some("state"), "LDIRECTORD_STATE"),
    ("because", Some("because"), "LDIRECTORD_BECAUSE"),
    ("reason", Some("reason"), "LDIRECTORD_REASON"),
    ("message_id", None, "MESSAGE_ID"),
];

/// A line and its destination.
#[derive(Debug)]
pub(super) struct LogLine {
    pub at: DateTime<Utc>,
    pub level: Level,
    pub text: String,
    pub fields: Fields,
    pub to: Arc<LogOutput>,
}

/// The fields that an event has, by their index in [`FIELDS`].
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(usize, String)>);

#[cfg(test)]
impl Fields {
    pub(super) fn of(pairs: &[(&str, &str)]) -> Fields {
        let place = |name: &str| FIELDS.iter().position(|(known, ..)| *known == name).unwrap();
        Fields(pairs.iter().map(|(name, value)| (place(name), (*value).to_owned())).collect())
    }
}

/// Collects an event: its message, with unknown fields appended, and the known fields.
#[derive(Default)]
pub(super) struct LogRecord {
    text: String,
    fields: Fields,
}

impl Visit for LogRecord {
    fn record_str(&mut self, field: &Field, value: &str) {
        match FIELDS.iter().position(|(name, ..)| *name == field.name()) {
            Some(place) => self.fields.0.push((place, value.to_owned())),
            None => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.text, " {name}={value:?}"),
        };
    }
}

impl LogRecord {
    /// The message and the fields, escaped: they may contain text of relays, servers and commands, which must not add
    /// lines or control a terminal.
    pub(super) fn finish(self) -> (String, Fields) {
        let shown = |text: &str| escaped_except(text, &['\t']).into_owned();
        let fields = self.fields.0.iter().map(|(place, value)| (*place, shown(value))).collect();
        (shown(&self.text), Fields(fields))
    }
}

impl LogLine {
    /// A line about the log itself, with the time and destination of this one.
    pub(super) fn beside(&self, text: String) -> LogLine {
        LogLine { text, level: Level::WARN, at: self.at, fields: Fields::default(), to: Arc::clone(&self.to) }
    }

    /// Its size in a queue in bytes.
    pub(super) fn length(&self) -> usize {
        self.text.len() + self.fields.0.iter().map(|(_, value)| value.len()).sum::<usize>()
    }

    /// The line in the format of a log file, with a line end.
    pub(super) fn of_file(&self) -> String {
        if self.to.json {
            return format!("{}\n", self.json());
        }
        format!("[{}|{}|{}] {}\n", self.time_stamp(), self.to.name, std::process::id(), self.text)
    }

    pub(super) fn json(&self) -> String {
        let time = self.at.with_timezone(&Local).to_rfc3339_opts(SecondsFormat::Millis, false);
        let level = self.level.as_str().to_ascii_lowercase();
        let mut object = serde_json::json!({
            "time": time, "level": level, "config": self.to.name, "pid": std::process::id(), "message": self.text
        });
        for (place, value) in &self.fields.0 {
            if let Some(name) = FIELDS[*place].1 {
                object[name] = value.as_str().into();
            }
        }
        object.to_string()
    }

    /// The line in the native protocol of the journal: fields, then the message with its length, as it may have several
    /// lines.
    pub(super) fn journal_packet(&self) -> Vec<u8> {
        let name = self.to.name.replace('\n', " ");
        let mut head = format!(
            "PRIORITY={}\nSYSLOG_IDENTIFIER=ldirectord\nLDIRECTORD_CONFIG={name}\n",
            severity(self.level)
        );
        for (place, value) in &self.fields.0 {
            // Line ends are already escaped.
            let _ = writeln!(head, "{}={value}", FIELDS[*place].2);
        }
        head.push_str("MESSAGE\n");
        let length = u64::try_from(self.text.len()).unwrap_or_default();
        [head.as_bytes(), &length.to_le_bytes(), self.text.as_bytes(), b"\n"].concat()
    }

    /// The line as RFC 3164 in the local form: priority, time stamp, tag with pid.
    pub(super) fn syslog_packet(&self, facility: u8) -> String {
        let priority = facility * 8 + severity(self.level);
        let time = self.at.with_timezone(&Local).format("%b %e %H:%M:%S");
        format!("<{priority}>{time} ldirectord[{}]: {}", std::process::id(), self.text)
    }

    /// `Mon Nov 23 22:50:55 2026`, local time.
    pub(super) fn time_stamp(&self) -> String {
        self.at.with_timezone(&Local).format("%a %b %e %H:%M:%S %Y").to_string()
    }
}

/// The syslog severity of a level (RFC 5424, table 2). The original logs everything at 6.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
