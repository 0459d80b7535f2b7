//! The request to switch to TLS in each protocol: SMTP (RFC 3207), IMAP and POP3 (RFC 2595), NNTP (RFC 4642), FTP
//! (RFC 4217).

use super::session::{DialogueSession, StepResult};
use super::smtp;
use crate::check::format;
use crate::spec::Dialogue;

/// The most lines before the answer to an IMAP command.
const MAX_LINES: usize = 1000;

/// Requests TLS after the greeting. If the server agrees, the handshake must follow at once.
pub(super) async fn ask(session: &mut DialogueSession<'_>, protocol: Dialogue) -> StepResult<()> {
    match protocol {
        Dialogue::Ftp => numbered(session, "AUTH TLS", "the answer to AUTH TLS", 234).await,
        Dialogue::Imap => imap(session).await,
        Dialogue::Nntp => nntp(session).await,
        Dialogue::Pop => pop(session).await,
        Dialogue::Smtp => {
            // A server accepts commands only after EHLO or HELO (RFC 5321 4.1.4).
            smtp::hello(session).await?;
            numbered(session, "STARTTLS", "the answer to STARTTLS", 220).await
        }
        // The configuration rejects it.
        Dialogue::Sip { .. } => Err(session.down("sip has no STARTTLS")),
    }
}

async fn numbered(
    session: &mut DialogueSession<'_>,
    command: &'static str,
    what: &'static str,
    code: u16,
) -> StepResult<()> {
    session.send(&format!("{command}\r\n"), what).await?;
    let answer = session.reply(what).await?;
    if answer.code != code {
        return Err(not_offered(session, command, &answer.line));
    }
    session.done(&format!("{command} {code}"));
    Ok(())
}

/// A server in transit mode must be switched to reader mode first (RFC 3977 5.3).
async fn nntp(session: &mut DialogueSession<'_>) -> StepResult<()> {
    const ASK: (&str, &str) = ("STARTTLS", "the answer to STARTTLS");
    session.send("STARTTLS\r\n", ASK.1).await?;
    let answer = session.reply(ASK.1).await?;
    match answer.code {
        382 => {
            session.done("STARTTLS 382");
            Ok(())
        }
        401 if answer.line.to_ascii_uppercase().starts_with(b"401 MODE-READER") => {
            session.send("MODE READER\r\n", "the answer to MODE READER").await?;
            let mode = session.reply("the answer to MODE READER").await?;
            if !matches!(mode.code, 200 | 201) {
                return Err(session.refused("MODE READER answered", &mode.line));
            }
            session.done(&format!("MODE READER {}", mode.code));
            numbered(session, ASK.0, ASK.1, 382).await
        }
        _ => Err(not_offered(session, ASK.0, &answer.line)),
    }
}

async fn pop(session: &mut DialogueSession<'_>) -> StepResult<()> {
    session.send("STLS\r\n", "the answer to STLS").await?;
    let answer = session.line("the answer to STLS").await?;
    if !answer.starts_with(b"+OK") {
        return Err(not_offered(session, "STLS", &answer));
    }
    session.done("STLS +OK");
    Ok(())
}

async fn imap(session: &mut DialogueSession<'_>) -> StepResult<()> {
    const WHAT: &str = "the answer to STARTTLS";
    session.send("a0 STARTTLS\r\n", WHAT).await?;
    for _ in 0..MAX_LINES {
        let line = session.line(WHAT).await?;
        let upper = line.to_ascii_uppercase();
        if upper.starts_with(b"A0 OK") {
            session.done("STARTTLS OK");
            return Ok(());
        }
        if upper.starts_with(b"A0 ") {
            return Err(not_offered(session, "STARTTLS", &line));
        }
    }
    Err(session.down(&format!("more than {MAX_LINES} lines before {WHAT}")))
}

fn not_offered(session: &DialogueSession<'_>, command: &str, answer: &[u8]) -> crate::value::Verdict {
    let answer = format::beginning(answer, 120);
    session.down(&format!("the server does not offer TLS here: {command} answered {answer}"))
}
