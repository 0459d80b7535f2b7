//! Whether a server that an operator took out of rotation still has connections, for `drain --wait`.

use chrono::{DateTime, TimeDelta};

use super::snapshot::{Overridden, ServerEntry, VirtualService};
use super::traffic::ConnectionCounts;
use super::view::ShownState;
use crate::health::{MAINTENANCE, What};

/// Two polls may give the begin of one override a second apart: the clocks do not tick together.
const SAME_BEGIN: TimeDelta = TimeDelta::seconds(2);

/// A server of a virtual service on its way to be without connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emptying {
    /// It has no active connection, and gets no new ones.
    Empty(ConnectionCounts),
    /// It has these connections, or the table does not show yet that it gets no new ones.
    Busy(ConnectionCounts),
    /// It is not in the table, so the kernel does not count its connections.
    NotInTable,
    /// The answer has no connections: the table is in memory, or the kernel does not tell.
    NotCounted,
}

/// Waits for one server of one virtual service. Remembers the override that it waits for.
#[derive(Debug)]
pub struct EmptyingServer {
    server: String,
    what: What,
    known: Option<Overridden>,
}

impl EmptyingServer {
    /// Begins to wait after this override was set.
    #[must_use]
    pub fn new(server: String, what: What) -> EmptyingServer {
        EmptyingServer { server, what, known: None }
    }

    /// Evaluates the state of the service.
    ///
    /// # Errors
    /// The override has ended, or the server has left: the reason.
    pub fn look(&mut self, service: &VirtualService) -> Result<Emptying, String> {
        let gone = || "the configuration no longer has the server".to_owned();
        let server = self.server_of(service).ok_or_else(gone)?;
        let Some(found) = &server.overridden else {
            return Err(self.ended());
        };
        // A file in maintenancedir hides the override, and the server still gets no new connections.
        if found.owner != MAINTENANCE {
            if found.what != self.what.as_str()
                || self.known.as_ref().is_some_and(|known| !is_same(known, found))
            {
                return Err(format!("{} of {} replaced it", found.what, found.owner));
            }
            self.known = Some(found.clone());
        }
        let Some(destination) = service.destination_of(server) else {
            return Ok(Emptying::NotInTable);
        };
        let Some(counts) = destination.connections else { return Ok(Emptying::NotCounted) };
        // The fallback may be the same destination.
        let is_out =
            destination.weight == 0 || service.fallback.as_deref() == Some(destination.address.as_str());
        Ok(if is_out && counts.active == 0 { Emptying::Empty(counts) } else { Emptying::Busy(counts) })
    }

    /// The server in the state of the service, if the configuration has it.
    #[must_use]
    pub fn server_of<'a>(&self, service: &'a VirtualService) -> Option<&'a ServerEntry> {
        let is_meant =
            |server: &&ServerEntry| server.address == self.server && server.state != ShownState::Leaving;
        service.servers.iter().find(is_meant)
    }

    fn ended(&self) -> String {
        match self.known.as_ref().is_some_and(|known| known.until.is_some()) {
            true => "it was undone, or its time has passed".to_owned(),
            false => "it was undone".to_owned(),
        }
    }
}

fn is_same(known: &Overridden, found: &Overridden) -> bool {
    let begin = |decision: &Overridden| DateTime::parse_from_rfc3339(&decision.since).ok();
    let distance = begin(known).zip(begin(found)).map(|(known, found)| (found - known).abs());
    known.owner == found.owner
        && known.note == found.note
        && known.until.is_some() == found.until.is_some()
        && distance.is_none_or(|distance| distance <= SAME_BEGIN)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(server: &Value, destination: &Value) -> VirtualService {
        serde_json::from_value(json!({
            "id": "tcp:10.0.0.1:80", "scheduler": "wlc", "servers": [server], "destinations": [destination]
        }))
        .unwrap()
    }

    fn server(decision: &Value) -> Value {
        json!({"address": "10.0.0.2:80", "method": "masq", "weight": 5, "state": "draining", "override": decision,
               "since_seconds": 1.0, "failures": 0, "last_check": null})
    }

    fn decision(what: &str, owner: &str, since: &str) -> Value {
        json!({"what": what, "owner": owner, "note": "", "since": since})
    }

    fn destination(weight: u32, active: u32) -> Value {
        json!({"address": "10.0.0.2:80", "method": "Masq", "weight": weight, "role": "server",
               "active": active, "inactive": 7, "persistent": 2})
    }

    const NOON: &str = "2026-11-30T12:00:00+01:00";

    #[test]
    fn it_is_empty_at_weight_0_without_active_connections() {
        let counts = |active| ConnectionCounts { active, inactive: 7, persistent: 2 };
        let drain = server(&decision("drain", "anna", NOON));
        let mut waiting = EmptyingServer::new("10.0.0.2:80".to_owned(), What::Drain);
        for (weight, active, expected) in [
            // The kernel has not been told yet.
            (5, 0, Emptying::Busy(counts(0))),
            (0, 3, Emptying::Busy(counts(3))),
            (0, 0, Emptying::Empty(counts(0))),
        ] {
            assert_eq!(waiting.look(&service(&drain, &destination(weight, active))), Ok(expected));
        }
        let mut other = destination(0, 0);
        other["address"] = json!("10.0.0.3:80");
        assert_eq!(waiting.look(&service(&drain, &other)), Ok(Emptying::NotInTable));
        let uncounted = json!({"address": "10.0.0.2:80", "method": "Masq", "weight": 0, "role": "server"});
        assert_eq!(waiting.look(&service(&drain, &uncounted)), Ok(Emptying::NotCounted));
    }

    #[test]
    fn the_end_of_the_override_is_named() {
        let begun = || {
            let mut waiting = EmptyingServer::new("10.0.0.2:80".to_owned(), What::Drain);
            waiting.look(&service(&server(&decision("drain", "anna", NOON)), &destination(0, 1))).unwrap();
            waiting
        };
        let after = |server: &Value| begun().look(&service(server, &destination(0, 1)));
        assert_eq!(after(&server(&Value::Null)), Err("it was undone".to_owned()));
        let second = |second| format!("2026-11-30T12:00:0{second}+01:00");
        assert!(after(&server(&decision("drain", "anna", &second(1)))).is_ok());
        assert!(after(&server(&decision("down", "maintenancedir", NOON))).is_ok());
        for (what, owner, since) in
            [("up", "anna", NOON), ("drain", "berta", NOON), ("drain", "anna", &*second(5))]
        {
            let expected = format!("{what} of {owner} replaced it");
            assert_eq!(after(&server(&decision(what, owner, since))), Err(expected));
        }
        let mut leaving = server(&decision("drain", "anna", NOON));
        leaving["state"] = json!("leaving");
        assert_eq!(after(&leaving), Err("the configuration no longer has the server".to_owned()));
    }
}
