//! Delivery by the local sendmail. It gets the message on standard input; its time and its output are limited.

use std::fs::File;
use std::io::{Seek, Write};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::encoded::Encoded;
use crate::notify::queue::DeliveryFailure;
use crate::settings;
use crate::sys::command;

/// Runs sendmail with a message. The caller limits the time: dropping the future ends the program.
pub(super) async fn send(
    settings: &settings::MailSettings,
    message: &Encoded,
) -> Result<(), DeliveryFailure> {
    let program = settings.sendmail.display().to_string();
    let mut words = vec![program.clone(), "-i".to_owned()];
    words.extend(message.envelope().from().into_iter().flat_map(|from| ["-f".to_owned(), from.to_string()]));
    words.push("--".to_owned());
    words.extend(message.envelope().to().iter().map(ToString::to_string));
    let closed = |error: std::io::Error| DeliveryFailure::Closed(format!("{program}: {error}"));
    let input = in_memory(message.bytes()).map_err(closed)?;
    let running = command::start_with_input(&words, &input).await.map_err(closed)?;
    let ended = running.end(|_| {}).await.map_err(closed)?;
    if ended.status.success() {
        return Ok(());
    }
    let printed = ended.first_line().map(|line| format!(": {}", line.escape_ascii())).unwrap_or_default();
    Err(DeliveryFailure::NotNow(format!("{program}: {}{printed}", ended.status)))
}

/// A file in memory, so that neither a full disk nor a pipe delays the message.
fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("message", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
