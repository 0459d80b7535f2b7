//! How many servers of a virtual service are in rotation, and thresholds for that number.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::snapshot::{DestinationEntry, ServerEntry, VirtualService};
use super::view::ShownState;
use crate::health::What;

/// The method of servers that may have another port than their virtual service.
const MASQUERADING: &str = "masq";

impl VirtualService {
    /// The real servers in rotation, not counting the fallback server.
    #[must_use]
    pub fn in_rotation(&self) -> usize {
        self.servers.iter().filter(|server| self.is_in_rotation(server)).count()
    }

    /// The real servers of the configuration, without those that a reload removed.
    #[must_use]
    pub fn configured(&self) -> usize {
        self.servers.iter().filter(|server| server.state != ShownState::Leaving).count()
    }

    /// Whether a real server gets new connections: its state allows it, and its weight in the table is above 0. The
    /// weight alone does not tell: the fallback may be the same destination. Without a table the state decides.
    #[must_use]
    pub fn is_in_rotation(&self, server: &ServerEntry) -> bool {
        if !server.state.can_be_in_rotation() {
            return false;
        }
        match &self.destinations {
            None => server.state == ShownState::Up,
            Some(_) => self.destinations_of(server).any(|destination| destination.weight > 0),
        }
    }

    /// The destination of a server in the table, if the table was read and has it.
    #[must_use]
    pub fn destination_of(&self, server: &ServerEntry) -> Option<&DestinationEntry> {
        self.destinations_of(server).next()
    }

    fn destinations_of(&self, server: &ServerEntry) -> impl Iterator<Item = &DestinationEntry> {
        let address = self.destination_address(server);
        self.destinations
            .iter()
            .flatten()
            .filter(move |found| found.is_servers() && found.address == *address)
    }

    /// The address and port of a server in the table. Without masquerading or a firewall mark it has the port of the
    /// virtual service.
    pub(super) fn destination_address<'a>(&self, server: &'a ServerEntry) -> Cow<'a, str> {
        if server.method == MASQUERADING || self.id.starts_with("fwm") {
            return Cow::Borrowed(&server.address);
        }
        let host = server.address.rsplit_once(':').map_or(server.address.as_str(), |(host, _)| host);
        let port = self.id.rsplit_once(':').map_or("", |(_, port)| port);
        Cow::Owned(format!("{host}:{port}"))
    }

    /// The servers that should be in rotation and are not: down, or not checked and out of rotation. Not those that
    /// an operator took out, or that are in maintenance.
    pub fn failed(&self) -> impl Iterator<Item = &ServerEntry> {
        self.servers.iter().filter(|server| match server.state {
            ShownState::Down => server.overridden.as_ref().is_none_or(|by| by.what != What::Down.as_str()),
            ShownState::Unknown => !self.is_in_rotation(server),
            ShownState::Up
            | ShownState::Off
            | ShownState::Maintenance
            | ShownState::Draining
            | ShownState::Leaving => false,
        })
    }
}

impl DestinationEntry {
    /// Whether it is that of a real server. An earlier release does not say it.
    pub(super) fn is_servers(&self) -> bool {
        self.role.as_deref().is_none_or(|role| role == "server")
    }
}

/// A number of servers in rotation: `2`, or `50%` of the servers of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// This number.
    Servers(u32),
    /// This percentage, at most 100.
    Percent(u32),
}

