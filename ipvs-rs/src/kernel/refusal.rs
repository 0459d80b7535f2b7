//! The error for an operation that the kernel refuses: the same number means different things for different
//! operations.

use nix::errno::Errno;

use crate::error::{Error, REFUSED_DESTINATION, REFUSED_SERVICE};
use crate::table::Operation;
use crate::wire::message::Refusal;

/// The error for the kernel's number in the answer to an operation.
pub(super) fn explain(refusal: Refusal, operation: &Operation) -> Error {
    let Refusal { errno, message } = refusal;
    match (Errno::from_raw(errno), operation) {
        (Errno::EEXIST, Operation::AddService { .. }) => Error::ServiceExists,
        (Errno::EEXIST, Operation::AddDestination { .. }) => Error::DestinationExists,
        (Errno::ENOENT, Operation::AddService { config, .. } | Operation::EditService { config, .. }) => {
            let engine = config.persistence.as_ref().and_then(|persistence| persistence.engine.clone());
            Error::NoSuchScheduler { scheduler: config.scheduler.clone(), engine }
        }
        (Errno::ENOENT, Operation::EditDestination { .. } | Operation::RemoveDestination { .. }) => {
            Error::NoSuchDestination
        }
        (Errno::EINVAL, Operation::AddDestination { .. } | Operation::EditDestination { .. }) => {
            Error::invalid(message.unwrap_or_else(|| REFUSED_DESTINATION.into()))
        }
        (Errno::EINVAL, Operation::AddService { .. } | Operation::EditService { .. }) => {
            Error::invalid(message.unwrap_or_else(|| REFUSED_SERVICE.into()))
        }
        _ => Error::from_errno(errno, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DestinationKey, Family, Persistence, ServiceConfig, ServiceKey};

    const SERVICE: ServiceKey = ServiceKey::Mark { mark: 1, family: Family::V4 };

    fn error(errno: Errno, operation: &Operation) -> Error {
        explain(Refusal { errno: errno as i32, message: None }, operation)
    }

    #[test]
    fn the_same_number_is_told_apart_by_the_operation() {
        let add = Operation::AddService { key: SERVICE, config: ServiceConfig::new("rx") };
        let key = DestinationKey { address: "10.0.0.1".parse().unwrap(), port: 80 };
        let remove = Operation::RemoveDestination { service: SERVICE, key };
        let check = |errno: Errno, operation: &Operation, words: &str| {
            let error = error(errno, operation);
            assert_eq!(error.to_string(), words);
            assert_eq!(error.errno(), Some(errno as i32));
        };
        check(Errno::ENOENT, &add, "the kernel has no scheduler `rx`");
        check(Errno::ENOENT, &remove, "no such destination");
        check(Errno::EEXIST, &add, "the service already exists");
        check(Errno::ESRCH, &remove, "no such service");
        check(Errno::ENOMEM, &remove, "Cannot allocate memory (os error 12)");
    }

    #[test]
    fn the_engine_is_named_too() {
        let persistence = Persistence { engine: Some("sip".into()), ..Persistence::new(1, Family::V4) };
        let config = ServiceConfig { persistence: Some(persistence), ..ServiceConfig::new("rr") };
        let error = error(Errno::ENOENT, &Operation::EditService { key: SERVICE, config });
        assert_eq!(error.to_string(), "the kernel has no scheduler `rr` or no persistence engine `sip`");
    }
}
