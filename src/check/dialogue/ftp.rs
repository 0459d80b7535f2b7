//! FTP (RFC 959, RFC 2428): a greeting of 220, a login if one is set, and a file over a passive connection if one is
//! requested. The file must match `receive`. After STARTTLS both connections use TLS.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;

use super::session::{DialogueSession, NumberedReply, StepResult};
use crate::check::failure::unreachable;
use crate::check::{content, format, matching};
use crate::net::stream::Stream;
use crate::net::{cause, dial};
use crate::spec::DialogueProbe;
use crate::value::Pattern;

pub(super) async fn greeting(session: &mut DialogueSession<'_>) -> StepResult<Vec<u8>> {
    let greeting = session.reply("the greeting").await?;
    // 120 announces a later greeting of 220 (RFC 959 5.4).
    let greeting = if greeting.code == 120 { session.reply("the greeting").await? } else { greeting };
    if greeting.code != 220 {
        return Err(session.refused("greeting", &greeting.line));
    }
    session.done("greeting 220");
    Ok(greeting.line)
}

pub(super) async fn run(session: &mut DialogueSession<'_>, dialogue: &DialogueProbe) -> StepResult {
    // `/` is the default if no request is set.
    let wants_a_file = dialogue.request != "/" || dialogue.receive.is_some();
    if wants_a_file || !dialogue.login.is_empty() {
        login(session, dialogue).await?;
    }
    if wants_a_file {
        return file(session, dialogue).await;
    }
    session.quit("QUIT\r\n").await;
    Ok(session.up())
}

async fn command(
    session: &mut DialogueSession<'_>,
    text: &str,
    what: &'static str,
) -> StepResult<NumberedReply> {
    session.send(&format!("{text}\r\n"), what).await?;
    session.reply(what).await
}

async fn login(session: &mut DialogueSession<'_>, dialogue: &DialogueProbe) -> StepResult<()> {
    // A virtual service on port 21 without a line `service=ftp` has no default login.
    let login = if dialogue.login.is_empty() { "anonymous" } else { &dialogue.login };
    let passwd = dialogue.passwd.reveal();
    if [login, passwd].iter().any(|text| text.chars().any(char::is_control)) {
        return Err(session.down("login and passwd must not contain control characters"));
    }
    let mut reply = command(session, &format!("USER {login}"), "the answer to USER").await?;
    if reply.code == 331 {
        session.done("USER 331");
        reply = command(session, &format!("PASS {passwd}"), "the answer to PASS").await?;
    }
    // 202: the password was not needed (RFC 959 4.2).
    if !matches!(reply.code, 230 | 202) {
        return Err(session.refused("login answered", &reply.line));
    }
    session.done(&format!("login {}", reply.code));
    Ok(())
}

async fn file(session: &mut DialogueSession<'_>, dialogue: &DialogueProbe) -> StepResult {
    let request = &dialogue.request;
    if request.chars().any(char::is_control) {
        return Err(session.down("request must not contain control characters"));
    }
    let binary = command(session, "TYPE I", "the answer to TYPE").await?;
    if binary.code != 200 {
        return Err(session.refused("TYPE I answered", &binary.line));
    }
    if session.is_sealed() {
        // The data connection uses TLS as well (RFC 4217 9). PBSZ is required before PROT and has no effect.
        for (text, what) in [("PBSZ 0", "the answer to PBSZ"), ("PROT P", "the answer to PROT")] {
            let answer = command(session, text, what).await?;
            if answer.code != 200 {
                return Err(session.refused(&format!("{text} answered"), &answer.line));
            }
        }
    }
    let address = passive(session).await?;
    let data = dial::connect(address).await.map_err(|error| {
        session.failed(&format!("data connection to {address}: {}", cause(&error)), &error)
    })?;
    let opened = command(session, &format!("RETR {request}"), "the answer to RETR").await?;
    if !matches!(opened.code, 125 | 150) {
        return Err(session.refused("RETR answered", &opened.line));
    }
    session.done(&format!("RETR {}", opened.code));
    let mut data = session.data(data).await?;
    let size = read(session, &mut data, dialogue.receive.as_ref()).await?;
    drop(data);
    let ended = session.reply("the end of the transfer").await?;
    // If we cut the transfer, the server reports it as aborted (426): not an error.
    if !matches!(ended.code, 226 | 250) && size < content::MAX {
        return Err(session.refused("the transfer ended with", &ended.line));
    }
    let file = session.progress().take_content().unwrap_or_default();
    session.quit("QUIT\r\n").await;
    judge(session, dialogue, &file.bytes).await
}

