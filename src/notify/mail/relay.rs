//! A session with a mail relay, kept open for many messages (SMTP, RFC 5321). The relay's replies are limited in size.

use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::encoded::Encoded;
use crate::net::limited::{Limited, ReadLimit};
use crate::net::stream::Stream;
use crate::net::{cause, tls};
use crate::notify::queue::{DeliveryFailure, Rejected};
use crate::settings::{self, Security, credential};
use crate::sys::regular;
use crate::value::mask::Mask;
use crate::value::{Relay, Roots, Secret, TlsPolicy};

/// The longest line of a reply in bytes, with its end (RFC 5321, 4.5.3.1.5).
const LONGEST_LINE: usize = 512;

/// The most lines of a reply.
const MOST_LINES: usize = 100;

/// The most bytes of a reason that a relay gives.
const LONGEST_REASON: usize = 500;

/// The largest password file in bytes.
const MAX_PASSWORD: u64 = 64 * 1024;

/// How long a relay may take to answer QUIT.
const GOODBYE: Duration = Duration::from_secs(1);

/// A session.
pub(super) struct SmtpSession {
    connection: AsyncSmtpConnection,
}

impl SmtpSession {
    /// Connects, starts TLS and logs in, according to the settings. The caller limits the time. An error concerns all
    /// messages, not only the next one.
    pub(super) async fn open(
        relay: &Relay,
        settings: &settings::MailSettings,
    ) -> Result<SmtpSession, DeliveryFailure> {
        let opened = SmtpSession::begin(relay, settings).await;
        opened.map_err(|failure| DeliveryFailure::Closed(failure.reason().to_owned()))
    }

