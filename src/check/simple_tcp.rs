//! `service=simpletcp`: sends a text, closes the sending side, and expects a line of the answer that matches.

use std::future::pending;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;

use super::failure::unreachable;
use super::progress::{CheckStep, Progress};
use super::{format, matching};
use crate::net::{cause, dial};
use crate::spec::{Probe, SimpleTcpProbe};
use crate::value::{Pattern, Verdict};

/// The most bytes of an answer that are read.
const MAX_ANSWER: usize = 1024 * 1024;

/// The longest line in bytes.
const MAX_LINE: usize = 64 * 1024;

/// Bytes per read. Also the most bytes of lines that are matched before other checks run.
const CHUNK: usize = 8 * 1024;

/// The largest datagram.
const DATAGRAM: usize = 65_536;

/// Sends the request and reads the answer, over TCP or UDP.
pub(super) async fn run(probe: &Probe, simple: &SimpleTcpProbe, progress: &Progress) -> Verdict {
    progress.connecting(probe.target);
    let mut lines = Lines { name: name(probe, simple), receive: simple.receive.as_ref(), ..Lines::default() };
    if simple.udp {
        udp(probe, simple, progress, &mut lines).await
    } else {
        tcp(probe, simple, progress, &mut lines).await
    }
}

/// The name of the probe, which begins each reason.
fn name(probe: &Probe, simple: &SimpleTcpProbe) -> String {
    format!("{} {}", if simple.udp { "udp" } else { "tcp" }, probe.target)
}

async fn tcp(probe: &Probe, simple: &SimpleTcpProbe, progress: &Progress, lines: &mut Lines<'_>) -> Verdict {
    let mut stream = match dial::connect(probe.target).await {
        Ok(stream) => stream,
        Err(error) => return unreachable(&format!("connect to {}", probe.target), &error),
    };
    progress.connected(CheckStep::Send);
    let (reader, mut writer) = stream.split();
    // Send and receive at the same time: a server may answer before it reads, and the answer counts even if it
    // never reads.
    let send = async {
        // A send error is ignored here: reading reports it, after any data that the server sent before.
        if writer.write_all(simple.request.as_bytes()).await.is_ok() {
            progress.step(CheckStep::Line);
            drop(writer.shutdown().await);
        }
        pending::<Verdict>().await
    };
    tokio::select! {
        verdict = receive(reader, progress, lines) => verdict,
        verdict = send => verdict,
    }
}

async fn receive(mut reader: impl AsyncRead + Unpin, progress: &Progress, lines: &mut Lines<'_>) -> Verdict {
    let mut buffer = [0; CHUNK];
    loop {
        let end = match reader.read(&mut buffer).await {
            Ok(0) => return lines.end("the server closed the connection", progress).await,
            Ok(length) => lines.take(&buffer[..length], progress).await,
            Err(error) => return lines.broken(&error, progress).await,
        };
        if let Some(verdict) = end {
            return verdict;
        }
        yield_now().await;
    }
}

async fn udp(probe: &Probe, simple: &SimpleTcpProbe, progress: &Progress, lines: &mut Lines<'_>) -> Verdict {
    let failed = |error: &io::Error| unreachable(&format!("send to udp {}", probe.target), error);
    let socket = match dial::datagrams(probe.target).await {
        Ok(socket) => socket,
        Err(error) => return failed(&error),
    };
    if let Err(error) = socket.send(simple.request.as_bytes()).await {
        return failed(&error);
    }
    progress.step(CheckStep::Datagram);
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // As in the original a datagram is part of a stream: only a newline ends a line.
        match socket.recv(&mut buffer).await {
            Ok(length) => {
                if let Some(verdict) = lines.take(&buffer[..length], progress).await {
                    return verdict;
                }
            }
            Err(error) => return lines.broken(&error, progress).await,
        }
        yield_now().await;
    }
}

/// An answer, split into lines as it arrives.
#[derive(Default)]
struct Lines<'a> {
    name: String,
    receive: Option<&'a Pattern>,
    /// The incomplete line.
    open: Vec<u8>,
    /// The beginning of the first line, for the reason.
    first: Vec<u8>,
    seen: usize,
    bytes: usize,
}

impl Lines<'_> {
    /// Adds bytes. Returns the verdict if a line decides it.
    async fn take(&mut self, bytes: &[u8], progress: &Progress) -> Option<Verdict> {
        progress.received(bytes);
        self.bytes += bytes.len();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.open.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                progress.line();
                let line = std::mem::take(&mut self.open);
                let verdict = self.line(&line, progress).await;
                self.open = line;
                self.open.clear();
                if verdict.is_some() {
                    return verdict;
                }
            } else if self.open.len() > MAX_LINE {
                let line = std::mem::take(&mut self.open);
                let limit = format::number(MAX_LINE as u64);
                let limit = format!(
                    "the answer was cut: at most {limit} bytes of a line are read; request a shorter answer"
                );
                return match self.line(&line, progress).await {
                    Some(verdict) => Some(verdict),
                    None => Some(self.no_match(&limit)),
                };
            }
        }
        if self.bytes < MAX_ANSWER {
            return None;
        }
        let limit = format::number(MAX_ANSWER as u64);
        Some(self.end(&format!("the answer was cut: at most {limit} bytes are read"), progress).await)
    }

    /// Judges one line including its newline, as the original does: `$` matches before it.
    async fn line(&mut self, line: &[u8], progress: &Progress) -> Option<Verdict> {
        self.seen += 1;
        if self.seen == 1 {
            self.first = line[..line.len().min(200)].to_vec();
        }
        let Some(pattern) = self.receive else {
            return Some(Verdict::up(format!("{}: answered {}", self.name, quoted(line))));
        };
        let here = || format!("{}: line {} {}", self.name, format::number(self.seen as u64), quoted(line));
        match matching::is_match(pattern, line, progress).await {
            Ok(true) => Some(Verdict::up(format!("{} matches /{}/", here(), pattern.source()))),
            Ok(false) => None,
            Err(limit) => Some(Verdict::down(format!("{}, but /{}/: {limit}", here(), pattern.source()))),
        }
    }

    /// The verdict at the end of the answer. The last line counts even without a newline.
    async fn end(&mut self, how: &str, progress: &Progress) -> Verdict {
        let last = std::mem::take(&mut self.open);
        if !last.is_empty()
            && let Some(verdict) = self.line(&last, progress).await
        {
            return verdict;
        }
        match self.seen {
            0 => Verdict::down(format!("{}: {how} without an answer", self.name)),
            _ => self.no_match(how),
        }
    }

    /// The verdict after a read error. Data received before counts, as at a normal end.
    async fn broken(&mut self, error: &io::Error, progress: &Progress) -> Verdict {
        match self.seen + self.open.len() {
            0 => unreachable(&format!("{}: no answer", self.name), error),
            _ => self.end(&cause(error), progress).await,
        }
    }

    fn no_match(&self, end: &str) -> Verdict {
        let pattern = self.receive.map(Pattern::source).unwrap_or_default();
        Verdict::down(format!(
            "{}: no line of the answer ({}, {}) matches /{pattern}/; it begins with {}; {end}",
            self.name,
            format::count(self.seen as u64, "line"),
            format::count(self.bytes as u64, "byte"),
            quoted(&self.first)
        ))
    }
}

/// A line as shown in a reason, without its line end.
fn quoted(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    format::beginning(line.strip_suffix(b"\r").unwrap_or(line), 80)
}
