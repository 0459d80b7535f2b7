//! SMTP and submission (RFC 5321): a greeting of 220, EHLO or HELO answered with 250, QUIT.

use super::talk::{Talk, Told};

/// The name that the original sends with EHLO.
const OWN_NAME: &str = "localhost.localdomain";

pub(super) async fn greeting(talk: &mut Talk<'_>) -> Told<Vec<u8>> {
    let greeting = talk.reply("the greeting").await?;
    if greeting.code != 220 {
        return Err(talk.refused("greeting", &greeting.line));
    }
    talk.done("greeting 220");
    Ok(greeting.line)
}

pub(super) async fn run(talk: &mut Talk<'_>) -> Told {
    hello(talk).await?;
    talk.farewell("QUIT\r\n").await;
    Ok(talk.up())
}

/// Sends EHLO, or HELO if the server does not know EHLO.
pub(super) async fn hello(talk: &mut Talk<'_>) -> Told<()> {
    talk.send(&format!("EHLO {OWN_NAME}\r\n"), "the answer to EHLO").await?;
    let mut hello = talk.reply("the answer to EHLO").await?;
    let mut word = "EHLO";
    // Older servers do not know EHLO (RFC 5321 3.2) and answer 500 to 504 or 550.
    if hello.code >= 500 {
        word = "HELO";
        talk.send(&format!("HELO {OWN_NAME}\r\n"), "the answer to HELO").await?;
        hello = talk.reply("the answer to HELO").await?;
    }
    if hello.code != 250 {
        return Err(talk.refused(&format!("{word} answered"), &hello.line));
    }
    talk.done(&format!("{word} 250"));
    Ok(())
}
