//! One connection: reads a request, gets a value from the loop, and renders the answer on another thread, so that
//! neither a slow reader nor a large answer delays the loop. A large answer is rendered in pieces, as it is read.

#![expect(clippy::disallowed_methods, reason = "an answer has a deadline")]

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::timeout;
use tracing::{info, warn};

use super::access::DaemonAccess;
use super::pieces::{JsonText, PieceWriter, RenderTurn};
use super::protocol::{Answer, ControlRequest, CounterDetail, ErrorCode, ServerTarget, VERSION, parse};
use super::request::{LoopRequest, ReplyChannel, Steered};
use super::rights::{ClientProcess, Right, Rights};
use crate::health::Owner;
use crate::report::{self, Counters, StoryReport, VirtualService};
use crate::value::VirtualId;

/// The connection is closed if the client does not complete its request, or reads nothing of its answer, within this
/// time.
const PATIENCE: Duration = Duration::from_secs(5);
/// The command line of version 0.1 sends no request. It is answered after this time, because a current client on a
/// busy machine may need some time to send its request.
const SILENCE: Duration = Duration::from_secs(1);
/// When the daemon stops, a client that has connected has this time to send its request.
const LAST_REQUEST: Duration = Duration::from_millis(100);
/// After an answer, unread input is discarded for this time.
const REST: Duration = Duration::from_millis(300);
/// Time limit for a whole answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Bytes of an answer per write: fewer than a socket buffer holds.
const PIECE: usize = 64 * 1024;
/// Maximum size of a request in bytes.
const LONGEST: u64 = 64 * 1024;

/// The state that all sessions share.
#[derive(Clone)]
pub(super) struct SessionContext {
    pub access: DaemonAccess,
    pub rights: Arc<Rights>,
    /// One permit for each client that follows events.
    pub followers: Arc<Semaphore>,
}

/// The client that requests a change.
#[derive(Default)]
struct Writer {
    may_write: bool,
    owner: Option<Owner>,
    description: String,
}

/// Serves one connection to its end. A daemon that stops waits for it, up to a limit. A connection that follows events
/// returns its permit, so that it does not block other clients.
pub(super) async fn serve(stream: UnixStream, shared: SessionContext, place: OwnedSemaphorePermit) {
    let busy = shared.access.busy();
    let Ok(credentials) = stream.peer_cred() else { return };
    let peer = ClientProcess::of(&credentials);
    let (rights, right) = (Arc::clone(&shared.rights), Right::Read);
    // The group database may be on the network.
    let may_read = tokio::task::spawn_blocking(move || rights.allows(peer, right)).await.unwrap_or(false);
    if !may_read {
        let message = format!("user {} has no right to read; see [control] in the settings", peer.uid);
        let answer = Answer::failure(ErrorCode::Forbidden, message);
        return write(stream, move || answer.line()).await;
    }
    let mut reader = BufReader::new(stream.take(LONGEST));
    let received = tokio::select! {
        biased;
        received = receive(&mut reader) => received,
        () = shared.access.stopping_for(LAST_REQUEST) => return,
    };
    let stream = reader.into_inner().into_inner();
    let line = match received {
        Received::Line(line) => line,
        Received::Silence => {
            let request = ControlRequest::Show { service: None, counters: CounterDetail::None };
            return serve_large(stream, &shared, &request, true).await;
        }
        Received::End => return,
    };
    let request = match parse(String::from_utf8_lossy(&line).trim_end()) {
        Ok(request) => request,
        Err(answer) => return write(stream, move || answer.line()).await,
    };
    if let Err(answer) = request.check() {
        return write(stream, move || answer.line()).await;
    }
    let who = if request.right() == Right::Write { shared.writer(peer).await } else { Writer::default() };
    if request.right() == Right::Write && !who.may_write {
        warn!("Control: {request}, requested by {}: refused, no right to write", who.description);
        let message = format!("user {} has no right to write; see [control] in the settings", peer.uid);
        let answer = Answer::failure(ErrorCode::Forbidden, message);
        return write(stream, move || answer.line()).await;
    }
    match request {
        ControlRequest::Events => match Arc::clone(&shared.followers).try_acquire_owned() {
            Ok(_follows) => {
                drop((place, busy));
                follow(stream, &shared.access).await;
            }
            Err(_) => {
                let message = "too many programs follow the events of this daemon; stop one of them";
                write(stream, move || Answer::failure(ErrorCode::Busy, message).line()).await;
            }
        },
        ControlRequest::Show { service: None, .. } | ControlRequest::Metrics => {
            serve_large(stream, &shared, &request, false).await;
        }
        request => {
            let render = shared.answer(request, who).await;
            write(stream, render).await;
        }
    }
}

/// What came from a client.
enum Received {
    Line(Vec<u8>),
    /// It waits for an answer without a request.
    Silence,
    /// It closed the connection, or did not complete its request.
    End,
}

