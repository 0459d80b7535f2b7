//! NNTP (RFC 3977): a greeting that begins with 2.

use super::talk::{Talk, Told};
use crate::value::shown::escaped;

pub(super) async fn greeting(talk: &mut Talk<'_>) -> Told<Vec<u8>> {
    let greeting = talk.line("the greeting").await?;
    if greeting.first() != Some(&b'2') {
        return Err(talk.refused("greeting", &greeting));
    }
    let number = greeting.get(..3).unwrap_or(&greeting);
    talk.done(&format!("greeting {}", escaped(&String::from_utf8_lossy(number))));
    Ok(greeting)
}

pub(super) async fn run(talk: &mut Talk<'_>) -> Told {
    talk.farewell("QUIT\r\n").await;
    Ok(talk.up())
}
