//! Brings letters on their way: a lane for each relay, so that a dead one delays neither checks nor the mail of others.

#![expect(
    clippy::disallowed_methods,
    reason = "a lane waits by the clock; what is due when is told to it by nobody"
)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::header::ContentTransferEncoding;
use lettre::message::{Body, Mailbox, Mailboxes};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSendmailTransport, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::letter::Letter;
use crate::settings::{self, Security};

/// After a failure a lane waits so long, then twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A lane waits so long at most.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// A letter that is not taken, while the place works, is tried so long: an alert that is older helps nobody.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// A letter in the form of the wire.
#[derive(Clone, Debug)]
pub struct Parcel {
    envelope: Envelope,
    bytes: Vec<u8>,
    subject: String,
    /// When it was first not taken.
    refused_since: Option<Instant>,
}

/// Why a letter did not go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The place cannot be reached or takes no mail: every letter has to wait.
    Closed(String),
    /// The place did not take this letter, for now or for good: SMTP says 450 or 452, a sendmail ends with an error.
    NotTaken(String),
    /// It will never go as it is.
    Never(String),
}

impl Failure {
    /// What the relay, the sendmail or the system said.
    #[must_use]
    pub fn reason(&self) -> &str {
        let (Failure::Closed(reason) | Failure::NotTaken(reason) | Failure::Never(reason)) = self;
        reason
    }
}

impl Parcel {
    /// Writes a letter out, with date and id; gives what is wrong with some of its recipients too.
    ///
    /// # Errors
    /// When the sender or every recipient is no address.
    pub fn seal(letter: &Letter) -> Result<(Parcel, Vec<String>), String> {
        let address = |text: &String| {
            text.parse::<Mailbox>()
                .map_err(|error| format!("{text} is no mail address, nothing is sent to it: {error}"))
        };
        let (good, wrong): (Vec<_>, Vec<_>) = letter.recipients.iter().map(address).partition(Result::is_ok);
        let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
        let good: Mailboxes = good.into_iter().filter_map(Result::ok).collect();
        let from: Mailbox = letter.from.parse().map_err(|error| format!("{}: {error}", letter.from))?;
        let message = Message::builder()
            .from(from)
            .mailbox(lettre::message::header::To::from(good))
            .subject(letter.subject.clone())
            .date_now()
            .message_id(None)
            .body(body(&letter.body))
            .map_err(|error| format!("{error} {}", wrong.join("; ")))?;
        let parcel = Parcel {
            envelope: message.envelope().clone(),
            bytes: message.formatted(),
            subject: letter.subject.clone(),
            refused_since: None,
        };
        Ok((parcel, wrong))
    }

    /// The recipients.
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        self.envelope.to().iter().map(ToString::to_string).collect()
    }

    /// The same for each recipient alone.
    fn split(&self) -> Vec<Parcel> {
        let alone =
            |to: &lettre::Address| Envelope::new(self.envelope.from().cloned(), vec![to.clone()]).ok();
        let envelopes = self.envelope.to().iter().filter_map(alone);
        envelopes.map(|envelope| Parcel { envelope, ..self.clone() }).collect()
    }
}

/// Plain text goes as it is, as the original sends it; what is not ASCII is encoded.
fn body(text: &str) -> Body {
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

/// Brings one letter to the relay, or to the local sendmail.
///
/// # Errors
/// With the reason, and what can be done: see [`Failure`].
pub async fn deliver(relay: Option<&str>, settings: &settings::Mail, parcel: &Parcel) -> Result<(), Failure> {
    let limit = settings.timeout();
    let work = async {
        match relay {
            Some(relay) => {
                let transport = smtp(relay, settings).map_err(Failure::Closed)?;
                let sent = transport.send_raw(&parcel.envelope, &parcel.bytes).await;
                sent.map(drop).map_err(|error| {
                    let reason = error.to_string();
                    match error.status().map(u16::from) {
                        // A mailbox that is busy, blocked or full; other codes of 4xx are the relay's own state (RFC 5321, 4.2.3).
                        Some(450 | 452) => Failure::NotTaken(reason),
                        Some(500..) => Failure::Never(reason),
                        _ => Failure::Closed(reason),
                    }
                })
            }
            None => {
                let transport =
                    AsyncSendmailTransport::<Tokio1Executor>::new_with_command(&settings.sendmail);
                let sent = transport.send_raw(&parcel.envelope, &parcel.bytes).await;
                sent.map_err(|error| {
                    let reason = format!("{}: {error}", settings.sendmail.display());
                    if error.is_client() { Failure::NotTaken(reason) } else { Failure::Closed(reason) }
                })
            }
        }
    };
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Closed(format!("no answer within {} s", limit.as_secs()))),
    }
}

