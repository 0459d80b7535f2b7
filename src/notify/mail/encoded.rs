//! The form of mail on the wire: headers and body, encoded, and the envelope.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{self, ContentTransferEncoding, Headers};
use lettre::message::{Body, Mailboxes};

use super::message::MailMessage;
use crate::notify::queue;
use crate::value::Mailbox;

/// The size of a message in a queue without its text in bytes.
const OVERHEAD: usize = 256;

/// An encoded mail message with its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    envelope: Envelope,
    bytes: Arc<[u8]>,
    subject: String,
}

impl Encoded {
    /// Encodes a message, with date and id. Also returns an error for each recipient that is not a valid address.
    ///
    /// # Errors
    /// The sender, or every recipient, is not a valid address.
    pub fn build(message: &MailMessage) -> Result<(Encoded, Vec<String>), String> {
        let mailbox = |mailbox: &Mailbox| {
            let (user, domain) = (&mailbox.user, mailbox.domain.as_deref().unwrap_or_default());
            let address = Address::new(user, domain);
            let address =
                address.map_err(|error| format!("{user}@{domain} is not a mail address: {error}"))?;
            Ok::<_, String>(lettre::message::Mailbox::new(mailbox.name.clone(), address))
        };
        let (good, wrong): (Vec<_>, Vec<_>) = message.recipients.iter().map(mailbox).partition(Result::is_ok);
        let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
        let good: Mailboxes = good.into_iter().filter_map(Result::ok).collect();
        let from = mailbox(&message.from)?;
        let to = good.iter().map(|mailbox| mailbox.email.clone()).collect();
        let envelope = Envelope::new(Some(from.email.clone()), to)
            .map_err(|error| format!("{error} {}", wrong.join("; ")))?;
        let body = body(&message.body);
        // lettre's message builder parses addresses again and rejects [192.0.2.1], so it is not used.
        let mut headers = Headers::new();
        headers.set(header::MessageId::from(message_id(from.email.domain())));
        headers.set(header::Date::now());
        headers.set(header::From::from(Mailboxes::from(from)));
        headers.set(header::To::from(good));
        headers.set(header::Subject::from(message.subject.clone()));
        headers.set(body.encoding());
        let encoded = Encoded {
            envelope,
            bytes: [format!("{headers}\r\n").as_bytes(), body.as_ref()].concat().into(),
            subject: message.subject.clone(),
        };
        Ok((encoded, wrong))
    }

    /// The addresses of the recipients.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.envelope.to().iter().map(ToString::to_string).collect()
    }

    pub(super) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same message for one recipient.
    pub(super) fn to(&self, to: &Address) -> Option<Encoded> {
        let envelope = Envelope::new(self.envelope.from().cloned(), vec![to.clone()]).ok()?;
        Some(Encoded { envelope, ..self.clone() })
    }
}

impl queue::QueueItem for Encoded {
    fn size(&self) -> usize {
        self.bytes.len() + self.subject.len() + OVERHEAD
    }

    fn title(&self) -> &str {
        &self.subject
    }

    fn recipients(&self) -> String {
        self.addresses().join(", ")
    }

    fn split(&self) -> Vec<Encoded> {
        self.envelope.to().iter().filter_map(|to| self.to(to)).collect()
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
