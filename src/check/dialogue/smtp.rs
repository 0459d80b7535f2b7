//! SMTP and submission (RFC 5321): a greeting of 220, EHLO or HELO answered with 250, QUIT.

use super::session::{DialogueSession, StepResult};

/// The name that the original sends with EHLO.
const OWN_NAME: &str = "localhost.localdomain";

pub(super) async fn greeting(session: &mut DialogueSession<'_>) -> StepResult<Vec<u8>> {
    let greeting = session.reply("the greeting").await?;
    if greeting.code != 220 {
        return Err(session.refused("greeting", &greeting.line));
    }
    session.done("greeting 220");
    Ok(greeting.line)
}

pub(super) async fn run(session: &mut DialogueSession<'_>) -> StepResult {
    hello(session).await?;
    session.quit("QUIT\r\n").await;
    Ok(session.up())
}

/// Sends EHLO, or HELO if the server does not know EHLO.
pub(super) async fn hello(session: &mut DialogueSession<'_>) -> StepResult<()> {
    session.send(&format!("EHLO {OWN_NAME}\r\n"), "the answer to EHLO").await?;
    let mut hello = session.reply("the answer to EHLO").await?;
    let mut word = "EHLO";
    // Older servers do not know EHLO (RFC 5321 3.2) and answer 500 to 504 or 550.
    if hello.code >= 500 {
        word = "HELO";
        session.send(&format!("HELO {OWN_NAME}\r\n"), "the answer to HELO").await?;
        hello = session.reply("the answer to HELO").await?;
    }
    if hello.code != 250 {
        return Err(session.refused(&format!("{word} answered"), &hello.line));
    }
    session.done(&format!("{word} 250"));
    Ok(())
}
