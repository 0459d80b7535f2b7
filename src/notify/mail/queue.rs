//! The queues of mail: one for each relay, and one for the local sendmail.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use super::delivery::{MailDelivery, destination};
use super::encoded::Encoded;
use crate::notify::queue::{QueueItem, Queues, Wording};
use crate::settings;
use crate::value::Relay;

/// Mail that waits for its delivery.
pub(super) struct MailQueue {
    settings: Arc<settings::MailSettings>,
    /// False in a dry run.
    sends: bool,
    queues: Queues<Option<Relay>, Encoded>,
}

impl MailQueue {
    /// No mail yet. Without `sends` each message is only logged.
    pub(super) fn new(settings: settings::MailSettings, sends: bool) -> MailQueue {
        let queues = Queues::new("mail", settings.queue_limit);
        MailQueue { settings: Arc::new(settings), sends, queues }
    }

    /// Queues a message for a relay, or for the local sendmail. Never waits.
    pub(super) fn send(&mut self, relay: Option<Relay>, message: Encoded) {
        let settings = &self.settings;
        let title = message.title().to_owned();
        if !self.sends {
            let (to, destination) = (message.recipients(), destination(relay.as_ref(), settings));
            info!("would mail to {to} ({destination}): {title}");
            return;
        }
        let open = |relay: &Option<Relay>| {
            let delivery = MailDelivery::new(relay.clone(), Arc::clone(settings));
            (wording(relay.is_some(), delivery.destination()), delivery)
        };
        if let Err(error) = self.queues.send(relay, message, open) {
            error!("failed to send email message: no thread for mail: {error}: {title}");
        }
    }

    /// The number of queued messages, and of those that were dropped since the start.
    pub(super) fn counts(&self) -> (usize, usize) {
        self.queues.counts()
    }

    /// Sends the queued messages for at most `grace`, then drops and reports the rest.
    pub(super) async fn finish(self, grace: Duration) {
        self.queues.finish(grace).await;
    }
}

/// The log lines about mail begin with the original's words.
fn wording(is_relay: bool, destination: String) -> Wording {
    Wording {
        failed: if is_relay { "failed to send SMTP email message" } else { "failed to send email message" },
        delivery: "mail delivery",
        destination,
        limit: "[mail] queue_limit",
        advice: "see the section [mail] of the settings, and try: ldirectord-rs alert-test",
    }
}
