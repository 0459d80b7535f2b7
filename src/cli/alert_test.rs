//! `alert-test`: sends a test message to each list of recipients that gets alerts, over its relay, and prints the
//! results.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Exit;
use super::context::Context;
use super::failure::CommandFailure;
use super::load;
use super::terminal::answer;
use crate::notify::mail::{Encoded, MailDelivery, MailMessage, renderer};
use crate::notify::queue::{self, Delivery, QueueItem as _};
use crate::settings;
use crate::value::shown::escaped;

const TEXT: &str = "This is a test of the alerts of ldirectord-rs. No server has failed.\n";

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    let loaded = load::load(context, &load::find(context, Exit::Config)?)?;
    let renderer = renderer();
    let from = loaded.spec.config().globals.emailalertfrom.clone();
    let mut lists = BTreeMap::new();
    for v in loaded.spec.virtuals().iter().filter(|v| !v.alert.recipients.is_empty()) {
        let list = (v.alert.recipients.clone(), v.alert.smtp.clone());
        lists.entry(list).or_insert_with(Vec::new).push(v.id.to_string());
    }
    if lists.is_empty() {
        return answer("no virtual service has emailalert, so no alert is ever sent", Exit::Ok);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandFailure::Runtime)?;
    let mut result = Ok(Exit::Ok);
    for ((list, relay), virtuals) in lists {
        let (recipients, mut problems) = renderer.recipients(&list);
        if !recipients.is_empty() {
            let subject = "ldirectord-rs: test of alerts".to_owned();
            let body = format!(
                "{TEXT}ldirectord host: {}\nVirtual services: {}\n",
                renderer.host,
                virtuals.join(", ")
            );
            let from = renderer.sender(from.as_deref());
            let message = MailMessage { from, recipients, relay, subject, body };
            problems.extend(runtime.block_on(send(&message, &context.settings.mail)));
        }
        for problem in problems {
            let printed = answer(problem, Exit::Failure);
            // A result that cannot be printed must not keep the other messages from being sent.
            result = result.and(printed);
        }
    }
    result
}

/// Sends a message, and returns an error text for each recipient that does not get it.
async fn send(message: &MailMessage, settings: &settings::MailSettings) -> Vec<String> {
    let (encoded, mut problems) = match Encoded::build(message) {
        Ok(built) => built,
        Err(problem) => return vec![problem],
    };
    let mut delivery = MailDelivery::new(message.relay.clone(), Arc::new(settings.clone()));
    let destination = delivery.destination();
    let rejected = |to: &str, failure: &queue::DeliveryFailure| {
        format!(
            "not accepted by {destination} for {to}: {}; check emailalert, emailalertfrom and smtp in the configuration, and [mail] in \
             the settings",
            escaped(failure.reason())
        )
    };
    let mut accepted = Vec::new();
    let mut waiting = vec![encoded];
    while let Some(message) = waiting.pop() {
        match delivery.deliver(&message).await {
            Ok(parts) => {
                let is_rejected = |to: &String| parts.iter().any(|part| part.message.recipients() == *to);
                accepted.extend(message.addresses().into_iter().filter(|to| !is_rejected(to)));
                problems.extend(parts.iter().map(|part| rejected(&part.message.recipients(), &part.failure)));
            }
            // A message for each recipient shows which of them the relay rejects.
            Err(queue::DeliveryFailure::NotNow(_) | queue::DeliveryFailure::Never(_))
                if message.addresses().len() > 1 =>
            {
                waiting.extend(message.split().into_iter().rev());
            }
            Err(failure) => problems.push(rejected(&message.recipients(), &failure)),
        }
    }
    delivery.close().await;
    let line = format!("accepted by {destination} for {}", accepted.join(", "));
    if !accepted.is_empty() && answer(line, Exit::Ok).is_err() {
        problems.push("the accepted recipients could not all be printed".to_owned());
    }
    problems
}
