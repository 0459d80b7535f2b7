//! NNTP (RFC 3977): a greeting that begins with 2.

use super::Told;
use super::talk::Talk;

pub(super) async fn greeting(talk: &mut Talk<'_>) -> Told<Vec<u8>> {
    let greeting = talk.line("the greeting").await?;
    if greeting.first() != Some(&b'2') {
        return Err(talk.refused("greeting", &greeting));
    }
    talk.done(&format!("greeting {}", String::from_utf8_lossy(greeting.get(..3).unwrap_or(&greeting))));
    Ok(greeting)
}

pub(super) async fn run(talk: &mut Talk<'_>) -> Told {
    talk.farewell("QUIT\r\n").await;
    Ok(talk.up())
}