/// Where a letter goes, for messages.
#[must_use]
pub fn place(relay: Option<&str>, settings: &settings::Mail) -> String {
    match relay {
        Some(relay) => format!("relay {relay} port {}", settings.port),
        None => settings.sendmail.display().to_string(),
    }
}

fn smtp(relay: &str, settings: &settings::Mail) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let parameters = || {
        TlsParameters::builder(relay.to_owned())
            .dangerous_accept_invalid_certs(!settings.verify)
            .build()
            .map_err(|error| error.to_string())
    };
    let tls = match settings.security {
        Security::None => Tls::None,
        Security::Opportunistic => Tls::Opportunistic(parameters()?),
        Security::Starttls => Tls::Required(parameters()?),
        Security::Tls => Tls::Wrapper(parameters()?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(relay)
        .port(settings.port)
        .timeout(Some(settings.timeout()))
        .tls(tls);
    if !settings.hello.is_empty() {
        builder = builder.hello_name(ClientId::Domain(settings.hello.clone()));
    }
    if !settings.login.is_empty() {
        let password = settings.password()?;
        builder = builder.credentials(Credentials::new(settings.login.clone(), password.reveal().to_owned()));
    }
    Ok(builder.build())
}

/// All lanes.
#[derive(Debug)]
pub struct Post {
    settings: Arc<settings::Mail>,
    lanes: BTreeMap<Option<String>, (Arc<Lane>, JoinHandle<()>)>,
}

impl Post {
    /// No lane yet.
    #[must_use]
    pub fn new(settings: settings::Mail) -> Post {
        Post { settings: Arc::new(settings), lanes: BTreeMap::new() }
    }

    /// Takes a letter over; never waits. When the lane is full its oldest letter is lost, which is counted and said.
    pub fn send(&mut self, relay: Option<String>, parcel: Parcel) {
        let (lane, _) = self.lanes.entry(relay).or_insert_with_key(|relay| {
            let lane = Arc::new(Lane::new(relay.clone(), Arc::clone(&self.settings)));
            let task = tokio::spawn(Arc::clone(&lane).run());
            (lane, task)
        });
        lane.push(parcel);
    }

    /// Tries what is left for so long at most, then gives it up and says so.
    pub async fn finish(self, grace: Duration) {
        let end = Instant::now() + grace;
        for (lane, _) in self.lanes.values() {
            lane.queue().closing = true;
            lane.wake.notify_one();
        }
        for (lane, mut task) in self.lanes.into_values() {
            if tokio::time::timeout_at(end, &mut task).await.is_err() {
                task.abort();
                let left = lane.queue().letters.len() + 1;
                warn!("{}: {left} not sent before the end, and given up", lane.words());
            }
        }
    }
}

/// The letters for one relay.
#[derive(Debug)]
struct Lane {
    relay: Option<String>,
    settings: Arc<settings::Mail>,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Parcel>,
    lost: usize,
    closing: bool,
}

impl Lane {
    fn new(relay: Option<String>, settings: Arc<settings::Mail>) -> Lane {
        Lane { relay, settings, queue: Mutex::default(), wake: Notify::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, parcel: Parcel) {
        let mut queue = self.queue();
        if queue.letters.len() >= self.settings.queue.max(1) {
            queue.letters.pop_front();
            queue.lost += 1;
        }
        queue.letters.push_back(parcel);
        drop(queue);
        self.wake.notify_one();
    }

    /// The original's words for a failure.
    fn words(&self) -> &'static str {
        match self.relay {
            Some(_) => "failed to send SMTP email message",
            None => "failed to send email message",
        }
    }

    fn place(&self) -> String {
        place(self.relay.as_deref(), &self.settings)
    }

    async fn run(self: Arc<Lane>) {
        // How many letters were late since the lane is in trouble.
        let mut trouble: Option<usize> = None;
        let mut wait = FIRST_RETRY;
        loop {
            let (next, closing) = {
                let mut queue = self.queue();
                (queue.letters.pop_front(), queue.closing)
            };
            let Some(parcel) = next else {
                if closing {
                    return;
                }
                self.wake.notified().await;
                continue;
            };
            match deliver(self.relay.as_deref(), &self.settings, &parcel).await {
                Ok(()) => {
                    wait = FIRST_RETRY;
                    if let Some(late) = &mut trouble {
                        *late += 1;
                    }
                    if self.queue().letters.is_empty() {
                        self.say_recovery(trouble.take());
                    }
                }
                // One bad recipient must not keep the letter from the others.
                Err(Failure::Never(_) | Failure::NotTaken(_)) if parcel.envelope.to().len() > 1 => {
                    let mut queue = self.queue();
                    parcel.split().into_iter().rev().for_each(|one| queue.letters.push_front(one));
                }
                Err(Failure::Never(reason)) => self.say_refusal(&parcel, &reason),
                Err(failure @ (Failure::Closed(_) | Failure::NotTaken(_))) => {
                    if trouble.is_none() {
                        self.say_trouble(failure.reason());
                    }
                    trouble.get_or_insert(0);
                    self.keep(parcel, failure);
                    self.pause(wait).await;
                    wait = (wait * 2).min(LONGEST_RETRY);
                }
            }
        }
    }

    fn say_refusal(&self, parcel: &Parcel, reason: &str) {
        let to = parcel.recipients().join(", ");
        error!(
            "{} to {to} ({}): {reason}; it is not tried again: {}",
            self.words(),
            self.place(),
            parcel.subject
        );
    }

    /// Back into the queue, unless newer letters have taken the room or it was tried for long: to the front where all have to wait,
    /// else to the end, so that it does not hold up the others.
    fn keep(&self, mut parcel: Parcel, failure: Failure) {
        let mut queue = self.queue();
        if queue.closing {
            queue.lost += 1;
            drop(queue);
            warn!("{}: given up at the end: {}", self.words(), parcel.subject);
        } else if queue.letters.len() >= self.settings.queue.max(1) {
            queue.lost += 1;
        } else if let Failure::NotTaken(reason) = failure {
            let now = Instant::now();
            if now - *parcel.refused_since.get_or_insert(now) < PATIENCE {
                queue.letters.push_back(parcel);
            } else {
                drop(queue);
                self.say_refusal(&parcel, &format!("not taken for a day: {reason}"));
            }
        } else {
            queue.letters.push_front(parcel);
        }
    }

    /// Waits, but not at the end of the daemon.
    async fn pause(&self, wait: Duration) {
        let end = Instant::now() + wait;
        while !self.queue().closing {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = self.wake.notified() => {}
            }
        }
    }

    fn say_trouble(&self, reason: &str) {
        error!(
            "{} ({}): {reason}; up to {} letters are kept and tried again, said again when they go; see the section [mail] of \
             the settings, and try: ldirectord-rs alert-test",
            self.words(),
            self.place(),
            self.settings.queue
        );
    }

    fn say_recovery(&self, trouble: Option<usize>) {
        let lost = std::mem::take(&mut self.queue().lost);
        if let Some(late) = trouble {
            info!("email messages go again ({}): {late} late, {lost} lost", self.place());
        } else if lost > 0 {
            warn!("{} ({}): {lost} lost, as too many came at once", self.words(), self.place());
        }
    }
}

#[cfg(test)]
mod tests;