/// The address of the data connection. Always the address of the dialogue with the port from the reply: behind NAT the
/// server may send an address that does not work, and it must not be able to send a check to third parties.
async fn passive(session: &mut DialogueSession<'_>) -> StepResult<SocketAddr> {
    let (_, peer) = session.ends().map_err(|error| unreachable("ftp", &error))?;
    let (word, code) = if peer.is_ipv4() { ("PASV", 227) } else { ("EPSV", 229) };
    let reply = command(session, word, "the address of the data connection").await?;
    let text = String::from_utf8_lossy(&reply.line).into_owned();
    let port = if reply.code != code {
        None
    } else if code == 227 {
        passive_port(&text)
    } else {
        extended_port(&text)
    };
    let port = port.ok_or_else(|| session.refused(&format!("{word} answered"), &reply.line))?;
    Ok(SocketAddr::new(peer.ip(), port))
}

/// `227 Entering Passive Mode (192,0,2,1,200,10).`
fn passive_port(text: &str) -> Option<u16> {
    // Skip the code. The parentheses are customary, not required.
    let numbers: Vec<u16> = text
        .get(4..)?
        .split(|c: char| !c.is_ascii_digit() && c != ',')
        .find(|part| part.matches(',').count() == 5)?
        .split(',')
        .map(|number| number.parse().ok().filter(|n| *n < 256))
        .collect::<Option<_>>()?;
    Some(numbers[4] * 256 + numbers[5]).filter(|port| *port != 0)
}

/// `229 Entering Extended Passive Mode (|||51210|)`
fn extended_port(text: &str) -> Option<u16> {
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let sign = inside.chars().next()?;
    inside.split(sign).nth(3)?.parse().ok().filter(|port| *port != 0)
}

/// Reads the file and returns its size. If it is incomplete at the deadline, the part received by then is judged.
async fn read(
    session: &DialogueSession<'_>,
    data: &mut Stream,
    receive: Option<&Pattern>,
) -> StepResult<usize> {
    let progress = session.begin("the file");
    let (mut buffer, mut size) = ([0; 8192], 0);
    while size < content::MAX {
        let room = buffer.len().min(content::MAX - size);
        match data.read(&mut buffer[..room]).await {
            Ok(0) => break,
            Ok(length) => match content::keep(&buffer[..length], progress).await {
                Ok(bytes) => size = bytes,
                Err(end) => {
                    let file = progress.take_content().unwrap_or_default();
                    return Err(content::judge(&file, &end, receive, progress).await);
                }
            },
            // Many servers close TLS without close_notify. The control connection confirms that the file is complete.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => {
                let size = format::count(size as u64, "byte");
                return Err(session.down(&format!("data connection after {size}: {}", cause(&error))));
            }
        }
    }
    Ok(size)
}

async fn judge(session: &mut DialogueSession<'_>, dialogue: &DialogueProbe, content: &[u8]) -> StepResult {
    session.done(&format::count(content.len() as u64, "byte"));
    let Some(pattern) = &dialogue.receive else { return Ok(session.up()) };
    let source = pattern.source();
    match matching::is_match(pattern, content, session.progress()).await {
        Ok(true) => Ok(session.up()),
        Ok(false) => {
            let begins = format::beginning(content, 80);
            Err(session.down(&format!("the file does not match /{source}/; it begins with {begins}")))
        }
        Err(limit) => Err(session.down(&format!("/{source}/: {limit}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_in_what_servers_say() {
        let check = |text: &str, port: Option<u16>| assert_eq!(passive_port(text), port, "{text}");
        check("227 Entering Passive Mode (192,0,2,1,200,10).", Some(51_210));
        check("227 Entering Passive Mode 192,0,2,1,200,10", Some(51_210));
        check("227 Entering Passive Mode (192,0,2,1,256,10).", None);
        check("227 Entering Passive Mode (192,0,2,1,0,0).", None);
        check("227 1,2,3", None);
        check("227", None);
        let check = |text: &str, port: Option<u16>| assert_eq!(extended_port(text), port, "{text}");
        check("229 Entering Extended Passive Mode (|||51210|)", Some(51_210));
        check("229 Entering Extended Passive Mode (|||0|)", None);
        check("229 Entering Extended Passive Mode ()", None);
        check("229 nothing", None);
    }
}
