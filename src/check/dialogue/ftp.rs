//! FTP (RFC 959, RFC 2428): a greeting of 220, a login if one is set, and a file over a passive connection if one is
//! requested. The file must match `receive`. After STARTTLS both connections use TLS.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;

use super::talk::{Reply, Talk, Told};
use crate::check::failure::unreachable;
use crate::check::{content, matching, say};
use crate::net::stream::Stream;
use crate::net::{cause, dial};
use crate::plan::DialogueProbe;
use crate::value::Pattern;

pub(super) async fn greeting(talk: &mut Talk<'_>) -> Told<Vec<u8>> {
    let greeting = talk.reply("the greeting").await?;
    // 120 announces a later greeting of 220 (RFC 959 5.4).
    let greeting = if greeting.code == 120 { talk.reply("the greeting").await? } else { greeting };
    if greeting.code != 220 {
        return Err(talk.refused("greeting", &greeting.line));
    }
    talk.done("greeting 220");
    Ok(greeting.line)
}

pub(super) async fn run(talk: &mut Talk<'_>, dialogue: &DialogueProbe) -> Told {
    // `/` is the default if no request is set.
    let wants_a_file = dialogue.request != "/" || dialogue.receive.is_some();
    if wants_a_file || !dialogue.login.is_empty() {
        login(talk, dialogue).await?;
    }
    if wants_a_file {
        return file(talk, dialogue).await;
    }
    talk.farewell("QUIT\r\n").await;
    Ok(talk.up())
}

async fn command(talk: &mut Talk<'_>, text: &str, what: &'static str) -> Told<Reply> {
    talk.send(&format!("{text}\r\n"), what).await?;
    talk.reply(what).await
}

async fn login(talk: &mut Talk<'_>, dialogue: &DialogueProbe) -> Told<()> {
    // A virtual service on port 21 without a line `service=ftp` has no default login.
    let login = if dialogue.login.is_empty() { "anonymous" } else { &dialogue.login };
    let passwd = dialogue.passwd.reveal();
    if [login, passwd].iter().any(|text| text.chars().any(char::is_control)) {
        return Err(talk.down("login and passwd must not contain control characters"));
    }
    let mut reply = command(talk, &format!("USER {login}"), "the answer to USER").await?;
    if reply.code == 331 {
        talk.done("USER 331");
        reply = command(talk, &format!("PASS {passwd}"), "the answer to PASS").await?;
    }
    // 202: the password was not needed (RFC 959 4.2).
    if !matches!(reply.code, 230 | 202) {
        return Err(talk.refused("login answered", &reply.line));
    }
    talk.done(&format!("login {}", reply.code));
    Ok(())
}

async fn file(talk: &mut Talk<'_>, dialogue: &DialogueProbe) -> Told {
    let request = &dialogue.request;
    if request.chars().any(char::is_control) {
        return Err(talk.down("request must not contain control characters"));
    }
    let binary = command(talk, "TYPE I", "the answer to TYPE").await?;
    if binary.code != 200 {
        return Err(talk.refused("TYPE I answered", &binary.line));
    }
    if talk.is_sealed() {
        // The data connection uses TLS as well (RFC 4217 9). PBSZ is required before PROT and has no effect.
        for (text, what) in [("PBSZ 0", "the answer to PBSZ"), ("PROT P", "the answer to PROT")] {
            let answer = command(talk, text, what).await?;
            if answer.code != 200 {
                return Err(talk.refused(&format!("{text} answered"), &answer.line));
            }
        }
    }
    let address = passive(talk).await?;
    let data = dial::connect(address)
        .await
        .map_err(|error| talk.failed(&format!("data connection to {address}: {}", cause(&error)), &error))?;
    let opened = command(talk, &format!("RETR {request}"), "the answer to RETR").await?;
    if !matches!(opened.code, 125 | 150) {
        return Err(talk.refused("RETR answered", &opened.line));
    }
    talk.done(&format!("RETR {}", opened.code));
    let mut data = talk.data(data).await?;
    let size = read(talk, &mut data, dialogue.receive.as_ref()).await?;
    drop(data);
    let ended = talk.reply("the end of the transfer").await?;
    // If we cut the transfer, the server reports it as aborted (426): not an error.
    if !matches!(ended.code, 226 | 250) && size < content::MAX {
        return Err(talk.refused("the transfer ended with", &ended.line));
    }
    let file = talk.progress().take_content().unwrap_or_default();
    talk.farewell("QUIT\r\n").await;
    judge(talk, dialogue, &file.bytes).await
}

/// The address of the data connection. Always the address of the dialogue with the port from the reply: behind NAT the
/// server may send an address that does not work, and it must not be able to send a check to third parties.
async fn passive(talk: &mut Talk<'_>) -> Told<SocketAddr> {
    let (_, peer) = talk.ends().map_err(|error| unreachable("ftp", &error))?;
    let (word, code) = if peer.is_ipv4() { ("PASV", 227) } else { ("EPSV", 229) };
    let reply = command(talk, word, "the address of the data connection").await?;
    let text = String::from_utf8_lossy(&reply.line).into_owned();
    let port = if reply.code != code {
        None
    } else if code == 227 {
        passive_port(&text)
    } else {
        extended_port(&text)
    };
    let port = port.ok_or_else(|| talk.refused(&format!("{word} answered"), &reply.line))?;
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
async fn read(talk: &Talk<'_>, data: &mut Stream, receive: Option<&Pattern>) -> Told<usize> {
    let progress = talk.begin("the file");
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
                let size = say::count(size as u64, "byte");
                return Err(talk.down(&format!("data connection after {size}: {}", cause(&error))));
            }
        }
    }
    Ok(size)
}

async fn judge(talk: &mut Talk<'_>, dialogue: &DialogueProbe, content: &[u8]) -> Told {
    talk.done(&say::count(content.len() as u64, "byte"));
    let Some(pattern) = &dialogue.receive else { return Ok(talk.up()) };
    let source = pattern.source();
    match matching::is_match(pattern, content, talk.progress()).await {
        Ok(true) => Ok(talk.up()),
        Ok(false) => {
            let begins = say::beginning(content, 80);
            Err(talk.down(&format!("the file does not match /{source}/; it begins with {begins}")))
        }
        Err(limit) => Err(talk.down(&format!("/{source}/: {limit}"))),
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
