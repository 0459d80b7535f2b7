//! A connection for line dialogues: all sizes are limited, and each step is recorded with its duration.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::check::clients::{Clients, handshake_with};
use crate::check::failure::{injected, judge_error, unreachable};
use crate::check::format::{self, spoken};
use crate::check::progress::{CheckStep, PartialContent, Progress};
use crate::net::stream::Stream;
use crate::net::tls::TlsClient;
use crate::net::{cause, dial};
use crate::spec::{DialogueProbe, Probe, Transport};
use crate::value::{Tls, Verdict};

/// The result of a step. The error is the verdict that ends the check, in most cases `Down`.
pub(super) type StepResult<T = Verdict> = Result<T, Verdict>;

/// The longest line in bytes. The protocols allow 512 to 8192.
const MAX_LINE: usize = 16 * 1024;
/// The most lines of a reply.
const MAX_LINES: usize = 1000;
/// The most bytes of a line that are shown.
const SHOWN: usize = 120;

/// A dialogue with one server.
pub(super) struct DialogueSession<'a> {
    stream: Stream,
    progress: &'a Progress,
    /// `smtp 10.0.0.2:25`
    name: String,
    /// The completed steps, each with its duration.
    story: String,
    /// When the current step began.
    step_began: Instant,
    /// Received bytes that are not yet read as lines.
    inbox: Vec<u8>,
    /// The TLS client for data connections, if this connection uses STARTTLS.
    seal: Option<(TlsClient, &'a Tls)>,
}

/// A reply of the protocols that number their replies (RFC 5321 4.2, RFC 959 4.2).
pub(super) struct NumberedReply {
    /// 100 to 599.
    pub(super) code: u16,
    /// Its last line.
    pub(super) line: Vec<u8>,
}

