//! IMAP (RFC 9051): a greeting `* OK` or `* PREAUTH`, a login if one is set, LOGOUT.

use super::talk::{Talk, Told};
use crate::plan::DialogueProbe;

/// The most lines before the answer to a command.
const MAX_LINES: usize = 1000;

pub(super) async fn greeting(talk: &mut Talk<'_>) -> Told<Vec<u8>> {
    let greeting = talk.line("the greeting").await?;
    let authenticated = is_authenticated(&greeting);
    if !authenticated && !greeting.to_ascii_uppercase().starts_with(b"* OK") {
        return Err(talk.refused("greeting", &greeting));
    }
    talk.done(if authenticated { "greeting PREAUTH" } else { "greeting OK" });
    Ok(greeting)
}

fn is_authenticated(greeting: &[u8]) -> bool {
    greeting.to_ascii_uppercase().starts_with(b"* PREAUTH")
}

pub(super) async fn run(talk: &mut Talk<'_>, dialogue: &DialogueProbe, greeting: &[u8]) -> Told {
    let authenticated = is_authenticated(greeting);
    if !dialogue.login.is_empty() && !authenticated {
        login(talk, dialogue).await?;
    }
    talk.farewell("a2 LOGOUT\r\n").await;
    Ok(talk.up())
}

async fn login(talk: &mut Talk<'_>, dialogue: &DialogueProbe) -> Told<()> {
    let (Some(login), Some(passwd)) = (quoted(&dialogue.login), quoted(dialogue.passwd.reveal())) else {
        return Err(talk.down("login and passwd must not contain line ends or NUL"));
    };
    talk.send(&format!("a1 LOGIN {login} {passwd}\r\n"), "the answer to LOGIN").await?;
    for _ in 0..MAX_LINES {
        let line = talk.line("the answer to LOGIN").await?;
        let upper = line.to_ascii_uppercase();
        if upper.starts_with(b"A1 OK") {
            talk.done("LOGIN OK");
            return Ok(());
        }
        if upper.starts_with(b"A1 ") {
            return Err(talk.refused("LOGIN answered", &line));
        }
    }
    Err(talk.down(&format!("more than {MAX_LINES} lines before the answer to LOGIN")))
}

/// A quoted string (RFC 9051 4.3); none if the text would end the line. The server decides about all other
/// characters, as with the original: some servers accept passwords that are not ASCII.
fn quoted(text: &str) -> Option<String> {
    let fits = !text.contains(['\r', '\n', '\0']);
    fits.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}
