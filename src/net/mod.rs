//! Connections, names and TLS for the checks; no deadline of its own: the caller's is hard and covers all of it.

pub mod dial;
pub mod resolve;
pub mod stream;
pub mod tls;

use std::io;

use nix::errno::Errno;

use crate::value::UnknownCause;

/// Says an operating system error in the words of `strerror`, without Rust's ` (os error N)`.
#[must_use]
pub fn cause(error: &io::Error) -> String {
    // TLS 1.3 may tell of the handshake only when it is over for us.
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::reason(tls);
    }
    let text = match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    };
    // Sentences go on after a colon, so the first letter is small, except in abbreviations.
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text,
    }
}

/// The limit of this machine that an error comes from (descriptors, memory, ports): then it says nothing of the server.
#[must_use]
pub fn local_cause(error: &io::Error) -> Option<UnknownCause> {
    let what = match Errno::from_raw(error.raw_os_error()?) {
        Errno::EMFILE => "too many open files in the daemon",
        Errno::ENFILE => "too many open files on the director",
        Errno::ENOBUFS => "no buffer space",
        Errno::ENOMEM => "no memory",
        Errno::EADDRNOTAVAIL => "no free local port",
        Errno::EAGAIN => "resource temporarily unavailable",
        _ => return None,
    };
    Some(UnknownCause::OwnLimit(what))
}
