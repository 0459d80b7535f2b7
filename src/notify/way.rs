//! The way of a letter to one place: a relay, whose session stays open for the next letter, or the local sendmail.

use std::sync::Arc;

use super::parcel::{Failure, Parcel, Refusal};
use super::relay::Session;
use super::sendmail;
use crate::settings;
use crate::value::Relay;

/// The way to one place. The session with a relay stays open for the next letter.
pub struct Way {
    relay: Option<Relay>,
    settings: Arc<settings::Mail>,
    session: Option<Session>,
}

impl Way {
    /// A way to a relay, or to the local sendmail. Nothing is opened yet.
    #[must_use]
    pub fn new(relay: Option<Relay>, settings: Arc<settings::Mail>) -> Way {
        Way { relay, settings, session: None }
    }

    /// Where it leads, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        place(self.relay.as_ref(), &self.settings)
    }

    /// Brings one letter to the place, and gives the recipients that the place does not take it for.
    ///
    /// # Errors
    /// When no recipient gets it; with the reason, and what can be done: see [`Failure`].
    pub async fn deliver(&mut self, parcel: &Parcel) -> Result<Vec<Refusal>, Failure> {
        let was_open = self.session.is_some();
        match self.attempt(parcel).await {
            // A relay may end a session when it likes.
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

/// Where a letter goes, for messages.
pub(super) fn place(relay: Option<&Relay>, settings: &settings::Mail) -> String {
    match relay {
        Some(relay) => format!("relay {} port {}", relay.host, relay.port.unwrap_or(settings.port)),
        None => settings.sendmail.display().to_string(),
    }
}
