//! Delivery of mail to one relay, whose session stays open for the next message, or to the local sendmail.

use std::sync::Arc;

use crate::notify::mail::encoded::Encoded;
use crate::notify::mail::relay::SmtpSession;
use crate::notify::mail::sendmail;
use crate::notify::queue::{Delivery, DeliveryFailure, Rejected};
use crate::settings;
use crate::value::Relay;

/// Delivers mail to a relay or to the local sendmail.
pub struct MailDelivery {
    relay: Option<Relay>,
    settings: Arc<settings::MailSettings>,
    session: Option<SmtpSession>,
}

impl MailDelivery {
    /// Delivers to a relay, or to the local sendmail. Opens no connection yet.
    #[must_use]
    pub fn new(relay: Option<Relay>, settings: Arc<settings::MailSettings>) -> MailDelivery {
        MailDelivery { relay, settings, session: None }
    }

    /// The relay or sendmail, for log lines.
    #[must_use]
    pub fn destination(&self) -> String {
        destination(self.relay.as_ref(), &self.settings)
    }

    async fn attempt(&mut self, message: &Encoded) -> Result<Vec<Rejected<Encoded>>, DeliveryFailure> {
        let limit = self.settings.timeout;
        let session = self.session.take();
        let work = async {
            let Some(relay) = &self.relay else {
                return sendmail::send(&self.settings, message).await.map(|()| (None, Ok(Vec::new())));
            };
            let mut session = match session {
                Some(session) => session,
                None => SmtpSession::open(relay, &self.settings).await?,
            };
            let result = session.send(message).await;
            let is_usable = !matches!(result, Err(DeliveryFailure::Closed(_)));
            Ok((is_usable.then_some(session), result))
        };
        let (session, result) = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            Err(DeliveryFailure::Closed(format!("no answer within {} s", limit.as_secs())))
        })?;
        self.session = session;
        result
    }
}

impl Delivery for MailDelivery {
    type Message = Encoded;

    async fn deliver(&mut self, message: &Encoded) -> Result<Vec<Rejected<Encoded>>, DeliveryFailure> {
        let was_open = self.is_open();
        match self.attempt(message).await {
            // A relay may close an idle session at any time: try once more with a new one.
            Err(DeliveryFailure::Closed(_)) if was_open => self.attempt(message).await,
            result => result,
        }
    }

    fn is_open(&self) -> bool {
        self.session.is_some()
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.quit().await;
        }
    }
}

/// The destination of mail, for log lines.
pub(super) fn destination(relay: Option<&Relay>, settings: &settings::MailSettings) -> String {
    match relay {
        Some(relay) => format!("relay {} port {}", relay.host, relay.port.unwrap_or(settings.port)),
        None => settings.sendmail.display().to_string(),
    }
}

#[cfg(test)]
mod tests;
