//! A mail relay.

use std::fmt;

/// `smtp`: the relay for alerts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relay {
    /// Its name or IPv4 address.
    pub host: String,
    /// Its port. Absent: `[mail] port` of the settings.
    pub port: Option<u16>,
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}
