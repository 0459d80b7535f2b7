//! An event as a JSON object, for programs that follow events.

use std::time::SystemTime;

use chrono::{DateTime, Local, SecondsFormat};
use serde_json::{Map, Value};

use super::line::{because, kind, line, reason, state};
use crate::event::Event;
use crate::value::shown::escaped;

/// The event with its time. None if the log has no line for it. The fields are those of the log.
#[must_use]
pub fn json(event: &Event, at: SystemTime) -> Option<Value> {
    let message = line(event)?;
    let time = DateTime::<Local>::from(at).to_rfc3339_opts(SecondsFormat::Millis, false);
    let fields = [
        ("time", Some(time)),
        ("event", Some(kind(event).to_owned())),
        ("service", event.service.map(|id| id.qualified())),
        ("server", event.server.map(|server| server.to_string())),
        ("state", state(event).map(str::to_owned)),
        ("because", because(event).map(str::to_owned)),
        ("reason", reason(event).map(|reason| escaped(reason).into_owned())),
        ("message", Some(escaped(&message).into_owned())),
    ];
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    Some(Value::Object(present.collect::<Map<String, Value>>()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::EventKind;
    use crate::value::Verdict;

    #[test]
    fn an_event_has_its_parts() {
        let (of, server) = ("tcp:10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let verdict = Arc::new(Verdict::down("connection refused"));
        let at = SystemTime::UNIX_EPOCH;
        let value = json(&Event::of_server(of, server, EventKind::Down { verdict }), at).unwrap();
        for (field, expected) in [
            ("event", "down"),
            ("service", "tcp:10.0.0.1:80"),
            ("server", "10.0.0.2:80"),
            ("state", "down"),
            ("reason", "connection refused"),
            ("message", "Real server is down: 10.0.0.2:80 (tcp:10.0.0.1:80): connection refused"),
        ] {
            assert_eq!(value[field], expected, "{field}");
        }
        assert_eq!(json(&Event::of_director(EventKind::Reloaded), at), None);
    }
}
