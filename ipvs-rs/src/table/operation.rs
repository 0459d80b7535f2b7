//! One change of a table.

use std::fmt;

use super::destination::{DestinationConfig, DestinationKey};
use super::service::{Family, Netmask, ServiceConfig, ServiceKey};
use crate::error::Error;

/// One change of a table. Displayed as `add destination 10.0.0.2:80 weight 5 (route) to tcp 10.0.0.1:80`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Add a service, without destinations.
    AddService {
        /// The new service.
        key: ServiceKey,
        /// Its configuration.
        config: ServiceConfig,
    },
    /// Change the configuration of a service. Connections and destinations stay.
    EditService {
        /// The service.
        key: ServiceKey,
        /// Its new configuration.
        config: ServiceConfig,
    },
    /// Remove a service with its destinations.
    RemoveService {
        /// The service.
        key: ServiceKey,
    },
    /// Add a destination to a service.
    AddDestination {
        /// The service.
        service: ServiceKey,
        /// The new destination.
        key: DestinationKey,
        /// Its configuration.
        config: DestinationConfig,
    },
    /// Change the configuration of a destination. Connections stay.
    EditDestination {
        /// The service.
        service: ServiceKey,
        /// The destination.
        key: DestinationKey,
        /// Its new configuration.
        config: DestinationConfig,
    },
    /// Remove a destination from a service. Its connections end, unless it is added again soon.
    RemoveDestination {
        /// The service.
        service: ServiceKey,
        /// The destination.
        key: DestinationKey,
    },
}

impl Operation {
    /// The service that is changed, or whose destination is changed.
    pub fn service(&self) -> ServiceKey {
        match *self {
            Self::AddService { key, .. } | Self::EditService { key, .. } | Self::RemoveService { key } => key,
            Self::AddDestination { service, .. }
            | Self::EditDestination { service, .. }
            | Self::RemoveDestination { service, .. } => service,
        }
    }

    /// Refuses values that must not be sent because the kernel would truncate, misread or not decode them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the mark 0, a name that is too long, is empty or holds a NUL, and a netmask
    /// of another family than the service. The kernel checks everything else.
    pub fn check(&self) -> Result<(), Error> {
        check_key(self.service())?;
        match self {
            Self::AddService { key, config } | Self::EditService { key, config } => {
                check_config(key.family(), config)
            }
            _ => Ok(()),
        }
    }
}

/// The kernel reads the mark 0 as "by address" and would add a service for TCP 0.0.0.0:0.
pub(crate) fn check_key(key: ServiceKey) -> Result<(), Error> {
    match key {
        ServiceKey::Mark { mark: 0, .. } => Err(Error::invalid("a firewall mark must be 1 or more")),
        _ => Ok(()),
    }
}

fn check_config(family: Family, config: &ServiceConfig) -> Result<(), Error> {
    check_name("scheduler", &config.scheduler)?;
    let Some(persistence) = &config.persistence else { return Ok(()) };
    if let Some(engine) = &persistence.engine {
        check_name("persistence engine", engine)?;
    }
    match (family, persistence.netmask) {
        (Family::V4, Netmask::V4(_)) | (Family::V6, Netmask::V6(_)) => Ok(()),
        (Family::V4, Netmask::V6(_)) => Err(Error::invalid("an IPv4 service needs an IPv4 netmask")),
        (Family::V6, Netmask::V4(_)) => Err(Error::invalid("an IPv6 service needs a prefix length")),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > ServiceConfig::MAX_NAME || name.contains('\0') {
        let max = ServiceConfig::MAX_NAME;
        return Err(Error::invalid(format!("the name of the {what} must have 1 to {max} bytes: {name:?}")));
    }
    Ok(())
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService { key, config } => write!(f, "add service {key} {config}"),
            Self::EditService { key, config } => write!(f, "edit service {key} {config}"),
            Self::RemoveService { key } => write!(f, "remove service {key}"),
            Self::AddDestination { service, key, config } => {
                write!(f, "add destination {key} {config} to {service}")
            }
            Self::EditDestination { service, key, config } => {
                write!(f, "edit destination {key} {config} of {service}")
            }
            Self::RemoveDestination { service, key } => {
                write!(f, "remove destination {key} from {service}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ForwardingMethod, Persistence, Protocol};

    fn tcp() -> ServiceKey {
        ServiceKey::Address { protocol: Protocol::Tcp, address: "10.0.0.1".parse().unwrap(), port: 80 }
    }

    #[test]
    fn operations_are_displayed_in_words() {
        let operation = Operation::AddDestination {
            service: tcp(),
            key: DestinationKey { address: "10.0.0.2".parse().unwrap(), port: 80 },
            config: DestinationConfig::new(ForwardingMethod::DirectRoute, 5),
        };
        assert_eq!(operation.to_string(), "add destination 10.0.0.2:80 weight 5 (route) to tcp 10.0.0.1:80");
        let operation = Operation::EditService { key: tcp(), config: ServiceConfig::new("wlc") };
        assert_eq!(operation.to_string(), "edit service tcp 10.0.0.1:80 wlc");
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let check = |key: ServiceKey, config: ServiceConfig, good: bool| {
            assert_eq!(
                Operation::AddService { key, config: config.clone() }.check().is_ok(),
                good,
                "{config:?}"
            );
        };
        let persistent = |netmask, engine: Option<&str>| ServiceConfig {
            persistence: Some(Persistence { timeout: 1, netmask, engine: engine.map(str::to_owned) }),
            ..ServiceConfig::new("rr")
        };
        check(tcp(), ServiceConfig::new("a-15-bytes-name"), true);
        check(tcp(), ServiceConfig::new("a-16-bytes-name!"), false);
        check(tcp(), ServiceConfig::new("r\0r"), false);
        check(tcp(), ServiceConfig::new(""), false);
        check(tcp(), persistent(Netmask::host(Family::V4), Some("sip")), true);
        check(tcp(), persistent(Netmask::host(Family::V4), Some("")), false);
        check(tcp(), persistent(Netmask::host(Family::V6), None), false);
        check(ServiceKey::Mark { mark: 0, family: Family::V4 }, ServiceConfig::new("rr"), false);
    }
}
