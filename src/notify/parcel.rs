//! An encoded mail message, and why its delivery failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{self, ContentTransferEncoding, Headers};
use lettre::message::{Body, Mailboxes};
use tokio::time::Instant;

use super::letter::Letter;
use crate::value::Mailbox;

/// An encoded mail message with its envelope.
#[derive(Clone, Debug)]
pub struct Parcel {
    envelope: Envelope,
    bytes: Arc<[u8]>,
    pub(super) subject: String,
    /// When it was first rejected.
    pub(super) refused_since: Option<Instant>,
    /// The time of the next attempt.
    pub(super) again_at: Option<Instant>,
}

/// A recipient that does not get a message, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The recipient.
    pub to: Address,
    /// [`Failure::NotTaken`] or [`Failure::Never`].
    pub failure: Failure,
}

/// Why a delivery failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The relay or sendmail cannot be reached or accepts no mail: all messages wait.
    Closed(String),
    /// The relay or sendmail rejected this message, perhaps temporarily: SMTP code 450 or 452, or sendmail ended with
    /// an error.
    NotTaken(String),
    /// The message is rejected for good.
    Never(String),
}

impl Failure {
    /// The reason that the relay, sendmail or the system gave.
    #[must_use]
    pub fn reason(&self) -> &str {
        let (Failure::Closed(reason) | Failure::NotTaken(reason) | Failure::Never(reason)) = self;
        reason
    }
}

impl Parcel {
    /// Encodes a message, with date and id. Also returns an error for each recipient that is not a valid address.
    ///
    /// # Errors
    /// The sender, or every recipient, is not a valid address.
    pub fn seal(letter: &Letter) -> Result<(Parcel, Vec<String>), String> {
        let mailbox = |mailbox: &Mailbox| {
            let (user, domain) = (&mailbox.user, mailbox.domain.as_deref().unwrap_or_default());
            let address = Address::new(user, domain);
            let address =
                address.map_err(|error| format!("{user}@{domain} is not a mail address: {error}"))?;
            Ok::<_, String>(lettre::message::Mailbox::new(mailbox.name.clone(), address))
        };
        let (good, wrong): (Vec<_>, Vec<_>) = letter.recipients.iter().map(mailbox).partition(Result::is_ok);
        let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
        let good: Mailboxes = good.into_iter().filter_map(Result::ok).collect();
        let from = mailbox(&letter.from)?;
        let to = good.iter().map(|mailbox| mailbox.email.clone()).collect();
        let envelope = Envelope::new(Some(from.email.clone()), to)
            .map_err(|error| format!("{error} {}", wrong.join("; ")))?;
        let body = body(&letter.body);
        // lettre's message builder parses addresses again and rejects [192.0.2.1], so it is not used.
        let mut headers = Headers::new();
        headers.set(header::MessageId::from(message_id(from.email.domain())));
        headers.set(header::Date::now());
        headers.set(header::From::from(Mailboxes::from(from)));
        headers.set(header::To::from(good));
        headers.set(header::Subject::from(letter.subject.clone()));
        headers.set(body.encoding());
        let parcel = Parcel {
            envelope,
            bytes: [format!("{headers}\r\n").as_bytes(), body.as_ref()].concat().into(),
            subject: letter.subject.clone(),
            refused_since: None,
            again_at: None,
        };
        Ok((parcel, wrong))
    }

    /// The recipients.
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        self.envelope.to().iter().map(ToString::to_string).collect()
    }

    pub(super) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same message for one recipient.
    pub(super) fn to(&self, to: &Address) -> Option<Parcel> {
        let envelope = Envelope::new(self.envelope.from().cloned(), vec![to.clone()]).ok()?;
        Some(Parcel { envelope, ..self.clone() })
    }

    /// The same message once for each recipient.
    #[must_use]
    pub fn split(&self) -> Vec<Parcel> {
        self.envelope.to().iter().filter_map(|to| self.to(to)).collect()
    }

    /// Its size in a queue in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.subject.len() + 256
    }
}

/// A unique message id (RFC 5322, 3.6.4).
fn message_id(domain: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let time = chrono::Utc::now().timestamp_micros();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("<{time}.{}.{number}@{domain}>", std::process::id())
}

/// Encodes a body. Plain ASCII is sent as it is, as in the original.
pub(super) fn body(text: &str) -> Body {
    let plain = |line: &str| {
        line.len() <= LONGEST_LINE && line.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
    };
    if text.split('\n').all(plain) {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        Body::dangerous_pre_encoded(bytes, ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text.to_owned())
    }
}

/// The longest line that mail may have (RFC 5322, 2.1.1).
const LONGEST_LINE: usize = 998;
