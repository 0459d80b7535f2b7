//! POP3 (RFC 1939): a greeting `+OK`, a login if one is set, QUIT. The login tries APOP and CRAM-MD5 (RFC 5034)
//! where the server offers them, then USER and PASS, until the server accepts one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

use super::session::{DialogueSession, StepResult};
use crate::check::format;
use crate::spec::DialogueProbe;

/// The most lines of a list of capabilities.
const MAX_LINES: usize = 1000;
/// The most bytes that are shown of a refusal that does not end the dialogue.
const SHOWN: usize = 120;

pub(super) async fn greeting(session: &mut DialogueSession<'_>) -> StepResult<Vec<u8>> {
    let greeting = session.line("the greeting").await?;
    if !greeting.starts_with(b"+OK") {
        return Err(session.refused("greeting", &greeting));
    }
    session.done("greeting +OK");
    Ok(greeting)
}

pub(super) async fn run(
    session: &mut DialogueSession<'_>,
    dialogue: &DialogueProbe,
    greeting: &[u8],
) -> StepResult {
    if !dialogue.login.is_empty() {
        if !(single_line(&dialogue.login) && single_line(dialogue.passwd.reveal())) {
            return Err(session.down("login and passwd must not contain control characters"));
        }
        login(session, dialogue, greeting).await?;
    }
    session.quit("QUIT\r\n").await;
    Ok(session.up())
}

fn single_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

async fn login(
    session: &mut DialogueSession<'_>,
    dialogue: &DialogueProbe,
    greeting: &[u8],
) -> StepResult<()> {
    let (login, passwd) = (&dialogue.login, dialogue.passwd.reveal());
    if let Some(stamp) = stamp(greeting) {
        let digest = hex(&Md5::new().chain_update(stamp).chain_update(passwd).finalize());
        if accepts(session, &format!("APOP {login} {digest}\r\n"), "APOP", "the answer to APOP").await? {
            return Ok(());
        }
    }
    // Like the original: some servers offer APOP and CRAM-MD5 without storing the passwords that these need.
    if offers_cram_md5(session).await? && cram_md5(session, login, passwd).await? {
        return Ok(());
    }
    expect(session, &format!("USER {login}\r\n"), "USER", "the answer to USER").await?;
    expect(session, &format!("PASS {passwd}\r\n"), "PASS", "the answer to PASS").await
}

async fn expect(
    session: &mut DialogueSession<'_>,
    text: &str,
    word: &str,
    what: &'static str,
) -> StepResult<()> {
    session.send(text, what).await?;
    let answer = session.line(what).await?;
    if !answer.starts_with(b"+OK") {
        return Err(session.refused(&format!("{word} answered"), &answer));
    }
    session.done(&format!("{word} +OK"));
    Ok(())
}

/// The same, but a refusal does not end the dialogue.
async fn accepts(
    session: &mut DialogueSession<'_>,
    text: &str,
    word: &str,
    what: &'static str,
) -> StepResult<bool> {
    session.send(text, what).await?;
    let line = session.line(what).await?;
    Ok(answered(session, word, &line))
}

/// Records the answer to a login. Returns whether it accepts.
fn answered(session: &mut DialogueSession<'_>, word: &str, line: &[u8]) -> bool {
    let accepted = line.starts_with(b"+OK");
    let answer =
        if accepted { "+OK".to_owned() } else { format!("answered {}", format::beginning(line, SHOWN)) };
    session.done(&format!("{word} {answer}"));
    accepted
}

/// `<1896.697170952@dbc.mtview.ca.us>` in the greeting.
fn stamp(greeting: &[u8]) -> Option<&[u8]> {
    let start = greeting.iter().position(|byte| *byte == b'<')?;
    let length = greeting[start..].iter().position(|byte| *byte == b'>')?;
    let stamp = &greeting[start..=start + length];
    stamp.contains(&b'@').then_some(stamp)
}

async fn offers_cram_md5(session: &mut DialogueSession<'_>) -> StepResult<bool> {
    const WHAT: &str = "the answer to CAPA";
    session.send("CAPA\r\n", WHAT).await?;
    if !session.line(WHAT).await?.starts_with(b"+OK") {
        return Ok(false);
    }
    let mut offered = false;
    for _ in 0..MAX_LINES {
        let line = session.line(WHAT).await?.to_ascii_uppercase();
        if line == b"." {
            return Ok(offered);
        }
        let mut words = line.split(|byte| *byte == b' ');
        offered |= words.next() == Some(b"SASL") && words.any(|word| word == b"CRAM-MD5");
    }
    Err(session.down(&format!("{WHAT} has more than {MAX_LINES} lines")))
}

/// Logs in by CRAM-MD5. Returns whether the server accepts.
async fn cram_md5(session: &mut DialogueSession<'_>, login: &str, passwd: &str) -> StepResult<bool> {
    const WHAT: &str = "the answer to AUTH CRAM-MD5";
    session.send("AUTH CRAM-MD5\r\n", WHAT).await?;
    let line = session.line(WHAT).await?;
    if !line.starts_with(b"+") {
        return Ok(answered(session, "AUTH CRAM-MD5", &line));
    }
    let challenge = line.strip_prefix(b"+ ").and_then(|text| BASE64.decode(text).ok());
    let Some(challenge) = challenge else {
        return Err(session.refused("AUTH CRAM-MD5 answered", &line));
    };
    let Ok(mac) = Hmac::<Md5>::new_from_slice(passwd.as_bytes()) else {
        return Err(session.down("passwd cannot be used as a key of CRAM-MD5"));
    };
    let digest = hex(&mac.chain_update(&challenge).finalize().into_bytes());
    let text = format!("{}\r\n", BASE64.encode(format!("{login} {digest}")));
    accepts(session, &text, "AUTH CRAM-MD5", WHAT).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        // RFC 1939, section 7.
        let stamp = stamp(b"+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>").unwrap();
        let digest = hex(&Md5::new().chain_update(stamp).chain_update("tanstaaf").finalize());
        assert_eq!(digest, "c4c9334bac560ecc979e58001b3e22fb");
        // RFC 2195, section 2.
        let mac = Hmac::<Md5>::new_from_slice(b"tanstaaftanstaaf").unwrap();
        let digest =
            hex(&mac.chain_update("<1896.697170952@postoffice.reston.mci.net>").finalize().into_bytes());
        assert_eq!(digest, "b913a602c7eda7a495b4e6e7334d3890");
    }
}
