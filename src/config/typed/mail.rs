//! Values for alerts by mail: recipients, sender, relay, and when to send.

use super::address::prefix;
use super::{Reader, ValueError, value};
use crate::config::AlertStatus;
use crate::config::ast::Assignment;
use crate::config::source::is_blank;
use crate::value::{Mailbox, Relay};

/// Mail addresses. One pair of quotes around all of them is removed.
pub(super) fn recipients(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<String, ValueError> {
    let text = line.value.text();
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner.filter(|inner| !inner.contains('"')).unwrap_or(text) {
        "" => Err(ValueError::new(line.directive.refusal(line.inside))),
        addresses => {
            warn_of_recipients(line, addresses, reader);
            Ok(addresses.to_owned())
        }
    }
}

/// Warns about each recipient that is not an address. The others get their mail.
fn warn_of_recipients(line: &Assignment<'_>, list: &str, reader: &mut Reader<'_, '_>) {
    let start = line.value.text().find(list).unwrap_or_default();
    for part in Mailbox::list(list) {
        let recipient = &list[part.clone()];
        if let Err(why) = recipient.parse::<Mailbox>() {
            let message = format!("{recipient} is not a mail address ({why}): no alert is sent to it");
            let help = "write user@host, Name <user@host>, or the name of a user of this machine";
            reader.warn(line, start + part.start..start + part.end, message, help);
        }
    }
}

/// The sender of alerts: the rest of the line.
pub(super) fn sender(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<String, ValueError> {
    let sender = value::whole(line)?;
    if let Err(why) = sender.parse::<Mailbox>() {
        let message = format!(
            "{sender} is not a mail address ({why}): alerts are sent from the daemon's user at this machine"
        );
        let help = "write user@host, or Name <user@host>";
        reader.warn(line, 0..sender.len(), message, help);
    }
    Ok(sender)
}

/// The name at the start of the value, and the port after it (R87). Any other text is ignored, as in the original.
pub(super) fn relay(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<Relay, ValueError> {
    let text = line.value.text();
    if text.starts_with(['"', '\'']) {
        let wrong = ValueError::new(line.directive.refusal(line.inside)).at(0..text.len());
        return Err(wrong.help("write the host without quotes"));
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "._+-".contains(c))).unwrap_or(text.len());
    match &text[..end] {
        "" => Err(ValueError::new(line.directive.refusal(line.inside)).at(0..text.len())),
        name => {
            let rest = &text[end..];
            let number = rest.strip_prefix(':').map_or("", |rest| prefix(rest, |c| c.is_ascii_digit()));
            let port: Option<u16> = number.parse().ok().filter(|port| *port > 0);
            let ignored =
                rest.strip_prefix(':').filter(|_| port.is_some()).map_or(rest, |rest| &rest[number.len()..]);
            if !ignored.trim_matches(is_blank).is_empty() {
                let message = format!(
                    "smtp is read as {}, and \"{ignored}\" is ignored",
                    &text[..text.len() - ignored.len()]
                );
                let help = "write the host alone, and a comment on a line of its own";
                reader.warn(line, text.len() - ignored.len()..text.len(), message, help);
            }
            Ok(Relay { host: name.to_owned(), port })
        }
    }
}

/// A list of states. `none` must be the only one.
pub(super) fn alert_status(line: &Assignment<'_>) -> Result<AlertStatus, ValueError> {
    let mut status = AlertStatus { starting: false, running: false, stopping: false, reloading: false };
    let words = listed(line.value.text());
    let wrong = |message: String| ValueError::new(message).at(0..line.value.text().len());
    let none = words.contains(&"none");
    for word in words.into_iter().filter(|word| *word != "none") {
        match word {
            "all" => status = AlertStatus::default(),
            "starting" => status.starting = true,
            "running" => status.running = true,
            "stopping" => status.stopping = true,
            "reloading" => status.reloading = true,
            _ => {
                return Err(wrong(format!("invalid email alert status at: \"{word}\"")).help(
                    "write a list of all, none, starting, running, stopping, reloading, with no space after it",
                ));
            }
        }
        if none {
            return Err(wrong(format!("invalid email alert status: \"{word}\" specified with \"none\"")));
        }
    }
    Ok(status)
}

/// The words between commas. White space around commas and commas at the end are ignored.
fn listed(text: &str) -> Vec<&str> {
    let last = text.matches(',').count();
    let mut words: Vec<&str> = text
        .split(',')
        .enumerate()
        .map(|(index, word)| {
            let word = if index == 0 { word } else { word.trim_start_matches(is_blank) };
            if index == last { word } else { word.trim_end_matches(is_blank) }
        })
        .collect();
    while words.last() == Some(&"") {
        words.pop();
    }
    words
}
