//! `alert-test`: sends one test message along each way that alerts take, and says what happened.

use std::collections::BTreeMap;

use super::Exit;
use super::actions;
use super::context::Context;
use crate::notify::alerts::{seal, writer};
use crate::notify::letter::Letter;
use crate::notify::post;
use crate::settings;

const TEXT: &str = "This is a test of the alerts of ldirectord-rs. No server has failed.\n";

pub(super) fn run(context: &Context) -> Exit {
    let Ok((_, loaded)) = actions::load(context) else { return Exit::Config };
    let writer = writer();
    let from = loaded.plan.config().globals.emailalertfrom.clone();
    let mut ways = BTreeMap::new();
    for v in loaded.plan.virtuals() {
        let recipients = writer.recipients(&v.alert.recipients);
        if !recipients.is_empty() {
            ways.entry((recipients, v.alert.smtp.clone())).or_insert_with(Vec::new).push(v.id.to_string());
        }
    }
    if ways.is_empty() {
        println!("no virtual has an emailalert, so no alert is ever sent");
        return Exit::Ok;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return Exit::Failure;
        }
    };
    let mut exit = Exit::Ok;
    for ((recipients, relay), virtuals) in ways {
        let subject = "ldirectord-rs: test of alerts".to_owned();
        let body = format!("{TEXT}ldirectord host: {}\nVirtuals: {}\n", writer.host, virtuals.join(", "));
        let from = writer.sender(from.as_deref());
        let letter = Letter { from, recipients, relay, subject, body };
        if let Err(problem) = runtime.block_on(send(&letter, &context.settings.mail)) {
            println!("{problem}");
            exit = Exit::Failure;
        }
    }
    exit
}

async fn send(letter: &Letter, settings: &settings::Mail) -> Result<(), String> {
    let place = post::place(letter.relay.as_deref(), settings);
    let (parcel, wrong) = seal(letter)?;
    let to = parcel.recipients().join(", ");
    if let Err(failure) = post::deliver(letter.relay.as_deref(), settings, &parcel).await {
        return Err(format!(
            "not accepted by {place} for {to}: {}; look at emailalert, emailalertfrom and smtp in the configuration, and at [mail] \
             in the settings",
            failure.reason()
        ));
    }
    println!("accepted by {place} for {to}");
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