    async fn begin(relay: &Relay, settings: &settings::MailSettings) -> Result<SmtpSession, DeliveryFailure> {
        let stream = Limited::new(connect(relay, settings).await?, ReplySize::default());
        let hello = match settings.helo_name.as_str() {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        let connection = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await;
        let mut connection = connection.map_err(failure)?;
        let starttls = match settings.security {
            Security::None | Security::Tls => false,
            Security::Opportunistic => connection.can_starttls(),
            Security::Starttls => true,
        };
        if starttls {
            let parameters = TlsParameters::builder(relay.host.clone())
                .dangerous_accept_invalid_certs(!settings.verify)
                .build()
                .map_err(failure)?;
            connection.starttls(parameters, &hello).await.map_err(failure)?;
        }
        if !settings.username.is_empty() {
            let password = password(&settings.password_file).map_err(DeliveryFailure::Closed)?;
            let credentials = Credentials::new(settings.username.clone(), password.reveal().to_owned());
            let login = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            // A relay may repeat the login in its reply.
            let hide = |text: &str| mask(settings, &password).hide(text.to_owned());
            login.map_err(|error| DeliveryFailure::Closed(hide(failure(error).reason())))?;
        }
        Ok(SmtpSession { connection })
    }

    /// Sends a message to all recipients that the relay accepts, and returns the others. After an error other than
    /// [`DeliveryFailure::Closed`] the session can be used for the next message.
    pub(super) async fn send(
        &mut self,
        message: &Encoded,
    ) -> Result<Vec<Rejected<Encoded>>, DeliveryFailure> {
        let sent = self.transact(message).await;
        let all_rejected =
            |rejected: &Vec<Rejected<Encoded>>| rejected.len() == message.envelope().to().len();
        match &sent {
            Err(DeliveryFailure::Closed(_)) => {}
            Ok(rejected) if !all_rejected(rejected) => {}
            // A relay that fails here fails the next message, which then needs a new session.
            _ => drop(self.connection.command(Rset).await),
        }
        sent
    }

    async fn transact(&mut self, message: &Encoded) -> Result<Vec<Rejected<Encoded>>, DeliveryFailure> {
        let (envelope, mut parameters) = (message.envelope(), Vec::new());
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        if !envelope.to().iter().chain(envelope.from()).all(is_ascii) {
            if !self.connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                let why = "an address is not ASCII and the relay does not offer SMTPUTF8";
                return Err(DeliveryFailure::Never(why.to_owned()));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let mail = Mail::new(envelope.from().cloned(), parameters);
        self.connection.command(mail).await.map_err(failure)?;
        let mut rejected = Vec::new();
        for to in envelope.to() {
            match self
                .connection
                .command(Rcpt::new(to.clone(), Vec::new()))
                .await
                .map_err(failure_of_recipient)
            {
                Ok(_) => {}
                Err(failure @ DeliveryFailure::Closed(_)) => return Err(failure),
                Err(failure) => rejected.extend(message.to(to).map(|message| Rejected { message, failure })),
            }
        }
        if rejected.len() < envelope.to().len() {
            self.connection.command(Data).await.map_err(failure)?;
            self.connection.message(message.bytes()).await.map_err(failure)?;
        }
        Ok(rejected)
    }

    /// Ends the session with QUIT. Does not wait long for the answer.
    pub(super) async fn quit(mut self) {
        drop(timeout(GOODBYE, self.connection.quit()).await);
    }
}

async fn connect(relay: &Relay, settings: &settings::MailSettings) -> Result<Stream, DeliveryFailure> {
    let closed = |error: io::Error| DeliveryFailure::Closed(format!("connect: {}", cause(&error)));
    let port = relay.port.unwrap_or(settings.port);
    let tcp = TcpStream::connect((relay.host.as_str(), port)).await.map_err(closed)?;
    tcp.set_nodelay(true).map_err(closed)?;
    if settings.security != Security::Tls {
        return Ok(Stream::Plain(tcp));
    }
    let policy = TlsPolicy { verify: settings.verify.then_some(Roots::System), ..TlsPolicy::default() };
    let client = tls::TlsClient::new(&policy).map_err(|error| DeliveryFailure::Closed(error.to_string()))?;
    let address = tcp.peer_addr().map_err(closed)?.ip();
    let name = tls::server_name(Some(&relay.host), address);
    client.connect(name, tcp).await.map_err(|error| DeliveryFailure::Closed(tls::explain(&error)))
}

/// Converts an error of the session to its meaning for the message.
fn failure(error: lettre::transport::smtp::Error) -> DeliveryFailure {
    let text = error.to_string();
    let reason = text.chars().map(|sign| if sign.is_control() { ' ' } else { sign });
    let reason: String = reason.take(LONGEST_REASON).collect();
    match error.status().map(u16::from) {
        // The relay does not take this message now. Other 4xx codes describe the relay itself, such as 452, a full disk
        // (RFC 5321, 4.2.3).
        Some(450) => DeliveryFailure::NotNow(reason),
        Some(500..) => DeliveryFailure::Never(reason),
        _ => DeliveryFailure::Closed(reason),
    }
}

/// Converts an error for one recipient. 451 is often greylisting, and 452 a full mailbox or too many recipients, so
/// other messages need not wait.
fn failure_of_recipient(error: lettre::transport::smtp::Error) -> DeliveryFailure {
    let is_of_recipient = matches!(error.status().map(u16::from), Some(451 | 452));
    match failure(error) {
        DeliveryFailure::Closed(reason) if is_of_recipient => DeliveryFailure::NotNow(reason),
        other => other,
    }
}

/// The size of the reply since the last command: lettre buffers a line without limit.
#[derive(Debug, Default)]
struct ReplySize {
    bytes: usize,
    lines: usize,
    in_line: usize,
    /// The first byte is a digit. After STARTTLS it is ciphertext, of which only the bytes are counted.
    is_text: bool,
}

impl ReadLimit for ReplySize {
    fn count(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.bytes == 0 {
            self.is_text = bytes.first().is_some_and(u8::is_ascii_digit);
        }
        self.bytes += bytes.len();
        if self.bytes > MOST_LINES * LONGEST_LINE {
            return Err(format!("the relay's reply is longer than {} bytes", MOST_LINES * LONGEST_LINE));
        }
        for byte in bytes.iter().filter(|_| self.is_text) {
            self.in_line += 1;
            if self.in_line > LONGEST_LINE {
                return Err(format!("a line of the relay's reply is longer than {LONGEST_LINE} bytes"));
            }
            if *byte == b'\n' {
                self.in_line = 0;
                self.lines += 1;
            }
        }
        if self.lines > MOST_LINES {
            return Err(format!("the relay's reply has more than {MOST_LINES} lines"));
        }
        Ok(())
    }

    fn before_write(&mut self) {
        *self = ReplySize::default();
    }
}

/// Masks the login as a session sends it: AUTH PLAIN and AUTH LOGIN.
fn mask(settings: &settings::MailSettings, password: &Secret) -> Mask {
    let (user, word) = (&settings.username, password.reveal());
    let sent = [format!("\0{user}\0{word}"), word.to_owned()].map(|text| BASE64.encode(text));
    Mask::new(sent.into_iter().chain([word.to_owned()]))
}

/// Reads the password, for each session again so that it can be changed. The error names the file, never its content.
fn password(file: &Path) -> Result<Secret, String> {
    let failed = |error: String| format!("[mail] password_file {}: {error}", file.display());
    let path = credential::locate(file).map_err(failed)?;
    let bytes = regular::read(&path, MAX_PASSWORD).map_err(|error| failed(cause(&error)))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    Ok(Secret::new(text.lines().next().unwrap_or_default()))
}
