//! Addresses, ids, forwarding methods, patterns, TLS policies and verdicts: parsed once, valid ever after.

mod change;
mod dns_type;
mod facility;
pub mod host;
mod id;
pub mod layout;
mod mailbox;
pub mod mask;
mod method;
mod next_hop;
mod phase;
mod relay;
mod secret;
pub mod shown;
mod status;
mod tls;
mod verdict;

pub use change::{Change, Occasion, Role, ServerAction, ServerChange};
pub use dns_type::DnsType;
pub use facility::{SYSLOG_DAEMON, syslog_facility};
pub use id::{Family, Protocol, VirtualId};
pub use mailbox::{Mailbox, MailboxError};
pub use method::ForwardingMethod;
pub use next_hop::NextHop;
pub use perl_pattern::{Pattern, PatternError, PatternLimit};
pub use phase::{Phase, PhaseTimes};
pub use relay::Relay;
pub use secret::Secret;
pub use status::DaemonStatus;
pub use tls::{ClientIdentity, PemFile, Roots, Tls, TlsPolicy};
pub use verdict::{MAX_MONITOR, MAX_REASON, Outcome, UnknownCause, Unreachable, Verdict};
