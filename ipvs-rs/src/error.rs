//! Errors, with messages for people.

use nix::errno::Errno;

/// Why a request failed.
///
/// The message is for people; [`Error::errno`] gives the number of the kernel's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `EEXIST`: the service to add exists.
    #[error("the service already exists")]
    ServiceExists,
    /// `EEXIST`: the destination to add exists.
    #[error("the destination already exists")]
    DestinationExists,
    /// `ESRCH`: the service to change does not exist.
    #[error("no such service")]
    NoSuchService,
    /// `ENOENT`: the destination to change does not exist.
    #[error("no such destination")]
    NoSuchDestination,
    /// `ENOENT`: the kernel has no scheduler or no persistence engine of this name, and no module for it.
    #[error("the kernel has no scheduler `{scheduler}`{}", or_engine(.engine))]
    NoSuchScheduler {
        /// The requested scheduler.
        scheduler: String,
        /// The requested persistence engine. The kernel does not report which of the two is missing.
        engine: Option<String>,
    },
    /// `ERANGE`: a weight or a threshold.
    #[error("out of range: a weight is at most 2147483647, a lower threshold at most the upper one")]
    OutOfRange,
    /// `EINVAL`, or a value that was not sent because the kernel would misread it.
    #[error("invalid: {reason}")]
    Invalid {
        /// What is wrong, as far as the kernel reports it.
        reason: String,
    },
    /// `EAFNOSUPPORT`: the kernel has no IPv6, or IPv6 is disabled.
    #[error("the kernel does not support this address family: is IPv6 disabled?")]
    NoSuchFamily,
    /// `EBUSY`: the object is in use.
    #[error("busy")]
    Busy,
    /// `EPERM` or `EACCES`: the process has no privileges, or no longer.
    #[error("not permitted: the capability CAP_NET_ADMIN is needed in the network namespace")]
    NotPermitted,
    /// The kernel has no IPVS, and no module could be loaded.
    #[error("the kernel has no IPVS: {reason}")]
    NoModule {
        /// What was tried, and what to do.
        reason: String,
    },
    /// `ENOBUFS`: answers were lost. The changes may have been made: read the table again.
    #[error("the kernel's answers were lost: the changes may or may not have been made")]
    AnswersLost,
    /// The kernel did not answer in time. The change may have been made: read the table again.
    #[error("the kernel did not answer in time")]
    NoAnswer,
    /// The table changed during each attempt to read it.
    #[error("the table kept changing while it was read")]
    Interrupted,
    /// An answer that cannot be decoded.
    #[error("the kernel's answer is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// Another error of the system.
    #[error("{}{}", std::io::Error::from_raw_os_error(*.errno), in_words(.message))]
    Os {
        /// Number of the error, positive.
        errno: i32,
        /// Text from the kernel (its extended acknowledgement).
        message: Option<String>,
    },
}

fn or_engine(engine: &Option<String>) -> String {
    engine.as_ref().map(|engine| format!(" or no persistence engine `{engine}`")).unwrap_or_default()
}

fn in_words(message: &Option<String>) -> String {
    message.as_ref().map(|message| format!(": {message}")).unwrap_or_default()
}

impl Error {
    /// The number of the kernel's error (`EEXIST` and so on), if there is one.
    pub fn errno(&self) -> Option<i32> {
        let errno = match self {
            Self::ServiceExists | Self::DestinationExists => Errno::EEXIST,
            Self::NoSuchService => Errno::ESRCH,
            Self::NoSuchDestination | Self::NoSuchScheduler { .. } => Errno::ENOENT,
            Self::OutOfRange => Errno::ERANGE,
            Self::Invalid { .. } => Errno::EINVAL,
            Self::NoSuchFamily => Errno::EAFNOSUPPORT,
            Self::Busy => Errno::EBUSY,
            Self::NotPermitted => Errno::EPERM,
            Self::AnswersLost => Errno::ENOBUFS,
            Self::Os { errno, .. } => return Some(*errno),
            Self::NoModule { .. } | Self::NoAnswer | Self::Interrupted | Self::Malformed { .. } => {
                return None;
            }
        };
        Some(errno as i32)
    }

    /// Whether it is unknown if the change was made, so that the table must be read again.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::AnswersLost | Self::NoAnswer | Self::Malformed { .. })
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed { reason: reason.into() }
    }

    /// The error for the kernel's number, without an operation that would make it more precise.
    pub(crate) fn from_errno(errno: i32, message: Option<String>) -> Self {
        match Errno::from_raw(errno) {
            Errno::ESRCH => Self::NoSuchService,
            Errno::ERANGE => Self::OutOfRange,
            Errno::EINVAL => Self::invalid(message.unwrap_or_else(|| "the kernel refuses the values".into())),
            Errno::EAFNOSUPPORT => Self::NoSuchFamily,
            Errno::EBUSY => Self::Busy,
            Errno::EPERM | Errno::EACCES => Self::NotPermitted,
            Errno::ENOBUFS => Self::AnswersLost,
            Errno::ENOPROTOOPT => Self::NoModule { reason: "the module is being unloaded".into() },
            // A receive time-out is reported as either of these.
            Errno::EAGAIN | Errno::ETIMEDOUT => Self::NoAnswer,
            _ => Self::Os { errno, message },
        }
    }
}

/// The kernel does not report which of its reasons applies. These are all of them. The last comes from
/// `inet_addr_type`, which treats every address as a broadcast address as long as there are no local routes.
pub(crate) const REFUSED_DESTINATION: &str = "the address of a destination must be a unicast address, of the family \
of its service unless it is tunnelled; a GUE tunnel needs a port; an upper threshold is at most 2147483647; and \
for IPv4 an interface, such as lo, must be up";

/// See [`REFUSED_DESTINATION`].
pub(crate) const REFUSED_SERVICE: &str = "the prefix length of an IPv6 service is 1 to 128";
