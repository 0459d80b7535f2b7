//! Normalizes heads of answers that the original's library accepts and ours rejects: several blanks in a status
//! line, any HTTP version, a Content-Length that is repeated or not a number, a Transfer-Encoding in HTTP/1.0, and
//! control characters.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes of the status line and the headers together.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// A stream that normalizes heads before they are read. Bodies pass unchanged.
pub(super) struct Lenient<S> {
    stream: S,
    /// The incomplete head. None in a body.
    head: Option<Vec<u8>>,
    /// Normalized bytes. Those from `at` on are not read yet.
    ready: Vec<u8>,
    at: usize,
}

impl<S> Lenient<S> {
    pub(super) fn new(stream: S) -> Lenient<S> {
        Lenient { stream, head: Some(Vec::new()), ready: Vec::new(), at: 0 }
    }

    /// Adds bytes to the head. Releases it when it is complete, or when it is not a head.
    fn take(&mut self, bytes: &[u8]) {
        let Some(mut head) = self.head.take() else { return };
        let new = head.len();
        head.extend_from_slice(bytes);
        self.ready.clear();
        self.at = 0;
        match end(&head, new) {
            Some(end) => {
                let rest = head.split_off(end);
                let (head, interim) = right(&head);
                self.ready = head;
                if interim {
                    // Another head follows.
                    self.head = Some(Vec::new());
                    self.take_more(&rest);
                } else {
                    self.ready.extend_from_slice(&rest);
                }
            }
            None if bytes.is_empty() || !may_be_http(&head) || head.len() > MAX_HEAD => self.ready = head,
            None => self.head = Some(head),
        }
    }

    /// Adds the bytes that follow an interim head, which stays ready before them.
    fn take_more(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        let before = std::mem::take(&mut self.ready);
        self.take(rest);
        self.ready.splice(0..0, before);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let ready = &self.ready[self.at..];
            if !ready.is_empty() {
                let length = ready.len().min(buffer.remaining());
                buffer.put_slice(&ready[..length]);
                self.at += length;
                return Poll::Ready(Ok(()));
            }
            if self.head.is_none() {
                return Pin::new(&mut self.stream).poll_read(context, buffer);
            }
            let mut chunk = [0; 4096];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk))?;
            self.take(chunk.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Where a head ends, if it does. The first `new` bytes were searched before.
fn end(head: &[u8], new: usize) -> Option<usize> {
    let from = new.saturating_sub(3);
    (from..head.len()).find_map(|at| {
        let rest = &head[at..];
        [&b"\n\r\n"[..], b"\n\n"].iter().find(|end| rest.starts_with(end)).map(|end| at + end.len())
    })
}

fn may_be_http(head: &[u8]) -> bool {
    let start = b"HTTP/";
    head.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// The normalized head, and whether it is an interim one (1xx).
fn right(head: &[u8]) -> (Vec<u8>, bool) {
    let head = cleaned(head);
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let lines: Vec<&[u8]> = lines.collect();
    let is_encoded = lines.iter().any(|line| value(line, b"transfer-encoding").is_some());
    let (mut out, interim) = match status(first, is_encoded) {
        Some((line, interim)) => (line, interim),
        None => (first.to_vec(), false),
    };
    // The last of several counts. A value that is not a number is dropped: then the body ends with the connection.
    let last = lines.iter().rposition(|line| length(line).is_some());
    for (at, line) in lines.iter().enumerate() {
        let stays = match length(line) {
            None => true,
            Some(value) => Some(at) == last && is_number(value),
        };
        if stays {
            out.extend_from_slice(line);
        }
    }
    (out, interim)
}

/// The head with `?` for the bytes that the library rejects: a NUL, and a carriage return that does not end a line.
fn cleaned(head: &[u8]) -> Vec<u8> {
    let next = head.iter().skip(1).map(Some).chain([None]);
    let clean = |(byte, next): (&u8, Option<&u8>)| match (byte, next) {
        (0, _) => b'?',
        (b'\r', Some(next)) if *next != b'\n' => b'?',
        (byte, _) => *byte,
    };
    head.iter().zip(next).map(clean).collect()
}

/// The status line with one blank between its parts, a known version, and a phrase without control characters. None
/// if it is not a status line. The library ignores Transfer-Encoding in HTTP/1.0, so the version becomes 1.1 if
/// there is one.
fn status(line: &[u8], is_encoded: bool) -> Option<(Vec<u8>, bool)> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = line.trim_ascii_end();
    let version = line.strip_prefix(b"HTTP/")?;
    let blank = version.iter().position(is_blank)?;
    let (version, rest) = version.split_at(blank);
    if !version.first().is_some_and(u8::is_ascii_digit)
        || !version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let (code, words) = rest.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) || !words.first().is_none_or(is_blank) {
        return None;
    }
    let minor: &[u8] = if version == b"1.0" && !is_encoded { b"0" } else { b"1" };
    let interim = code[0] == b'1' && code != b"101";
    let shown = |byte: &u8| if byte.is_ascii_control() && *byte != b'\t' { b'?' } else { *byte };
    let words: Vec<u8> = words.trim_ascii_start().iter().map(shown).collect();
    let line = [b"HTTP/1.", minor, b" ", code, b" ", &words, b"\r\n"].concat();
    Some((line, interim))
}

