//! The directives outside virtuals.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::shared::Shared;
use super::{Reader, Wrong, kernel, set, value};
use crate::config::ast::Assignment;
use crate::config::directive::Key;
use crate::config::{Globals, LogTarget};
use crate::value::{Mailbox, syslog_facility};

/// Where the log goes when nothing is said.
const LOGFILE: &str = "/var/log/ldirectord.log";
/// From one check to the next when nothing is said.
const CHECKINTERVAL: Duration = Duration::from_secs(10);

/// What stands outside virtuals.
#[derive(Debug)]
pub(super) struct Outside {
    /// What is said for the daemon.
    pub(super) own: Globals,
    /// What virtuals inherit.
    pub(super) shared: Shared,
}

pub(super) fn read(lines: &[Assignment<'_>], reader: &mut Reader<'_, '_>) -> Outside {
    let mut outside = Outside {
        own: Globals {
            checkinterval: CHECKINTERVAL,
            autoreload: false,
            callback: None,
            logfile: LogTarget::File(PathBuf::from(LOGFILE)),
            execute: BTreeSet::new(),
            fork: false,
            supervised: false,
            readdquiescent: false,
            emailalertfrom: None,
            maintenancedir: None,
            timeouts: None,
        },
        shared: Shared::default(),
    };
    for line in lines {
        if !outside.shared.take(line, reader) {
            own(&mut outside.own, line, reader);
        }
    }
    outside.shared.tls.judge_pair(reader);
    if let Some(checkinterval) = outside.shared.checkinterval {
        outside.own.checkinterval = checkinterval;
    }
    outside
}

fn own(globals: &mut Globals, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    match line.directive.key {
        Key::Autoreload => switch(&mut globals.autoreload, line, reader),
        Key::Fork => switch(&mut globals.fork, line, reader),
        Key::Supervised => switch(&mut globals.supervised, line, reader),
        Key::ReadDQuiescent => switch(&mut globals.readdquiescent, line, reader),
        Key::Callback => {
            let command = value::quoted(line).map(|inner| line.value.text()[inner].to_owned());
            set(&mut globals.callback, command, line, reader);
            globals.callback.take_if(|command| command.is_empty());
        }
        Key::LogFile => {
            if let Some(target) = reader.take(line, log_target(line)) {
                warn_of_facility(&target, line, reader);
                globals.logfile = target;
            }
        }
        Key::Execute => {
            globals.execute.insert(line.value.text().to_owned());
        }
        Key::EmailAlertFrom => {
            set(&mut globals.emailalertfrom, value::whole(line), line, reader);
            warn_of_sender(line, reader);
        }
        Key::Timeouts => set(&mut globals.timeouts, kernel::timeouts(line), line, reader),
        Key::MaintenanceDir => {
            let directory = value::whole(line).map(PathBuf::from);
            set(&mut globals.maintenancedir, directory, line, reader);
        }
        _ => reader.refuse(line, Wrong::new(line.directive.refusal(false)).help(line.directive.help)),
    }
}

fn warn_of_sender(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    let sender = line.value.text();
    if let Err(why) = sender.parse::<Mailbox>()
        && !sender.is_empty()
    {
        let message = format!(
            "{sender} is not a mail address: {why}; the user of the daemon at this machine is the sender"
        );
        let help = "write user@host, or Name <user@host>";
        reader.warn(line, 0..sender.len(), message, help);
    }
}

fn switch(place: &mut bool, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    if let Some(value) = reader.take(line, value::yes_no(line)) {
        *place = value;
    }
}

/// A path begins with `/`; anything else is a facility of syslog.
fn log_target(line: &Assignment<'_>) -> Result<LogTarget, Wrong> {
    let inner = value::quoted(line)?;
    let text = &line.value.text()[inner];
    Ok(if text.starts_with('/') {
        LogTarget::File(value::file(text))
    } else {
        LogTarget::Syslog(text.to_owned())
    })
}

fn warn_of_facility(target: &LogTarget, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    if let LogTarget::Syslog(name) = target
        && syslog_facility(name).is_none()
    {
        let message = format!("{name} is no facility of syslog; the log goes to the facility daemon");
        let help = "write a facility (local0 for example), or the full path of a file";
        reader.warn(line, 0..line.value.text().len(), message, help);
    }
}
