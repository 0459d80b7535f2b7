//! Delivery of messages to one relay, whose session stays open for the next message, or to the local sendmail.

use std::sync::Arc;

use super::parcel::{Failure, Parcel, Refusal};
use super::relay::Session;
use super::sendmail;
use crate::settings;
use crate::value::Relay;

/// A relay or the local sendmail. The session with a relay stays open for the next message.
pub struct Way {
    relay: Option<Relay>,
    settings: Arc<settings::Mail>,
    session: Option<Session>,
}

impl Way {
    /// Delivers to a relay, or to the local sendmail. Opens no connection yet.
    #[must_use]
    pub fn new(relay: Option<Relay>, settings: Arc<settings::Mail>) -> Way {
        Way { relay, settings, session: None }
    }

    /// The relay or sendmail, for log lines.
    #[must_use]
    pub fn place(&self) -> String {
        place(self.relay.as_ref(), &self.settings)
    }

    /// Delivers one message, and returns the recipients that were rejected.
    ///
    /// # Errors
    /// No recipient gets the message; [`Failure`] has the reason, and whether a retry makes sense.
    pub async fn deliver(&mut self, parcel: &Parcel) -> Result<Vec<Refusal>, Failure> {
        let was_open = self.session.is_some();
        match self.attempt(parcel).await {
            // A relay may close an idle session at any time: try once more with a new one.
            Err(Failure::Closed(_)) if was_open => self.attempt(parcel).await,
            result => result,
        }
    }

    async fn attempt(&mut self, parcel: &Parcel) -> Result<Vec<Refusal>, Failure> {
        let limit = self.settings.timeout();
        let session = self.session.take();
        let work = async {
            let Some(relay) = &self.relay else {
                return sendmail::send(&self.settings, parcel).await.map(|()| (None, Vec::new()));
            };
            let mut session = match session {
                Some(session) => session,
                None => Session::open(relay, &self.settings).await?,
            };
            match session.send(parcel).await {
                Ok(refused) => Ok((Some(session), refused)),
                Err(failure) => Err(failure),
            }
        };
        let (session, refused) = tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(Failure::Closed(format!("no answer within {} s", limit.as_secs()))))?;
        self.session = session;
        Ok(refused)
    }

    /// Whether a session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// Ends the session, if one is open.
    pub async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.quit().await;
        }
    }
}

/// The destination of mail, for log lines.
pub(super) fn place(relay: Option<&Relay>, settings: &settings::Mail) -> String {
    match relay {
        Some(relay) => format!("relay {} port {}", relay.host, relay.port.unwrap_or(settings.port)),
        None => settings.sendmail.display().to_string(),
    }
}