impl<'a> DialogueSession<'a> {
    /// Connects, and does the TLS handshake if the protocol begins with one.
    pub(super) async fn open(
        clients: &Clients,
        probe: &Probe,
        dialogue: &'a DialogueProbe,
        progress: &'a Progress,
    ) -> StepResult<DialogueSession<'a>> {
        let began = Instant::now();
        let name = format!("{} {}", dialogue.as_str(), probe.target);
        progress.connecting(probe.target);
        let stream = dial::connect(probe.target)
            .await
            .map_err(|error| unreachable(&format!("connect to {}", probe.target), &error))?;
        let story = format!("connected in {}", spoken(began.elapsed()));
        progress.connected(CheckStep::Greeting);
        let session = DialogueSession {
            stream: Stream::Plain(stream),
            progress,
            name,
            story,
            step_began: Instant::now(),
            inbox: Vec::new(),
            seal: None,
        };
        match &dialogue.transport {
            Transport::Tls(tls) => {
                let client = clients.of(&tls.policy);
                let client = client.map_err(|error| session.down(&error.to_string()))?;
                session.handshake(client, tls).await
            }
            Transport::Plain | Transport::StartTls(_) => Ok(session),
        }
    }

    /// Switches to TLS after the server has agreed.
    pub(super) async fn seal(self, clients: &Clients, tls: &'a Tls) -> StepResult<DialogueSession<'a>> {
        if !self.inbox.is_empty() {
            return Err(self.down(&injected("STARTTLS", self.inbox.len())));
        }
        let client = clients.of(&tls.policy).map_err(|error| self.down(&error.to_string()))?;
        // Only FTP opens further connections.
        let client = if self.is_ftp() { client.with_memory() } else { client };
        let mut session = self.handshake(client.clone(), tls).await?;
        session.seal = Some((client, tls));
        Ok(session)
    }

    async fn handshake(mut self, client: TlsClient, tls: &Tls) -> StepResult<DialogueSession<'a>> {
        self.step_began = Instant::now();
        self.progress.step(CheckStep::Handshake);
        let Stream::Plain(stream) = self.stream else { return Ok(self) };
        let address = stream.peer_addr().map_err(|error| unreachable(&self.name, &error))?.ip();
        match handshake_with(&client, tls, address, stream, self.progress).await {
            Ok(stream) => {
                self.progress.step(CheckStep::Greeting);
                self.story.push_str(&format!(", TLS in {}", spoken(self.step_began.elapsed())));
                self.step_began = Instant::now();
                Ok(DialogueSession { stream, ..self })
            }
            Err(error) => Err(judge_error(format!("{}: {}, {error}", self.name, self.story), &error)),
        }
    }

    /// Whether the connection switched to TLS, so that data connections must use TLS as well.
    pub(super) fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// Makes a data connection of this dialogue ready, with TLS if the dialogue switched to it.
    pub(super) async fn data(&self, stream: TcpStream) -> StepResult<Stream> {
        let Some((client, tls)) = &self.seal else { return Ok(Stream::Plain(stream)) };
        let address = stream.peer_addr().map_err(|error| unreachable(&self.name, &error))?.ip();
        let sealed = handshake_with(client, tls, address, stream, self.progress).await;
        sealed.map_err(|error| self.failed(&format!("data connection: {error}"), &error))
    }

    /// Sends text. `next` names what is waited for afterwards ("the answer to EHLO").
    pub(super) async fn send(&mut self, text: &str, next: &'static str) -> StepResult<()> {
        self.step_began = Instant::now();
        self.progress.step(CheckStep::Answer(next));
        let sent = async {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.flush().await
        };
        match sent.await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(next, &error)),
        }
    }

    /// The progress of the check.
    pub(super) fn progress(&self) -> &'a Progress {
        self.progress
    }

    /// Begins to receive a content that can be judged at the deadline as well.
    pub(super) fn begin(&self, what: &'static str) -> &'a Progress {
        let said = format!("{}: {}", self.name, self.story);
        self.progress.begin(PartialContent { said, what, ..PartialContent::default() });
        self.progress
    }

    /// Sends a closing command without waiting for the answer.
    pub(super) async fn quit(&mut self, text: &str) {
        if self.stream.write_all(text.as_bytes()).await.is_ok() {
            drop(self.stream.flush().await);
        }
    }

    /// Reads the next line, without its line end.
    pub(super) async fn line(&mut self, what: &'static str) -> StepResult<Vec<u8>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = self.inbox.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.inbox.drain(..=end).collect();
                line.pop();
                if line.ends_with(b"\r") {
                    line.pop();
                }
                return Ok(line);
            }
            if self.inbox.len() > MAX_LINE {
                let limit = format::number(MAX_LINE as u64);
                return Err(self.down(&format!("{what} has a line of more than {limit} bytes")));
            }
            match self.stream.read(&mut buffer).await {
                Ok(0) if self.inbox.is_empty() => {
                    return Err(self.down(&format!("the server closed the connection before {what}")));
                }
                Ok(0) => {
                    let begun = format::beginning(&self.inbox, SHOWN);
                    return Err(
                        self.down(&format!("the server closed the connection within {what}, after {begun}"))
                    );
                }
                Ok(length) => {
                    self.progress.received(&buffer[..length]);
                    self.inbox.extend_from_slice(&buffer[..length]);
                }
                Err(error) => return Err(self.broken(what, &error)),
            }
        }
    }

    /// Reads a numbered reply, which may have several lines.
    pub(super) async fn reply(&mut self, what: &'static str) -> StepResult<NumberedReply> {
        let mut begun = None;
        for _ in 0..MAX_LINES {
            let line = self.line(what).await?;
            let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
            let code: Option<u16> = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            match (code, line.get(3)) {
                // In FTP the lines between the first and the last may begin with anything (RFC 959 4.2).
                (code, _) if self.is_ftp() && begun.is_some() && code != begun => {}
                (Some(code), None | Some(b' ')) => return Ok(NumberedReply { code, line }),
                (Some(_), Some(b'-')) => begun = begun.or(code),
                _ if self.is_ftp() && begun.is_some() => {}
                _ => {
                    let shown = format::beginning(&line, SHOWN);
                    return Err(self.down(&format!("{what} is not a numbered reply: {shown}")));
                }
            }
        }
        Err(self.down(&format!("{what} has more than {MAX_LINES} lines")))
    }

    fn is_ftp(&self) -> bool {
        self.name.starts_with("ftp ")
    }

    /// Records a completed step: `greeting 220 in 1 ms`.
    pub(super) fn done(&mut self, what: &str) {
        self.story.push_str(&format!(", {what} in {}", spoken(self.step_began.elapsed())));
    }

    /// The verdict of a successful dialogue.
    pub(super) fn up(&self) -> Verdict {
        Verdict::up(format!("{}: {}", self.name, self.story))
    }

    /// The verdict of a failed dialogue.
    pub(super) fn down(&self, why: &str) -> Verdict {
        Verdict::down(format!("{}: {}, {why}", self.name, self.story))
    }

    /// The verdict of a dialogue that an I/O or TLS error ended.
    pub(super) fn failed(&self, why: &str, error: &(dyn std::error::Error + 'static)) -> Verdict {
        judge_error(format!("{}: {}, {why}", self.name, self.story), error)
    }

    /// The verdict if the server sends an unexpected line.
    pub(super) fn refused(&self, what: &str, line: &[u8]) -> Verdict {
        self.down(&format!("{what} {}", format::beginning(line, SHOWN)))
    }

    fn broken(&self, what: &str, error: &io::Error) -> Verdict {
        let reason = format!("{}: {}, no {what}: {}", self.name, self.story, cause(error));
        let reason = reason.replace("no the ", "no ");
        judge_error(reason, error)
    }

    /// The addresses of both ends of the connection: ours, then the server's.
    pub(super) fn ends(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let tcp = self.stream.tcp();
        Ok((tcp.local_addr()?, tcp.peer_addr()?))
    }
}
