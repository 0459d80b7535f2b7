//! One change of the table. Its text is that of the original.

use std::fmt;
use std::net::SocketAddr;

use super::VirtualId;

/// One change of the kernel's table. Displayed in the words of the original's log and mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `Added virtual server: 10.0.0.1:80`
    VirtualAdded(VirtualId),
    /// `Changed virtual server: 10.0.0.1:80`
    VirtualChanged(VirtualId),
    /// `Purged virtual server (start): 10.0.0.1:80`
    VirtualPurged(VirtualId, Occasion),
    /// A change of a real server or fallback server of a virtual service.
    Server(ServerChange),
}

/// One change of a real server or fallback server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerChange {
    /// The action.
    pub action: ServerAction,
    /// Whether it is a real server or the fallback server.
    pub role: Role,
    /// Address and port in the kernel's table.
    pub server: SocketAddr,
    /// Address and port in the configuration, if they differ from those in the table.
    pub configured: Option<SocketAddr>,
    /// The virtual service of the server.
    pub of: VirtualId,
}

/// The action on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAction {
    /// Added to the table with this weight.
    Added(u32),
    /// Changed in the table to this weight (or another setting).
    Restored(u32),
    /// Kept in the table with weight 0.
    Quiescent,
    /// Removed from the table.
    Deleted,
    /// Removed because it is not in the configuration, or because the daemon stops.
    Purged(Occasion),
}

/// The role of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A real server.
    Real,
    /// The fallback server.
    Fallback,
}

/// Why something is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// It is not in the configuration that is applied, at the start or at a reload.
    Start,
    /// The daemon stops.
    Stop,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::VirtualAdded(id) => write!(f, "Added virtual server: {id}"),
            Change::VirtualChanged(id) => write!(f, "Changed virtual server: {id}"),
            Change::VirtualPurged(id, occasion) => write!(f, "Purged virtual server ({occasion}): {id}"),
            Change::Server(change) => change.fmt(f),
        }
    }
}

impl fmt::Display for ServerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, occasion, weight) = match self.action {
            ServerAction::Added(weight) => ("Added", None, Some(weight)),
            ServerAction::Restored(weight) => ("Restored", None, Some(weight)),
            ServerAction::Quiescent => ("Quiescent", None, Some(0)),
            ServerAction::Deleted => ("Deleted", None, None),
            ServerAction::Purged(occasion) => ("Purged", Some(occasion), None),
        };
        write!(f, "{verb} {} server", self.role)?;
        if let Some(occasion) = occasion {
            write!(f, " ({occasion})")?;
        }
        write!(f, ": {} ", self.server)?;
        if let Some(configured) = self.configured {
            write!(f, "mapped from {configured} ")?;
        }
        write!(f, "({})", self.of)?;
        weight.map_or(Ok(()), |weight| write!(f, " (Weight set to {weight})"))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Real => "real",
            Role::Fallback => "fallback",
        })
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Occasion::Start => "start",
            Occasion::Stop => "stop",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Protocol;

    #[test]
    fn changes_read_like_the_originals_log() {
        let of =
            VirtualId::Address { protocol: Protocol::Tcp, address: "10.0.0.1:80".parse().expect("address") };
        let server = |action, role, configured: Option<&str>| {
            Change::Server(ServerChange {
                action,
                role,
                server: "10.0.0.2:80".parse().expect("address"),
                configured: configured.map(|text| text.parse().expect("address")),
                of,
            })
            .to_string()
        };
        let check = |change: String, expected: &str| assert_eq!(change, expected);
        check(Change::VirtualAdded(of).to_string(), "Added virtual server: 10.0.0.1:80");
        check(
            Change::VirtualPurged(of, Occasion::Stop).to_string(),
            "Purged virtual server (stop): 10.0.0.1:80",
        );
        check(
            server(ServerAction::Added(5), Role::Real, None),
            "Added real server: 10.0.0.2:80 (10.0.0.1:80) (Weight set to 5)",
        );
        check(
            server(ServerAction::Quiescent, Role::Real, Some("10.0.0.2:8080")),
            "Quiescent real server: 10.0.0.2:80 mapped from 10.0.0.2:8080 (10.0.0.1:80) (Weight set to 0)",
        );
        check(
            server(ServerAction::Deleted, Role::Fallback, None),
            "Deleted fallback server: 10.0.0.2:80 (10.0.0.1:80)",
        );
        check(
            server(ServerAction::Purged(Occasion::Start), Role::Real, None),
            "Purged real server (start): 10.0.0.2:80 (10.0.0.1:80)",
        );
    }
}
