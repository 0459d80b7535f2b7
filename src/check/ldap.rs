//! `service=ldap` and `ldaps` (RFC 4511): a bind, and a search for one entry. Its name must match `receive`.

use std::io::ErrorKind;

use futures_util::{SinkExt, StreamExt};
use ldap3_proto::LdapCodec;
use ldap3_proto::proto::{
    LdapBindCred, LdapBindRequest, LdapDerefAliases, LdapExtendedRequest, LdapFilter, LdapMsg, LdapOp,
    LdapResult, LdapResultCode, LdapSearchRequest, LdapSearchScope,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

use super::clients::Clients;
use super::failure::{injected, judge_error, unreachable};
use super::progress::{CheckStep, Progress};
use super::{format, matching};
use crate::net::stream::Stream;
use crate::net::{cause, dial};
use crate::spec::{LdapProbe, Probe, Transport};
use crate::value::Verdict;

/// The largest message in bytes, and its deepest nesting.
const MAX_MESSAGE: usize = 64 * 1024;
const MAX_DEPTH: usize = 32;
/// The most messages that are read for one answer.
const MAX_MESSAGES: usize = 100;

/// The original's words for the monitor file.
const NOT_CONNECTED: &str = "Connection failed";
const NOT_BOUND: &str = "Bind failed";
pub(super) const NO_ANSWER: &str = "No answer received";

/// A session with a directory server.
struct LdapSession<S> {
    name: String,
    messages: Framed<S, LdapCodec>,
    last_id: i32,
}

/// Binds, searches, and judges the answer.
pub(super) async fn run(clients: &Clients, probe: &Probe, ldap: &LdapProbe, progress: &Progress) -> Verdict {
    ask(clients, probe, ldap, progress).await.unwrap_or_else(|verdict| verdict)
}

/// `Err` is a verdict as well.
async fn ask(
    clients: &Clients,
    probe: &Probe,
    ldap: &LdapProbe,
    progress: &Progress,
) -> Result<Verdict, Verdict> {
    let mut directory = connect(clients, probe, ldap, progress).await?;
    progress.step(CheckStep::Answer("the answer to Bind"));
    directory.bind(ldap).await?;
    progress.step(CheckStep::Answer("the answer to Search"));
    let dn = directory.search(&ldap.base).await?;
    drop(directory.send(LdapOp::UnbindRequest).await);
    judge(&directory.name, ldap, &dn, progress).await
}

async fn connect(
    clients: &Clients,
    probe: &Probe,
    ldap: &LdapProbe,
    progress: &Progress,
) -> Result<LdapSession<Stream>, Verdict> {
    let target = probe.target;
    let name = format!("{} {target}", if ldap.transport.is_tls() { "ldaps" } else { "ldap" });
    let stream = dial::connect(target)
        .await
        .map_err(|error| unreachable(&format!("connect to {target}"), &error).with_monitor(NOT_CONNECTED))?;
    let handshake = async |tls, stream| {
        progress.connected(CheckStep::Handshake);
        clients
            .handshake(tls, target.ip(), stream, progress)
            .await
            .map_err(|error| judge_error(format!("{name}: {error}"), &error).with_monitor(NOT_CONNECTED))
    };
    let stream = match &ldap.transport {
        Transport::Plain => {
            progress.connected(CheckStep::Answer("the answer to Bind"));
            Stream::Plain(stream)
        }
        Transport::Tls(tls) => handshake(tls, stream).await?,
        Transport::StartTls(tls) => {
            progress.connected(CheckStep::Answer("the answer to StartTLS"));
            handshake(tls, start_tls(&name, stream).await?).await?
        }
    };
    Ok(LdapSession::new(name, stream))
}

/// Requests the switch to TLS (RFC 4511 4.14).
async fn start_tls(name: &str, stream: TcpStream) -> Result<TcpStream, Verdict> {
    const OID: &str = "1.3.6.1.4.1.1466.20037";
    let mut directory = LdapSession::new(name.to_owned(), stream);
    let request = LdapOp::ExtendedRequest(LdapExtendedRequest { name: OID.to_owned(), value: None });
    match directory.request("StartTLS", NOT_CONNECTED, request).await? {
        LdapOp::ExtendedResponse(answer) if answer.res.code == LdapResultCode::Success => {}
        LdapOp::ExtendedResponse(answer) => {
            let why = format!("the server does not offer TLS here: StartTLS: {}", result(&answer.res));
            return Err(directory.down(&why, NOT_CONNECTED));
        }
        _ => return Err(directory.down("StartTLS: the answer is not a StartTLS response", NOT_CONNECTED)),
    }
    // Bytes after the answer are not protected by TLS: an attacker may have sent them.
    match directory.messages.read_buffer().len() {
        0 => Ok(directory.messages.into_parts().io),
        more => Err(directory.down(&injected("StartTLS", more), NOT_CONNECTED)),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> LdapSession<S> {
    fn new(name: String, stream: S) -> LdapSession<S> {
        let codec = LdapCodec::new(Some(MAX_MESSAGE), Some(MAX_DEPTH));
        LdapSession { name, messages: Framed::new(stream, codec), last_id: 0 }
    }

    async fn send(&mut self, op: LdapOp) -> std::io::Result<()> {
        self.last_id += 1;
        self.messages.send(LdapMsg { msgid: self.last_id, op, ctrl: Vec::new() }).await
    }

    /// Sends a request and returns the first message that answers it.
    async fn request(&mut self, what: &str, monitor: &str, op: LdapOp) -> Result<LdapOp, Verdict> {
        if let Err(error) = self.send(op).await {
            return Err(self.broken(what, monitor, &error));
        }
        self.answer(what, monitor).await
    }

    /// The next message that belongs to the last request.
    async fn answer(&mut self, what: &str, monitor: &str) -> Result<LdapOp, Verdict> {
        for _ in 0..MAX_MESSAGES {
            match self.messages.next().await {
                Some(Ok(message)) if message.msgid == self.last_id => return Ok(message.op),
                // Message ID 0 is unsolicited, such as a notice of disconnection (RFC 4511 4.4).
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.broken(what, monitor, &error)),
                None => return Err(self.down(&format!("{what}: the server closed the connection"), monitor)),
            }
        }
        Err(self.down(&format!("{what}: no answer within {MAX_MESSAGES} messages"), monitor))
    }

    async fn bind(&mut self, ldap: &LdapProbe) -> Result<(), Verdict> {
        // Anonymous bind unless both are set, as in the original.
        let (login, passwd) = match (ldap.login.as_str(), ldap.passwd.reveal()) {
            ("", _) | (_, "") => ("", ""),
            both => both,
        };
        let cred = LdapBindCred::Simple(passwd.to_owned());
        let request = LdapOp::BindRequest(LdapBindRequest { version: 3, dn: login.to_owned(), cred });
        match self.request("Bind", NOT_BOUND, request).await? {
            LdapOp::BindResponse(answer) if answer.res.code == LdapResultCode::Success => Ok(()),
            LdapOp::BindResponse(answer) => {
                Err(self.down(&format!("Bind: {}", result(&answer.res)), NOT_BOUND))
            }
            _ => Err(self.down("Bind: the answer is not a Bind response", NOT_BOUND)),
        }
    }

    /// The name of the single entry at `base`.
    async fn search(&mut self, base: &str) -> Result<String, Verdict> {
        let what = format!("Search for {}", format::beginning(base.as_bytes(), 200));
        let request = LdapOp::SearchRequest(LdapSearchRequest {
            base: base.to_owned(),
            scope: LdapSearchScope::Base,
            // As in the original's library, an alias is resolved to its object.
            aliases: LdapDerefAliases::FindingBaseObj,
            sizelimit: 0,
            timelimit: 0,
            typesonly: false,
            filter: LdapFilter::Present("objectClass".to_owned()),
            // Only the name is used, so no attributes are requested (RFC 4511 4.5.1.8).
            attrs: vec!["1.1".to_owned()],
        });
        let mut answer = self.request(&what, NO_ANSWER, request).await?;
        let mut found = Vec::new();
        for _ in 0..MAX_MESSAGES {
            match answer {
                LdapOp::SearchResultEntry(entry) => found.push(entry.dn),
                LdapOp::SearchResultReference(_) => {}
                LdapOp::SearchResultDone(done) if done.code == LdapResultCode::Success => {
                    return match <[String; 1]>::try_from(found) {
                        Ok([dn]) => Ok(dn),
                        Err(found) => {
                            Err(self
                                .down(&format!("{what}: {} entries instead of one", found.len()), NO_ANSWER))
                        }
                    };
                }
                LdapOp::SearchResultDone(done) => {
                    return Err(self.down(&format!("{what}: {}", result(&done)), NO_ANSWER));
                }
                _ => {
                    return Err(self.down(&format!("{what}: the answer is not a Search response"), NO_ANSWER));
                }
            }
            answer = self.answer(&what, NO_ANSWER).await?;
        }
        Err(self.down(&format!("{what}: more than {MAX_MESSAGES} entries"), NO_ANSWER))
    }

    fn down(&self, why: &str, monitor: &str) -> Verdict {
        Verdict::down(format!("{}: {why}", self.name)).with_monitor(monitor)
    }

    fn broken(&self, what: &str, monitor: &str, error: &std::io::Error) -> Verdict {
        let of_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        let why = match error.kind() {
            _ if of_tls || error.raw_os_error().is_some() => cause(error),
            ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            // The library gives no details.
            _ => "the answer is not LDAP".to_owned(),
        };
        let reason = format!("{}: {what}: {why}", self.name);
        judge_error(reason, error).with_monitor(monitor)
    }
}

async fn judge(name: &str, ldap: &LdapProbe, dn: &str, progress: &Progress) -> Result<Verdict, Verdict> {
    let shown = format::beginning(dn.as_bytes(), 200);
    let Some(pattern) = &ldap.receive else {
        return Ok(Verdict::up(format!("{name}: found {shown}")).with_monitor("Success"));
    };
    let source = pattern.source();
    match matching::is_match(pattern, dn.as_bytes(), progress).await {
        Ok(true) => Ok(Verdict::up(format!("{name}: {shown} matches /{source}/")).with_monitor("Success")),
        Ok(false) => Err(Verdict::down(format!("{name}: {shown} does not match /{source}/"))
            .with_monitor("Response mismatch")),
        Err(limit) => Err(Verdict::down(format!("{name}: {shown}, but /{source}/: {limit}"))),
    }
}

/// `result code 49 (invalidCredentials)` (RFC 4511 4.1.9), with the server's message.
fn result(result: &LdapResult) -> String {
    let text = match result.message.as_str() {
        "" => String::new(),
        text => format!(" {}", format::beginning(text.as_bytes(), 100)),
    };
    let name = format!("{:?}", result.code);
    let name = name.char_indices().map(|(at, c)| if at == 0 { c.to_ascii_lowercase() } else { c });
    format!("result code {} ({}){text}", result.code.clone() as i64, name.collect::<String>())
}
