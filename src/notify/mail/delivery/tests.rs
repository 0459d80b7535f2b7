//! A relay with STARTTLS and a login. Relays and programs that misbehave.

#![expect(clippy::disallowed_methods, reason = "a test waits for a process with a limit")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::time::Instant;

use super::*;
use crate::notify::mail::encoded::body;
use crate::notify::mail::message::MailMessage;
use crate::notify::mail::queue::MailQueue;
use crate::settings::Security;

fn message(subject: &str) -> Encoded {
    message_to(&["a@one.example"], subject)
}

fn message_to(recipients: &[&str], subject: &str) -> Encoded {
    let message = MailMessage {
        from: "ld@here.example".parse().unwrap(),
        recipients: recipients.iter().map(|one| one.parse().unwrap()).collect(),
        relay: None,
        subject: subject.to_owned(),
        body: "text\n".to_owned(),
    };
    Encoded::build(&message).unwrap().0
}

/// Answers until QUIT or STARTTLS, and returns the received lines.
fn talk<S: Read + Write>(stream: &mut S, greeting: &str, features: &str) -> Vec<String> {
    let (mut heard, mut text) = (Vec::new(), false);
    stream.write_all(greeting.as_bytes()).unwrap();
    loop {
        let mut line = String::new();
        // One byte at a time, so that nothing of the TLS handshake is read.
        while !line.ends_with('\n') {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return heard;
            }
            line.push(char::from(byte[0]));
        }
        let line = line.trim_end().to_owned();
        let answer = match line.get(..4).unwrap_or_default() {
            _ if text && line != "." => continue,
            "EHLO" => features,
            "DATA" => "354 go\r\n",
            "STAR" => "220 go\r\n",
            "AUTH" => "235 welcome\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250 fine\r\n",
        };
        text = line == "DATA";
        heard.push(line);
        stream.write_all(answer.as_bytes()).unwrap();
        if answer.starts_with("221") || heard.last().is_some_and(|line| line == "STARTTLS") {
            return heard;
        }
    }
}

/// The lines that a relay received before TLS and inside.
type Heard = (Vec<String>, Vec<String>);

/// Starts a relay for one connection that requires TLS and a login. Returns what it received before TLS and inside.
fn secure_relay() -> (u16, JoinHandle<Heard>) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut plain, _): (TcpStream, _) = listener.accept().unwrap();
        let outside = talk(&mut plain, "220 relay\r\n", "250-relay\r\n250 STARTTLS\r\n");
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut inside = StreamOwned::new(connection, plain);
        (outside, talk(&mut inside, "", "250-relay\r\n250 AUTH PLAIN LOGIN\r\n"))
    });
    (port, thread)
}

fn loopback() -> Relay {
    Relay { host: "127.0.0.1".to_owned(), port: None }
}

fn delivery(settings: settings::MailSettings) -> MailDelivery {
    MailDelivery::new(Some(loopback()), Arc::new(settings))
}

fn secure(port: u16, verify: bool, password: &std::path::Path) -> settings::MailSettings {
    settings::MailSettings {
        port,
        verify,
        security: Security::Starttls,
        username: "ld".to_owned(),
        password_file: password.to_owned(),
        timeout: Duration::from_secs(5),
        ..settings::MailSettings::default()
    }
}

#[tokio::test]
async fn a_relay_gets_the_login_only_inside_tls() {
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "hidden word\n").unwrap();
    let (port, relay) = secure_relay();
    let mut delivery = delivery(secure(port, false, &password));
    assert_eq!(delivery.deliver(&message("x")).await, Ok(Vec::new()));
    delivery.close().await;
    let (outside, inside) = relay.join().unwrap();
    assert!(outside.iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"), "{outside:?}");
    assert!(inside.iter().any(|line| line.starts_with("AUTH PLAIN ")), "{inside:?}");
    assert!(inside.iter().any(|line| line == "RCPT TO:<a@one.example>"), "{inside:?}");
    let text = format!("{:?}", secure(port, false, &password));
    assert!(!text.contains("hidden"), "{text}");
}

#[tokio::test]
async fn an_unknown_certificate_gets_neither_login_nor_mail() {
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "hidden word\n").unwrap();
    let (port, relay) = secure_relay();
    let failure = delivery(secure(port, true, &password)).deliver(&message("x")).await.unwrap_err();
    assert!(matches!(&failure, DeliveryFailure::Closed(reason) if !reason.contains("hidden")), "{failure:?}");
    let (_, inside) = relay.join().unwrap();
    assert!(inside.is_empty(), "{inside:?}");
}

