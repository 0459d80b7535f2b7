//! One connection: a request is read, the loop is asked for a value, and the answer is written on a thread of its own, so that
//! neither a slow reader nor a large answer holds up the loop.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use super::protocol::{Answer, ErrorCode, Request, VERSION, parse};
use super::rights::{Peer, Right, Rights};
use crate::report::{ServiceView, Snapshot, View, VirtualService};
use crate::value::VirtualId;

/// A process that asks and does not go on, or does not read its answer, is left alone after this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// A command line of the release before sends nothing, and gets its answer after this time.
const SILENCE: Duration = Duration::from_millis(300);
/// Bytes of a request.
const LONGEST: u64 = 64 * 1024;

/// What the loop is asked for.
#[derive(Debug)]
pub enum Question {
    /// The state of all services.
    View(Reply<Arc<View>>),
    /// The state of one service, and when that was; none where there is no such.
    Service(VirtualId, Reply<Option<(Arc<ServiceView>, Instant)>>),
    /// The state in one line.
    Status(Reply<String>),
    /// Reads the configuration again.
    Reload,
}

/// Where an answer goes.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<T>);

impl<T> Reply<T> {
    /// Gives the answer. The asking process may be gone.
    pub fn give(self, value: T) {
        let _ = self.0.send(value);
    }
}

/// What all sessions share.
#[derive(Clone)]
pub(super) struct Shared {
    pub questions: mpsc::Sender<Question>,
    pub events: broadcast::Sender<Arc<str>>,
    pub rights: Arc<Rights>,
}

/// Serves one connection to its end.
pub(super) async fn serve(stream: UnixStream, shared: Shared) {
    let Ok(credentials) = stream.peer_cred() else { return };
    let peer = Peer { pid: credentials.pid(), uid: credentials.uid(), gid: credentials.gid() };
    let mut reader = BufReader::new(stream.take(LONGEST));
    let mut line = String::new();
    let first = timeout(SILENCE, reader.read_line(&mut line)).await;
    let is_silent = first.is_err() && line.is_empty();
    if !is_silent && !line.ends_with('\n') {
        match timeout(PATIENCE, reader.read_line(&mut line)).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
    }
    let stream = reader.into_inner().into_inner();
    if is_silent {
        if shared.rights.allows(peer, Right::Read)
            && let Some(view) = shared.ask(Question::View).await
        {
            write(stream, move || serde_json::to_string(&Snapshot::of(&view)).unwrap_or_default()).await;
        }
        return;
    }
    let request = match parse(line.trim_end()) {
        Ok(request) => request,
        Err(answer) => return write(stream, move || answer.line()).await,
    };
    if !shared.rights.allows(peer, request.right()) {
        let what = serde_json::to_value(&request).unwrap_or_default()["request"].clone();
        warn!("Control: {what} refused to {}", peer.describe());
        let message = format!("user {} may not do that; see [control] in the settings", peer.uid);
        let answer = Answer::failure(ErrorCode::Forbidden, message);
        return write(stream, move || answer.line()).await;
    }
    match request {
        Request::Events => follow(stream, shared.events.subscribe()).await,
        request => {
            let render = shared.answer(request, peer).await;
            write(stream, render).await;
        }
    }
}

/// An answer, put into words where that holds up nothing.
type Render = Box<dyn FnOnce() -> String + Send>;

impl Shared {
    async fn ask<T>(&self, question: impl FnOnce(Reply<T>) -> Question) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(question(Reply(reply))).await.ok()?;
        answer.await.ok()
    }

    async fn answer(&self, request: Request, peer: Peer) -> Render {
        match request {
            Request::Version => {
                rendered(|| json!({ "program": env!("CARGO_PKG_VERSION"), "protocol": VERSION }))
            }
            Request::Status => match self.ask(Question::Status).await {
                Some(line) => rendered(move || json!({ "status": line })),
                None => stopping(),
            },
            Request::Show { service: None } => match self.ask(Question::View).await {
                Some(view) => rendered(move || Snapshot::of(&view)),
                None => stopping(),
            },
            Request::Show { service: Some(name) } => self.show(name).await,
            Request::Reload => {
                info!("Control: reload, asked for by {}", peer.describe());
                match self.questions.send(Question::Reload).await {
                    Ok(()) => rendered(|| json!({ "reload": "started" })),
                    Err(_) => stopping(),
                }
            }
            Request::Events => stopping(),
        }
    }

    async fn show(&self, name: String) -> Render {
        let view = match name.parse::<VirtualId>() {
            Ok(id) => match self.ask(|reply| Question::Service(id, reply)).await {
                Some(view) => view,
                None => return stopping(),
            },
            Err(_) => None,
        };
        match view {
            Some((view, at)) => rendered(move || VirtualService::of(&view, at)),
            None => Box::new(move || {
                let message = format!("no virtual service {name:?}; show without a service lists them");
                Answer::failure(ErrorCode::NotFound, message).line()
            }),
        }
    }
}

fn rendered<T: Serialize>(value: impl FnOnce() -> T + Send + 'static) -> Render {
    Box::new(move || Answer::line_of(&value()))
}

fn stopping() -> Render {
    Box::new(|| Answer::failure(ErrorCode::Stopping, "the daemon ends").line())
}

/// Gives events on until the other end is closed or does not read.
async fn follow(stream: UnixStream, mut events: broadcast::Receiver<Arc<str>>) {
    let (mut reader, mut writer) = stream.into_split();
    let mut byte = [0; 1];
    loop {
        let line = tokio::select! {
            event = events.recv() => match event {
                Ok(line) => line,
                Err(broadcast::error::RecvError::Lagged(count)) => Arc::from(Answer::lost(count).line()),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            read = reader.read(&mut byte) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            },
        };
        if !matches!(timeout(PATIENCE, writer.write_all(line.as_bytes())).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Renders and writes an answer on another thread, and closes the connection.
async fn write(stream: UnixStream, render: impl FnOnce() -> String + Send + 'static) {
    let written = tokio::task::spawn_blocking(move || {
        let stream = stream.into_std()?;
        send(&stream, &render())
    });
    // The asking process may be gone.
    drop(written.await);
}

fn send(mut stream: &net::UnixStream, text: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Both)
}
