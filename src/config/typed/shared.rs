//! The directives that stand outside virtuals for all of them, and inside for one.

use std::time::Duration;

use super::address::{self, FallbackText};
use super::{Reader, set, tls, value};
use crate::config::AlertStatus;
use crate::config::ast::Assignment;
use crate::config::diagnostic::Original;
use crate::config::directive::Key;
use crate::value::{Family, Mailbox, Relay};

/// What was said, in one place; nothing where nothing was said.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) checktimeout: Option<Duration>,
    pub(super) negotiatetimeout: Option<Duration>,
    pub(super) checkinterval: Option<Duration>,
    pub(super) checkcount: Option<u32>,
    pub(super) failurecount: Option<u32>,
    pub(super) fallback: Option<FallbackText>,
    pub(super) fallback6: Option<FallbackText>,
    pub(super) fallbackcommand: Option<String>,
    pub(super) quiescent: Option<bool>,
    pub(super) cleanstop: Option<bool>,
    pub(super) emailalert: Option<String>,
    pub(super) emailalertfreq: Option<Duration>,
    pub(super) emailalertstatus: Option<AlertStatus>,
    pub(super) smtp: Option<Relay>,
    pub(super) tls: tls::Said,
}

impl Shared {
    /// Takes a line in; says whether it was one of these directives.
    pub(super) fn take(&mut self, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> bool {
        match line.directive.key {
            Key::CheckTimeout => set(&mut self.checktimeout, value::timeout(line, reader), line, reader),
            Key::NegotiateTimeout => {
                set(&mut self.negotiatetimeout, value::timeout(line, reader), line, reader);
            }
            Key::CheckInterval => set(&mut self.checkinterval, value::interval(line, reader), line, reader),
            Key::CheckCount => {
                reader
                    .report
                    .warning(
                        line.span(),
                        "checkcount option is deprecated and slated for removal.  please see 'failurecount'",
                    )
                    .code("deprecated")
                    .directive("checkcount")
                    .original(Original::Warns);
                set(&mut self.checkcount, value::count(line, reader), line, reader);
            }
            Key::FailureCount => set(&mut self.failurecount, value::count(line, reader), line, reader),
            Key::Fallback => {
                let fallback = address::fallback_text(line, Family::V4, reader);
                set(&mut self.fallback, fallback, line, reader);
            }
            Key::Fallback6 => {
                let fallback = address::fallback_text(line, Family::V6, reader);
                set(&mut self.fallback6, fallback, line, reader);
            }
            // Outside virtuals quotes group words and stay; inside they enclose the command.
            Key::FallbackCommand => {
                let command = if line.inside { value::text(line) } else { value::whole(line) };
                set(&mut self.fallbackcommand, command, line, reader);
                warn_of_shell(line, reader);
            }
            Key::Quiescent => set(&mut self.quiescent, value::yes_no(line), line, reader),
            Key::CleanStop => set(&mut self.cleanstop, value::yes_no(line), line, reader),
            Key::EmailAlert => {
                set(&mut self.emailalert, value::recipients(line), line, reader);
                warn_of_recipients(line, reader);
            }
            Key::EmailAlertFreq => {
                let frequency = value::frequency(line);
                set(&mut self.emailalertfreq, frequency, line, reader);
            }
            Key::EmailAlertStatus => {
                set(&mut self.emailalertstatus, value::alert_status(line), line, reader);
            }
            Key::Smtp => set(&mut self.smtp, value::relay(line), line, reader),
            _ => return self.tls.take(line, reader),
        }
        true
    }
}

/// Says so when a command has signs that a shell would act on.
fn warn_of_shell(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    if let Some(part) = value::shell_sign(line.value.text()) {
        let sign = &line.value.text()[part.clone()];
        let help = "write the command into a script, or into sh -c '…'";
        reader.warn(line, part, format!("no shell runs this command: {sign} is a sign like any other"), help);
    }
}

/// Names each recipient that is not an address. The others get their mail.
fn warn_of_recipients(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    let Ok(list) = value::recipients(line) else { return };
    let start = line.value.text().find(&list).unwrap_or_default();
    for part in Mailbox::list(&list) {
        let recipient = &list[part.clone()];
        if let Err(why) = recipient.parse::<Mailbox>() {
            let message = format!("{recipient} is not a mail address: {why}; no alert is sent to it");
            let help = "write user@host, Name <user@host>, or the name of a user of this machine";
            reader.warn(line, start + part.start..start + part.end, message, help);
        }
    }
}
