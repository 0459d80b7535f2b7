//! The interface to the operating system: pid file and lock, detaching, limits, log sinks, reading and watching files.
//! The only module with `unsafe` code.

pub mod access;
pub mod command;
pub mod cpu;
pub mod detach;
pub mod facts;
pub mod give;
pub mod icmp;
pub mod instance;
pub mod left_behind;
pub mod limits;
pub mod links;
pub mod lock;
pub mod log;
pub mod manager;
pub mod pidfile;
pub mod place;
pub mod privileges;
pub mod process;
pub mod regular;
pub mod socket;
pub mod watch;
pub mod write_queue;