async fn receive(reader: &mut BufReader<Take<UnixStream>>) -> Received {
    if timeout(SILENCE, reader.fill_buf()).await.is_err() {
        return Received::Silence;
    }
    let mut line = Vec::new();
    match timeout(PATIENCE, reader.read_until(b'\n', &mut line)).await {
        Ok(Ok(1..)) => Received::Line(line),
        _ => Received::End,
    }
}

/// Writes an answer piece by piece.
type WriteAnswer = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// Answers a request about all services. Only one such request asks the loop at a time, and only one answer is rendered
/// at a time. `is_bare`: the client is the command line of version 0.1 and knows no answer around the state.
async fn serve_large(stream: UnixStream, shared: &SessionContext, request: &ControlRequest, is_bare: bool) {
    let answer: Option<(RenderTurn, WriteAnswer)> = match request {
        ControlRequest::Metrics => shared.access.scrape().await.map(|(turn, scrape)| {
            let write = move |to: &mut dyn Write| {
                write!(to, "{{\"v\":{VERSION},\"answer\":{{\"metrics\":\"")?;
                scrape.write(&mut JsonText(to))?;
                to.write_all(b"\"}}\n")
            };
            (turn, Box::new(write) as WriteAnswer)
        }),
        _ => shared.access.view().await.map(|(turn, view)| {
            let counters = shared.counters(detail(request));
            let write = move |to: &mut dyn Write| {
                let counters = counters(None);
                if is_bare {
                    return report::write_state(&view, &counters, to);
                }
                write!(to, "{{\"v\":{VERSION},\"answer\":")?;
                report::write_state(&view, &counters, to)?;
                to.write_all(b"}\n")
            };
            (turn, Box::new(write) as WriteAnswer)
        }),
    };
    match answer {
        Some((turn, answer)) => write_large(stream, turn, answer).await,
        None => write(stream, stopping()).await,
    }
}

/// What a request wants of the kernel's counters.
fn detail(request: &ControlRequest) -> CounterDetail {
    match request {
        ControlRequest::Show { counters, .. } => *counters,
        ControlRequest::ShowServer(_) => CounterDetail::Traffic,
        _ => CounterDetail::None,
    }
}

/// Renders an answer, on a thread that may block.
type Render = Box<dyn FnOnce() -> String + Send>;

impl SessionContext {
    /// Looks up the client's user. Not on the loop's thread: the user database may be on the network.
    async fn writer(&self, peer: ClientProcess) -> Writer {
        let rights = Arc::clone(&self.rights);
        let look_up = move || Writer {
            may_write: rights.allows(peer, Right::Write),
            owner: Some(peer.owner()),
            description: peer.describe(),
        };
        tokio::task::spawn_blocking(look_up).await.unwrap_or_default()
    }

    async fn answer(&self, request: ControlRequest, who: Writer) -> Render {
        match request {
            ControlRequest::Version => {
                rendered(|| json!({ "program": env!("CARGO_PKG_VERSION"), "protocol": VERSION }))
            }
            ControlRequest::Status => match self.access.ask(LoopRequest::Status).await {
                Some(line) => rendered(move || json!({ "status": line })),
                None => stopping(),
            },
            ControlRequest::Show { service: Some(name), counters } => self.show(name, counters).await,
            ControlRequest::ShowServer(target) => self.story(target).await,
            ControlRequest::Reload => {
                info!("Control: reload, requested by {}", who.description);
                match self.access.send(LoopRequest::Reload).await {
                    true => rendered(|| json!({ "reload": "started" })),
                    false => stopping(),
                }
            }
            ControlRequest::Plan => match self.access.ask(LoopRequest::Plan).await {
                Some(Ok(plan)) => rendered(move || plan),
                Some(Err(failure)) => Box::new(move || Answer::of_failure(failure).line()),
                None => stopping(),
            },
            ControlRequest::Override(request) => {
                let what = request.to_string();
                self.steer(&what, who, |owner, reply| LoopRequest::Override(request, owner, reply)).await
            }
            ControlRequest::Undo(target) => {
                let what = format!("undo {target}");
                self.steer(&what, who, |owner, reply| LoopRequest::Undo(target, owner, reply)).await
            }
            // These are answered elsewhere.
            ControlRequest::Events | ControlRequest::Metrics | ControlRequest::Show { service: None, .. } => {
                stopping()
            }
        }
    }

