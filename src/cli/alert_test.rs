//! `alert-test`: sends a test message to each list of recipients that gets alerts, over its relay, and prints the
//! results.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Exit;
use super::actions;
use super::context::Context;
use super::terminal::{answer, eprint_line};
use crate::notify::alerts::writer;
use crate::notify::letter::Letter;
use crate::notify::parcel::{Failure, Parcel};
use crate::notify::way::Way;
use crate::settings;
use crate::value::shown::escaped;

const TEXT: &str = "This is a test of the alerts of ldirectord-rs. No server has failed.\n";

pub(super) fn run(context: &Context) -> Exit {
    let Ok((_, loaded)) = actions::load(context) else { return Exit::Config };
    let writer = writer();
    let from = loaded.spec.config().globals.emailalertfrom.clone();
    let mut ways = BTreeMap::new();
    for v in loaded.spec.virtuals().iter().filter(|v| !v.alert.recipients.is_empty()) {
        let way = (v.alert.recipients.clone(), v.alert.smtp.clone());
        ways.entry(way).or_insert_with(Vec::new).push(v.id.to_string());
    }
    if ways.is_empty() {
        return answer("no virtual service has emailalert, so no alert is ever sent", Exit::Ok);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprint_line!("the runtime cannot be started: {error}");
            return Exit::Failure;
        }
    };
    let mut exit = Exit::Ok;
    for ((list, relay), virtuals) in ways {
        let (recipients, mut problems) = writer.recipients(&list);
        if !recipients.is_empty() {
            let subject = "ldirectord-rs: test of alerts".to_owned();
            let body = format!(
                "{TEXT}ldirectord host: {}\nVirtual services: {}\n",
                writer.host,
                virtuals.join(", ")
            );
            let from = writer.sender(from.as_deref());
            let letter = Letter { from, recipients, relay, subject, body };
            problems.extend(runtime.block_on(send(&letter, &context.settings.mail)));
        }
        for problem in problems {
            exit = answer(problem, Exit::Failure);
        }
    }
    exit
}

/// Sends a message, and returns an error text for each recipient that does not get it.
async fn send(letter: &Letter, settings: &settings::Mail) -> Vec<String> {
    let (parcel, mut problems) = match Parcel::seal(letter) {
        Ok(sealed) => sealed,
        Err(problem) => return vec![problem],
    };
    let mut way = Way::new(letter.relay.clone(), Arc::new(settings.clone()));
    let place = way.place();
    let refused = |to: &str, failure: &Failure| {
        format!(
            "not accepted by {place} for {to}: {}; check emailalert, emailalertfrom and smtp in the configuration, and [mail] in \
             the settings",
            escaped(failure.reason())
        )
    };
    let mut accepted = Vec::new();
    let mut parcels = vec![parcel];
    while let Some(parcel) = parcels.pop() {
        match way.deliver(&parcel).await {
            Ok(refusals) => {
                let is_refused = |to: &String| refusals.iter().any(|refusal| refusal.to.to_string() == *to);
                accepted.extend(parcel.recipients().into_iter().filter(|to| !is_refused(to)));
                problems
                    .extend(refusals.iter().map(|refusal| refused(refusal.to.as_ref(), &refusal.failure)));
            }
            // A message for each recipient shows which of them the relay rejects.
            Err(Failure::NotTaken(_) | Failure::Never(_)) if parcel.recipients().len() > 1 => {
                parcels.extend(parcel.split().into_iter().rev());
            }
            Err(failure) => problems.push(refused(&parcel.recipients().join(", "), &failure)),
        }
    }
    way.close().await;
    let line = format!("accepted by {place} for {}", accepted.join(", "));
    if !accepted.is_empty() && answer(line, Exit::Ok) != Exit::Ok {
        problems.push("the accepted recipients could not all be printed".to_owned());
    }
    problems
}
