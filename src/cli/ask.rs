//! Asks the running daemon. While a restart ends one daemon and starts the next, no daemon listens: a command waits for
//! the next daemon instead of reporting that none runs.

#![expect(clippy::disallowed_methods, reason = "waiting for another process needs the clock")]

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use super::context::Context;
use super::running::{self, as_it_runs};
use crate::control::{self, ClientError, ControlRequest, ErrorCode};
use crate::daemon;
use crate::sys::pidfile::DaemonState;
use crate::sys::socket;

/// How long a command waits for the next daemon.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits without a sign of a restart: the next daemon takes the lock some milliseconds after the previous
/// daemon released it.
const GAP: Duration = Duration::from_millis(100);
/// How often it tries.
const POLL: Duration = Duration::from_millis(20);

/// Sends a request to the daemon of a context, and returns the answer as JSON.
///
/// # Errors
/// As [`control::ask`]. A daemon that is stopping counts as no daemon.
pub(super) fn ask(context: &Context, request: &ControlRequest) -> Result<String, ClientError> {
    patiently(context, |context| {
        control::ask(&socket::place(&context.state_directory(), &context.name), request)
    })
}

/// Tries until a daemon answers, or none can be expected.
pub(super) fn patiently<T>(
    context: &Context,
    mut attempt: impl FnMut(&Context) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut error = match attempt(context) {
        Err(error) if is_gone(&error) => error,
        result => return result,
    };
    let begin = Instant::now();
    let mut expected_until = begin + GAP;
    loop {
        // The next daemon may have another name.
        let context = as_it_runs(context.clone());
        let now = Instant::now();
        if is_expected(&context) {
            expected_until = now + GAP;
        }
        if now >= expected_until.min(begin + PATIENCE) {
            return Err(match error {
                ClientError::Refused(_) => ClientError::Io(ErrorKind::ConnectionRefused.into()),
                error => error,
            });
        }
        thread::sleep(POLL);
        error = match attempt(&context) {
            Err(error) if is_gone(&error) => error,
            result => return result,
        };
    }
}

/// Whether no daemon listens at the socket, or the daemon that did is ending.
fn is_gone(error: &ClientError) -> bool {
    match error {
        ClientError::Io(error) => matches!(
            error.kind(),
            ErrorKind::NotFound
                | ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::UnexpectedEof
        ),
        ClientError::Refused(failure) => failure.code == ErrorCode::Stopping,
        ClientError::Cut => true,
        ClientError::Older | ClientError::Malformed(_) => false,
    }
}

/// Whether a daemon is starting or ending, or has left a note for the next daemon.
fn is_expected(context: &Context) -> bool {
    daemon::is_handing_over(&context.state_directory(), &context.name)
        || matches!(running::state(context), Ok(DaemonState::Starting | DaemonState::Running(_)))
}