impl Threshold {
    /// The number of servers that a service with this many configured servers needs.
    #[must_use]
    pub fn of(self, configured: usize) -> usize {
        match self {
            Threshold::Servers(number) => number as usize,
            // A service without servers is not up.
            Threshold::Percent(percent @ 1..) => (configured * percent as usize).div_ceil(100).max(1),
            Threshold::Percent(0) => 0,
        }
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Threshold, String> {
        let wrong = || "needs a number of servers or a percentage: 2 or 50%".to_owned();
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.parse().ok().filter(|percent| *percent <= 100);
                percent.map(Threshold::Percent).ok_or_else(wrong)
            }
            None => text.parse().map(Threshold::Servers).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Threshold::Servers(number) => write!(f, "{number}"),
            Threshold::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A service with these servers (address, state) and destinations (address, weight, role).
    pub fn service(servers: &[(&str, &str)], destinations: &[(&str, u32, &str)]) -> VirtualService {
        let method = |address: &str| if address.ends_with(":8080") { "masq" } else { "gate" };
        let servers: Vec<_> = servers
            .iter()
            .map(|(address, state)| {
                json!({"address": address, "method": method(address), "weight": 1, "state": state,
                       "since_seconds": null, "failures": 0, "last_check": null})
            })
            .collect();
        let destinations: Vec<_> = destinations
            .iter()
            .map(|(address, weight, role)| {
                json!({"address": address, "method": "Route", "weight": weight, "role": role})
            })
            .collect();
        serde_json::from_value(json!({
            "id": "tcp:10.0.0.1:80", "scheduler": "wlc", "servers": servers, "destinations": destinations
        }))
        .unwrap()
    }

    /// The first is routed to the port of the service, the second has its own port: each has its own destination.
    #[test]
    fn two_servers_of_one_host_are_two_destinations() {
        let servers = [("10.0.0.2:81", "up"), ("10.0.0.2:8080", "draining")];
        let found = service(&servers, &[("10.0.0.2:80", 4, "server"), ("10.0.0.2:8080", 0, "server")]);
        let weight = |index: usize| found.destination_of(&found.servers[index]).map(|found| found.weight);
        assert_eq!((weight(0), weight(1)), (Some(4), Some(0)));
        assert_eq!(found.in_rotation(), 1);
    }

    #[test]
    fn what_the_table_has_with_a_weight_is_in_rotation() {
        let found = service(
            &[
                ("10.0.0.2:80", "up"),
                ("10.0.0.3:81", "unknown"),
                ("10.0.0.4:8080", "up"),
                ("10.0.0.5:80", "down"),
                ("10.0.0.6:80", "draining"),
                ("10.0.0.7:80", "unknown"),
                ("10.0.0.8:80", "leaving"),
            ],
            &[
                ("10.0.0.2:80", 1, "server"),
                // Adopted, not checked yet; direct routing keeps the port of the service.
                ("10.0.0.3:80", 5, "server"),
                // Another port of a server behind masquerading is another server.
                ("10.0.0.4:80", 1, "server"),
                ("10.0.0.5:80", 0, "server"),
                ("10.0.0.5:80", 1, "fallback"),
                ("10.0.0.6:80", 0, "server"),
                ("10.0.0.8:80", 1, "server"),
            ],
        );
        assert_eq!((found.in_rotation(), found.configured()), (3, 6));
        let failed: Vec<&str> = found.failed().map(|server| server.address.as_str()).collect();
        assert_eq!(failed, ["10.0.0.5:80", "10.0.0.7:80"]);
    }

    #[test]
    fn the_fallback_on_the_destination_of_a_server_does_not_count() {
        let both = &[("127.0.0.1:80", 1, "server"), ("10.0.0.2:80", 0, "server")];
        assert_eq!(service(&[("127.0.0.1:80", "down"), ("10.0.0.2:80", "down")], both).in_rotation(), 0);
        assert_eq!(service(&[("127.0.0.1:80", "up"), ("10.0.0.2:80", "down")], both).in_rotation(), 1);
    }

    #[test]
    fn servers_of_a_mark_are_told_apart_by_port() {
        let servers = [("10.0.0.2:80", "up"), ("10.0.0.2:443", "unknown")];
        let mut found = service(&servers, &[("10.0.0.2:80", 1, "server"), ("10.0.0.2:443", 0, "server")]);
        found.id = "fwm:5".to_owned();
        assert_eq!(found.in_rotation(), 1);
    }

    #[test]
    fn a_threshold_is_a_number_or_a_percentage() {
        for (text, of_four, of_three) in
            [("0", 0, 0), ("2", 2, 2), ("50%", 2, 2), ("1%", 1, 1), ("100%", 4, 3)]
        {
            let threshold: Threshold = text.parse().unwrap();
            assert_eq!((threshold.of(4), threshold.of(3)), (of_four, of_three), "{text}");
            assert_eq!(threshold.of(0) == 0, text == "0", "{text}");
            assert_eq!(threshold.to_string(), text);
        }
        for text in ["", "%", "-1", "1.5", "101%", "50 %", "web.cf", "2:"] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }
}
