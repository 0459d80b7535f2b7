//! Writes a large answer in pieces. Only one piece is in memory, and only one answer at a time is rendered: rendering
//! takes turns, while sending does not.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum size of a piece in bytes.
pub const PIECE: usize = 16 * 1024;

/// The turn to render a piece.
#[derive(Debug)]
pub struct RenderTurn {
    rendering: Arc<Semaphore>,
    /// `None`: the semaphore was closed, which does not happen.
    _permit: Option<OwnedSemaphorePermit>,
}

impl RenderTurn {
    pub(super) async fn wait(rendering: Arc<Semaphore>) -> RenderTurn {
        let permit = Arc::clone(&rendering).acquire_owned().await.ok();
        RenderTurn { rendering, _permit: permit }
    }
}

/// Collects what is written, and sends it in pieces. Waits for its turn before it continues. Blocks: use it on a thread
/// for that.
#[derive(Debug)]
pub struct PieceWriter<S> {
    piece: Vec<u8>,
    send: S,
    /// `None` while a piece is sent.
    turn: Option<RenderTurn>,
    rendering: Arc<Semaphore>,
    runtime: Handle,
}

impl<S: FnMut(&[u8]) -> io::Result<()>> PieceWriter<S> {
    /// Creates a writer that gives each piece to `send`. `runtime` waits for turns.
    pub fn new(turn: RenderTurn, runtime: Handle, send: S) -> PieceWriter<S> {
        let rendering = Arc::clone(&turn.rendering);
        PieceWriter { piece: Vec::with_capacity(PIECE), send, turn: Some(turn), rendering, runtime }
    }

    /// Sends the last piece.
    ///
    /// # Errors
    /// As `send`.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()
    }
}

impl<S: FnMut(&[u8]) -> io::Result<()>> Write for PieceWriter<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.turn.is_none() {
            self.turn = Some(self.runtime.block_on(RenderTurn::wait(Arc::clone(&self.rendering))));
        }
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.turn = None;
        if !self.piece.is_empty() {
            (self.send)(&self.piece)?;
            self.piece.clear();
        }
        Ok(())
    }
}

/// Escapes what is written as the inside of a JSON string.
pub(super) struct JsonText<'a>(pub &'a mut dyn Write);

impl Write for JsonText<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut begin = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if *byte >= 0x20 && !b"\"\\".contains(byte) {
                continue;
            }
            self.0.write_all(&bytes[begin..at])?;
            begin = at + 1;
            match byte {
                b'"' => self.0.write_all(b"\\\"")?,
                b'\\' => self.0.write_all(b"\\\\")?,
                b'\n' => self.0.write_all(b"\\n")?,
                byte => write!(self.0, "\\u{byte:04x}")?,
            }
        }
        self.0.write_all(&bytes[begin..])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_are_small_and_sending_needs_no_turn() {
        let rendering = Arc::new(Semaphore::new(1));
        let turn = RenderTurn::wait(Arc::clone(&rendering)).await;
        let (runtime, seen) = (Handle::current(), Arc::clone(&rendering));
        let sent = tokio::task::spawn_blocking(move || {
            let mut pieces = Vec::new();
            let send = |piece: &[u8]| {
                // Another answer can be rendered meanwhile.
                assert_eq!(seen.available_permits(), 1);
                pieces.push(piece.to_vec());
                Ok(())
            };
            let mut writer = PieceWriter::new(turn, runtime, send);
            for number in 0..PIECE {
                write!(writer, "{number} ").unwrap();
            }
            writer.finish().unwrap();
            pieces
        });
        let pieces = sent.await.unwrap();
        assert!(pieces.len() > 4 && pieces.iter().all(|piece| piece.len() <= PIECE));
        let expected: String = (0..PIECE).map(|number| format!("{number} ")).collect();
        assert_eq!(pieces.concat(), expected.into_bytes());
        assert_eq!(rendering.available_permits(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_sent_ends() {
        let turn = RenderTurn::wait(Arc::new(Semaphore::new(1))).await;
        let runtime = Handle::current();
        let written = tokio::task::spawn_blocking(move || {
            let mut writer = PieceWriter::new(turn, runtime, |_| Err(io::ErrorKind::BrokenPipe.into()));
            writer.write_all(&[b'x'; 3 * PIECE])
        });
        assert_eq!(written.await.unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn text_is_escaped_as_json_has_it() {
        for text in ["", "plain", "a \"b\" \\ c\n\td\u{1}e", "ünï\n"] {
            let mut inside = Vec::new();
            JsonText(&mut inside).write_all(text.as_bytes()).unwrap();
            let quoted = format!("\"{}\"", String::from_utf8(inside).unwrap());
            assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        }
    }
}