/// The value of a header line, if that is a Content-Length.
fn length(line: &[u8]) -> Option<&[u8]> {
    value(line, b"content-length")
}

/// The value of a header line, if it has this name.
fn value<'a>(line: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    name.trim_ascii_end().eq_ignore_ascii_case(wanted).then(|| value[1..].trim_ascii())
}

/// Whether a Content-Length is usable: 1 to 18 digits. No body of a larger length ever ends.
fn is_number(value: &[u8]) -> bool {
    (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn put_right(head: &str) -> String {
        String::from_utf8(right(head.as_bytes()).0).unwrap()
    }

    #[test]
    fn a9_heads_are_put_right() {
        for (given, expected) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
            ("HTTP/1.1  200 \t OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
            ("HTTP/1.0\t200\r\n\r\n", "HTTP/1.0 200 \r\n\r\n"),
            ("HTTP/2 200 OK\n\n", "HTTP/1.1 200 OK\r\n\n"),
            ("HTTP/1.10 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n"),
            ("HTTP/1.1 200 \0O\x1bK\r\nA\0: b\rc\0\r\n\r\n", "HTTP/1.1 200 ?O?K\r\nA?: b?c?\r\n\r\n"),
            (
                "HTTP/1.0 200 OK\r\ntransfer-Encoding : chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\ntransfer-Encoding : chunked\r\n\r\n",
            ),
            ("HTTP/1.1 200OK\r\n\r\n", "HTTP/1.1 200OK\r\n\r\n"),
            ("HTTP/x 200 OK\r\n\r\n", "HTTP/x 200 OK\r\n\r\n"),
            (
                "HTTP/1.1 200 \r\nContent-Length: 4\r\ncontent-length: 2\r\n\r\n",
                "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n",
            ),
            ("HTTP/1.1 200 \r\nContent-Length: many\r\nB: c\r\n\r\n", "HTTP/1.1 200 \r\nB: c\r\n\r\n"),
            ("HTTP/1.1 200 \r\nContent-Length: 4, 2\r\n\r\n", "HTTP/1.1 200 \r\n\r\n"),
            ("HTTP/1.1 200 \r\nContent-Length:\r\n\r\n", "HTTP/1.1 200 \r\n\r\n"),
            ("HTTP/1.1 200 \r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 200 \r\n\r\n"),
        ] {
            assert_eq!(put_right(given), expected, "{given:?}");
        }
    }

    /// The result does not depend on how the bytes are split.
    #[tokio::test]
    async fn a9_interim_heads_and_bodies_pass() {
        let given = b"HTTP/1.1  100 Go\r\n\r\nHTTP/2  200 OK\r\n\r\nHTTP/2  body\r\n\r\n";
        let expected = b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/2  body\r\n\r\n";
        for size in 1..given.len() {
            let (mut server, client) = tokio::io::duplex(size);
            let write = tokio::spawn(async move { server.write_all(given).await });
            let mut read = Vec::new();
            Lenient::new(client).read_to_end(&mut read).await.unwrap();
            write.await.unwrap().unwrap();
            assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(expected), "{size}");
        }
    }
}
