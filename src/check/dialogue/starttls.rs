//! The request to switch to TLS in each protocol: SMTP (RFC 3207), IMAP and POP3 (RFC 2595), NNTP (RFC 4642), FTP
//! (RFC 4217).

use super::smtp;
use super::talk::{Talk, Told};
use crate::check::say;
use crate::plan::Dialogue;

/// The most lines before the answer to an IMAP command.
const MAX_LINES: usize = 1000;

/// Requests TLS after the greeting. If the server agrees, the handshake must follow at once.
pub(super) async fn ask(talk: &mut Talk<'_>, protocol: Dialogue) -> Told<()> {
    match protocol {
        Dialogue::Ftp => numbered(talk, "AUTH TLS", "the answer to AUTH TLS", 234).await,
        Dialogue::Imap => imap(talk).await,
        Dialogue::Nntp => nntp(talk).await,
        Dialogue::Pop => pop(talk).await,
        Dialogue::Smtp => {
            // A server accepts commands only after EHLO or HELO (RFC 5321 4.1.4).
            smtp::hello(talk).await?;
            numbered(talk, "STARTTLS", "the answer to STARTTLS", 220).await
        }
        // The configuration rejects it.
        Dialogue::Sip { .. } => Err(talk.down("sip has no STARTTLS")),
    }
}

async fn numbered(talk: &mut Talk<'_>, command: &'static str, what: &'static str, code: u16) -> Told<()> {
    talk.send(&format!("{command}\r\n"), what).await?;
    let answer = talk.reply(what).await?;
    if answer.code != code {
        return Err(not_offered(talk, command, &answer.line));
    }
    talk.done(&format!("{command} {code}"));
    Ok(())
}

/// A server in transit mode must be switched to reader mode first (RFC 3977 5.3).
async fn nntp(talk: &mut Talk<'_>) -> Told<()> {
    const ASK: (&str, &str) = ("STARTTLS", "the answer to STARTTLS");
    talk.send("STARTTLS\r\n", ASK.1).await?;
    let answer = talk.reply(ASK.1).await?;
    match answer.code {
        382 => {
            talk.done("STARTTLS 382");
            Ok(())
        }
        401 if answer.line.to_ascii_uppercase().starts_with(b"401 MODE-READER") => {
            talk.send("MODE READER\r\n", "the answer to MODE READER").await?;
            let mode = talk.reply("the answer to MODE READER").await?;
            if !matches!(mode.code, 200 | 201) {
                return Err(talk.refused("MODE READER answered", &mode.line));
            }
            talk.done(&format!("MODE READER {}", mode.code));
            numbered(talk, ASK.0, ASK.1, 382).await
        }
        _ => Err(not_offered(talk, ASK.0, &answer.line)),
    }
}

async fn pop(talk: &mut Talk<'_>) -> Told<()> {
    talk.send("STLS\r\n", "the answer to STLS").await?;
    let answer = talk.line("the answer to STLS").await?;
    if !answer.starts_with(b"+OK") {
        return Err(not_offered(talk, "STLS", &answer));
    }
    talk.done("STLS +OK");
    Ok(())
}

async fn imap(talk: &mut Talk<'_>) -> Told<()> {
    const WHAT: &str = "the answer to STARTTLS";
    talk.send("a0 STARTTLS\r\n", WHAT).await?;
    for _ in 0..MAX_LINES {
        let line = talk.line(WHAT).await?;
        let upper = line.to_ascii_uppercase();
        if upper.starts_with(b"A0 OK") {
            talk.done("STARTTLS OK");
            return Ok(());
        }
        if upper.starts_with(b"A0 ") {
            return Err(not_offered(talk, "STARTTLS", &line));
        }
    }
    Err(talk.down(&format!("more than {MAX_LINES} lines before {WHAT}")))
}

fn not_offered(talk: &Talk<'_>, command: &str, answer: &[u8]) -> crate::value::Verdict {
    let answer = say::beginning(answer, 120);
    talk.down(&format!("the server does not offer TLS here: {command} answered {answer}"))
}