#[tokio::test]
async fn a_relay_without_tls_gets_nothing_if_tls_is_required() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let relay = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        talk(&mut stream, "220 relay\r\n", "250-relay\r\n250 AUTH PLAIN\r\n")
    });
    let settings = secure(port, true, std::path::Path::new("/dev/null"));
    assert!(delivery(settings).deliver(&message("x")).await.is_err());
    let heard = relay.join().unwrap();
    assert!(!heard.iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")), "{heard:?}");
}

/// The sendmail of this test accepts messages for all recipients but `bad@one.example`, and writes the recipient to a
/// file.
#[tokio::test]
async fn a_message_that_sendmail_rejects_delays_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (sendmail, taken) = (directory.path().join("sendmail"), directory.path().join("taken"));
    let script = format!(
        "#!/bin/sh\ncat >/dev/null\nfor to; do :; done\ncase $* in *bad@*) echo no such user >&2; exit 67 ;; esac\n\
         echo \"$to\" >>{}\n",
        taken.display()
    );
    std::fs::write(&sendmail, script).unwrap();
    std::fs::set_permissions(&sendmail, PermissionsExt::from_mode(0o755)).unwrap();
    let mut queue =
        MailQueue::new(settings::MailSettings { sendmail, ..settings::MailSettings::default() }, true);
    queue.send(None, message_to(&["bad@one.example", "a@one.example"], "for two"));
    queue.send(None, message_to(&["b@one.example"], "for one"));
    let limit = Instant::now() + Duration::from_secs(20);
    while std::fs::read_to_string(&taken).unwrap_or_default() != "a@one.example\nb@one.example\n" {
        assert!(Instant::now() < limit, "{:?}", std::fs::read_to_string(&taken));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn plain_text_is_not_encoded_and_other_text_is() {
    let check = |text: &str, plain: bool| {
        assert_eq!(
            body(text).encoding() == lettre::message::header::ContentTransferEncoding::SevenBit,
            plain,
            "{text}"
        );
    };
    check(&"x".repeat(900), true);
    check(&"x".repeat(1100), false);
    check("ü", false);
}

/// Sends an endless greeting piece by piece until the connection is closed.
fn endless(piece: &'static [u8]) -> (u16, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sent = 0;
        while stream.write_all(piece).is_ok() {
            sent += piece.len();
        }
        sent
    });
    (port, thread)
}

#[tokio::test]
async fn b4_a_relay_whose_reply_has_no_end_is_left() {
    for (piece, words) in [
        (b"220-more\r\n".as_slice(), "more than 100 lines"),
        (b"2200000000000000", "a line of the relay's reply is longer than 512 bytes"),
        (b"\x16ciphertext", "longer than 51200 bytes"),
    ] {
        let (port, relay) = endless(piece);
        let failure = delivery(settings::MailSettings { port, ..settings::MailSettings::default() })
            .deliver(&message("x"))
            .await;
        let failure = failure.unwrap_err();
        assert!(matches!(&failure, DeliveryFailure::Closed(reason) if reason.contains(words)), "{failure:?}");
        // The relay can send only what the buffers of the two sockets hold.
        assert!(relay.join().unwrap() < 32 * 1024 * 1024);
    }
}

#[tokio::test]
async fn b4_a_sendmail_that_prints_for_ever_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (sendmail, pid) = (directory.path().join("sendmail"), directory.path().join("pid"));
    let script = format!("#!/bin/sh\necho $$ >{}\nexec yes\n", pid.display());
    std::fs::write(&sendmail, script).unwrap();
    std::fs::set_permissions(&sendmail, PermissionsExt::from_mode(0o755)).unwrap();
    let settings = settings::MailSettings {
        sendmail,
        timeout: Duration::from_secs(1),
        ..settings::MailSettings::default()
    };
    let failure = MailDelivery::new(None, Arc::new(settings)).deliver(&message("x")).await;
    assert_eq!(failure, Err(DeliveryFailure::Closed("no answer within 1 s".to_owned())));
    let pid = std::fs::read_to_string(pid).unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    let runs = || {
        std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
    };
    while runs() {
        assert!(Instant::now() < limit, "sendmail still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn b8_messages_share_a_session_that_ends_with_quit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let relay = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        talk(&mut stream, "220 relay\r\n", "250 relay\r\n")
    });
    let mut queue =
        MailQueue::new(settings::MailSettings { port, ..settings::MailSettings::default() }, true);
    for number in 0..500 {
        queue.send(Some(loopback()), message(&number.to_string()));
    }
    queue.finish(Duration::from_secs(20)).await;
    let heard = relay.join().unwrap();
    assert_eq!(heard.iter().filter(|line| *line == "DATA").count(), 500);
    assert_eq!(heard.iter().filter(|line| line.starts_with("EHLO")).count(), 1);
    assert_eq!(heard.last().map(String::as_str), Some("QUIT"));
}