    async fn steer(
        &self,
        what: &str,
        who: Writer,
        question: impl FnOnce(Owner, ReplyChannel<Steered>) -> LoopRequest,
    ) -> Render {
        let Some(owner) = who.owner else { return stopping() };
        let Some(result) = self.access.carry_out(|reply| question(owner, reply)).await else {
            return stopping();
        };
        let outcome = result
            .as_ref()
            .map_or_else(|failure| format!("refused: {}", failure.message), |_| "done".to_owned());
        info!("Control: {what}, requested by {}: {outcome}", who.description);
        match result {
            Ok(done) => rendered(move || done),
            Err(failure) => Box::new(move || Answer::of_failure(failure).line()),
        }
    }

    /// Reads the counters of one service or of all, on a thread that may block. None, if the request wants none or they
    /// cannot be read.
    fn counters(&self, detail: CounterDetail) -> impl FnOnce(Option<VirtualId>) -> Counters + Send + 'static {
        let source = self.access.counters();
        move |service| match detail {
            CounterDetail::None => Counters::default(),
            _ => source.read(service, detail == CounterDetail::Traffic).unwrap_or_default(),
        }
    }

    async fn story(&self, target: ServerTarget) -> Render {
        let service = target.service.as_ref().and_then(|service| service.parse().ok());
        match self.access.ask(|reply| LoopRequest::Story(target, reply)).await {
            None => stopping(),
            Some(Ok(story)) => {
                let counters = self.counters(CounterDetail::Traffic);
                rendered(move || StoryReport::of(&story, &counters(service)))
            }
            Some(Err(failure)) => Box::new(move || Answer::of_failure(failure).line()),
        }
    }

    async fn show(&self, name: String, detail: CounterDetail) -> Render {
        let view = match name.parse::<VirtualId>() {
            Ok(id) => match self.access.ask(|reply| LoopRequest::Service(id, reply)).await {
                Some(view) => view,
                None => return stopping(),
            },
            Err(_) => None,
        };
        match view {
            Some((view, at)) => {
                let counters = self.counters(detail);
                rendered(move || {
                    let counters = counters(Some(view.id));
                    VirtualService::of(&view, at).with_counters(&view, &counters)
                })
            }
            None => Box::new(move || {
                let message = format!("no virtual service {name:?}; `show` without a service lists all");
                Answer::failure(ErrorCode::NotFound, message).line()
            }),
        }
    }
}

fn rendered<T: Serialize>(value: impl FnOnce() -> T + Send + 'static) -> Render {
    Box::new(move || Answer::line_of(&value()))
}

fn stopping() -> Render {
    Box::new(|| Answer::failure(ErrorCode::Stopping, "the daemon is stopping").line())
}

/// Sends events until the client closes the connection or stops reading, or the daemon stops.
async fn follow(stream: UnixStream, access: &DaemonAccess) {
    let mut events = access.follow();
    let (mut reader, mut writer) = stream.into_split();
    let mut byte = [0; 1];
    // No event is missed after this line.
    let started = Answer::line_of(&json!({ "events": "started" }));
    if writer.write_all(started.as_bytes()).await.is_err() {
        return;
    }
    loop {
        let line = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => format!("{{\"v\":{VERSION},\"event\":{event}}}\n"),
                Err(broadcast::error::RecvError::Lagged(count)) => Answer::lost(count).line(),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            read = reader.read(&mut byte) => match read {
                // A client that follows events sends nothing more.
                Ok(_) | Err(_) => return,
            },
            () = access.stopping() => return,
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
        let limit = begin(&stream)?;
        for piece in render().as_bytes().chunks(PIECE) {
            send(&stream, piece, limit)?;
        }
        end(&stream)
    });
    // The client may be gone, or slow.
    drop(written.await);
}

/// As [`write`], without the whole answer in memory.
async fn write_large(stream: UnixStream, turn: RenderTurn, answer: WriteAnswer) {
    let runtime = Handle::current();
    let written = tokio::task::spawn_blocking(move || {
        let stream = stream.into_std()?;
        let limit = begin(&stream)?;
        let mut pieces = PieceWriter::new(turn, runtime, |piece| send(&stream, piece, limit));
        answer(&mut pieces)?;
        pieces.finish()?;
        end(&stream)
    });
    drop(written.await);
}

/// Prepares a connection for [`send`]. Returns when the whole answer must be sent.
fn begin(stream: &net::UnixStream) -> io::Result<Instant> {
    stream.set_nonblocking(false)?;
    Ok(Instant::now() + ANSWER_LIMIT)
}

/// Writes a piece of an answer.
fn send(mut stream: &net::UnixStream, piece: &[u8], limit: Instant) -> io::Result<()> {
    let left = limit.saturating_duration_since(Instant::now()).min(PATIENCE);
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_write_timeout(Some(left))?;
    stream.write_all(piece)
}

/// Ends an answer.
fn end(stream: &net::UnixStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    // Closing with unread input would reset the connection, and the client could lose the answer.
    stream.set_read_timeout(Some(REST))?;
    io::copy(&mut stream.take(LONGEST), &mut io::sink()).map(drop)
}
