//! Every check against the real servers of Debian: right and wrong answers, refused, frozen, started again. Run by `make peers`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail by panic, and waits by the clock"
)]

mod asking;
mod databases;
mod directory;
mod files;
mod life;
mod mail;
mod names;
mod server;
mod talk;
mod web;
