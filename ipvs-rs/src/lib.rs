//! IPVS, the load balancer of the Linux kernel, over generic netlink.
//!
//! A [`Table`] contains virtual services and their destinations. [`diff()`] returns the [`Operation`]s that change
//! one table into another. An [`Ipvs`] applies them: [`Kernel`], or [`Memory`], a table in memory that answers like
//! the kernel.
//!
//! The names are those of the kernel. [`Kernel`] needs the capability `CAP_NET_ADMIN`. Each network namespace has
//! its own IPVS table.
//!
//! ```
//! use ipvs_rs::{diff, DestinationConfig, DestinationKey, Family, ForwardingMethod, Ipvs, Memory};
//! use ipvs_rs::{Service, ServiceConfig, ServiceKey, Table};
//!
//! let mut wanted = Table::default();
//! let mut service = Service::new(ServiceConfig::new("wlc"));
//! let server = DestinationKey { address: "10.0.0.2".parse()?, port: 80 };
//! service.destinations.insert(server, DestinationConfig::new(ForwardingMethod::DirectRoute, 1));
//! wanted.services.insert(ServiceKey::Mark { mark: 5, family: Family::V4 }, service);
//!
//! let mut ipvs = Memory::new();
//! for result in ipvs.apply(&diff(&Table::default(), &wanted)) {
//!     result?;
//! }
//! assert_eq!(ipvs.dump()?, wanted);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod diff;
mod error;
mod ipvs;
mod kernel;
mod memory;
mod snapshot;
mod table;
mod wire;

pub use diff::{diff, diff_service};
pub use error::Error;
pub use ipvs::{Ipvs, Timeouts, Version};
pub use kernel::Kernel;
pub use memory::Memory;
pub use snapshot::{Connections, DestinationSnapshot, Rates, ServiceSnapshot, Snapshot, Statistics};
pub use table::{
    Checksum, DestinationConfig, DestinationKey, Family, ForwardingMethod, Netmask, Operation,
    ParseFlagsError, Persistence, Protocol, Service, ServiceConfig, ServiceFlags, ServiceKey, Table, Tunnel,
};
#[doc(hidden)]
pub use wire::decode_everything;
