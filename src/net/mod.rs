//! Connections, names and TLS for the checks. No deadlines here: the caller's deadline is hard and covers everything.

pub mod dial;
pub mod limited;
pub mod lookup;
pub mod resolve;
pub mod stream;
pub mod tls;

use std::error::Error;
use std::io;

use nix::errno::Errno;

use crate::value::{UnknownCause, Unreachable};

/// Describes an operating system error as `strerror` does, without Rust's ` (os error N)`.
#[must_use]
pub fn cause(error: &io::Error) -> String {
    // In TLS 1.3 an error of the handshake may arrive after the handshake is complete for us.
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::reason(tls);
    }
    let text = match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    };
    // The text follows a colon, so the first letter is lower case, except in abbreviations.
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text,
    }
}

/// The cause, if this machine is at fault and not the server: a limit (descriptors, memory, ports), the local
/// firewall, or a missing permission. None if the server or the path to it is at fault. The I/O error may be a
/// source of `error`.
#[must_use]
pub fn local_cause(error: &(dyn Error + 'static)) -> Option<UnknownCause> {
    use UnknownCause::{Forbidden, OwnLimit};
    Some(match errno(error)? {
        Errno::EMFILE => OwnLimit("too many open files in the daemon"),
        Errno::ENFILE => OwnLimit("too many open files on the director"),
        Errno::ENOBUFS => OwnLimit("no buffer space"),
        Errno::ENOMEM => OwnLimit("no memory"),
        Errno::EADDRNOTAVAIL => OwnLimit("no free local port"),
        Errno::EAGAIN => OwnLimit("resource temporarily unavailable"),
        Errno::EPERM => Forbidden("operation not permitted; the local firewall may forbid it"),
        Errno::EACCES => Forbidden("permission denied on the director"),
        Errno::EAFNOSUPPORT => Forbidden("address family not supported by the director"),
        _ => return None,
    })
}

/// What an error says about the path to the server.
#[must_use]
pub fn unreachable(error: &(dyn Error + 'static)) -> Option<Unreachable> {
    match errno(error)? {
        Errno::ENETUNREACH | Errno::ENETDOWN => Some(Unreachable::NoRoute),
        Errno::EHOSTUNREACH => Some(Unreachable::Host),
        _ => None,
    }
}

/// Whether an error says that this machine has no route or no link to the server.
#[must_use]
pub fn no_route(error: &(dyn Error + 'static)) -> bool {
    unreachable(error) == Some(Unreachable::NoRoute)
}

/// The number of the system error in the chain of sources.
fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        next = match error.downcast_ref::<io::Error>() {
            Some(io) => match io.raw_os_error() {
                Some(number) => return Some(Errno::from_raw(number)),
                None => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            },
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a4_an_error_is_ours_or_the_servers() {
        let plain = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        for errno in [
            Errno::EMFILE,
            Errno::ENFILE,
            Errno::ENOBUFS,
            Errno::ENOMEM,
            Errno::EADDRNOTAVAIL,
            Errno::EAGAIN,
            Errno::EPERM,
            Errno::EACCES,
            Errno::EAFNOSUPPORT,
        ] {
            assert!(local_cause(&plain(errno)).is_some(), "{errno}");
            // Also if a library has wrapped it.
            assert!(local_cause(&io::Error::other(plain(errno))).is_some(), "{errno}");
            assert!(!no_route(&plain(errno)));
        }
        for errno in [Errno::EHOSTUNREACH, Errno::ECONNREFUSED, Errno::ECONNRESET, Errno::ETIMEDOUT] {
            assert_eq!((local_cause(&plain(errno)), no_route(&plain(errno))), (None, false), "{errno}");
        }
        for errno in [Errno::ENETUNREACH, Errno::ENETDOWN] {
            assert_eq!(local_cause(&plain(errno)), None, "{errno}");
            assert!(no_route(&plain(errno)), "{errno}");
        }
        assert_eq!(local_cause(&io::Error::other("words")), None);
    }
}
