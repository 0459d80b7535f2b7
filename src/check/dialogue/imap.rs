//! IMAP (RFC 9051): a greeting `* OK` or `* PREAUTH`, a login if one is set, LOGOUT.

use super::session::{DialogueSession, StepResult};
use crate::spec::DialogueProbe;

/// The most lines before the answer to a command.
const MAX_LINES: usize = 1000;

pub(super) async fn greeting(session: &mut DialogueSession<'_>) -> StepResult<Vec<u8>> {
    let greeting = session.line("the greeting").await?;
    let authenticated = is_authenticated(&greeting);
    if !authenticated && !greeting.to_ascii_uppercase().starts_with(b"* OK") {
        return Err(session.refused("greeting", &greeting));
    }
    session.done(if authenticated { "greeting PREAUTH" } else { "greeting OK" });
    Ok(greeting)
}

fn is_authenticated(greeting: &[u8]) -> bool {
    greeting.to_ascii_uppercase().starts_with(b"* PREAUTH")
}

pub(super) async fn run(
    session: &mut DialogueSession<'_>,
    dialogue: &DialogueProbe,
    greeting: &[u8],
) -> StepResult {
    let authenticated = is_authenticated(greeting);
    if !dialogue.login.is_empty() && !authenticated {
        login(session, dialogue).await?;
    }
    session.quit("a2 LOGOUT\r\n").await;
    Ok(session.up())
}

async fn login(session: &mut DialogueSession<'_>, dialogue: &DialogueProbe) -> StepResult<()> {
    let (Some(login), Some(passwd)) = (quoted(&dialogue.login), quoted(dialogue.passwd.reveal())) else {
        return Err(session.down("login and passwd must not contain line ends or NUL"));
    };
    session.send(&format!("a1 LOGIN {login} {passwd}\r\n"), "the answer to LOGIN").await?;
    for _ in 0..MAX_LINES {
        let line = session.line("the answer to LOGIN").await?;
        let upper = line.to_ascii_uppercase();
        if upper.starts_with(b"A1 OK") {
            session.done("LOGIN OK");
            return Ok(());
        }
        if upper.starts_with(b"A1 ") {
            return Err(session.refused("LOGIN answered", &line));
        }
    }
    Err(session.down(&format!("more than {MAX_LINES} lines before the answer to LOGIN")))
}

/// A quoted string (RFC 9051 4.3). None if the text would end the line. The server decides about all other
/// characters, as with the original: some servers accept passwords that are not ASCII.
fn quoted(text: &str) -> Option<String> {
    let fits = !text.contains(['\r', '\n', '\0']);
    fits.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}
