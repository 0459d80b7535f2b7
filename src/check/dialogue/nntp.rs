//! NNTP (RFC 3977): a greeting that begins with 2.

use super::session::{DialogueSession, StepResult};
use crate::value::shown::escaped;

pub(super) async fn greeting(session: &mut DialogueSession<'_>) -> StepResult<Vec<u8>> {
    let greeting = session.line("the greeting").await?;
    if greeting.first() != Some(&b'2') {
        return Err(session.refused("greeting", &greeting));
    }
    let number = greeting.get(..3).unwrap_or(&greeting);
    session.done(&format!("greeting {}", escaped(&String::from_utf8_lossy(number))));
    Ok(greeting)
}

pub(super) async fn run(session: &mut DialogueSession<'_>) -> StepResult {
    session.quit("QUIT\r\n").await;
    Ok(session.up())
}
