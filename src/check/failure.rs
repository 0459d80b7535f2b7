//! Verdicts and reasons for failures common to several protocols.

use std::error::Error;
use std::io;

use super::format;
use crate::net;
use crate::value::Verdict;

/// The verdict for a connection that could not be opened: down, or unknown if a limit of this machine is the cause.
pub(super) fn unreachable(what: &str, error: &io::Error) -> Verdict {
    judge_error(format!("{what}: {}", net::cause(error)), error)
}

/// The verdict for an error, with this reason: down, or unknown if this machine caused the error.
pub(super) fn judge_error(reason: String, error: &(dyn Error + 'static)) -> Verdict {
    match net::local_cause(error) {
        Some(cause) => Verdict::unknown(cause, reason),
        None => Verdict { unreachable: net::unreachable(error), ..Verdict::down(reason) },
    }
}

/// The reason if bytes arrive between the answer to STARTTLS and the handshake (CVE-2011-0411): an attacker on the path
/// may have sent them.
pub(super) fn injected(word: &str, bytes: usize) -> String {
    let bytes = format::count(bytes as u64, "byte");
    format!(
        "{bytes} in plain text between the answer to {word} and the TLS handshake: rejected, an attacker may have inserted them"
    )
}
