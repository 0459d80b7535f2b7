//! One connection: reads a request, gets a value from the loop, and renders the answer on another thread, so that
//! neither a slow reader nor a large answer delays the loop.

#![expect(clippy::disallowed_methods, reason = "an answer has a deadline")]

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use super::protocol::{
    Answer, ControlRequest, CounterDetail, ErrorCode, OverrideRequest, RequestFailure, ServerTarget, VERSION,
    parse,
};
use super::rights::{ClientProcess, Right, Rights};
use crate::health::Owner;
use crate::report::{
    CounterSource, Counters, Moment, PlanReport, Scrape, ServerStory, ServiceView, StateSnapshot,
    StoryReport, View, VirtualService,
};
use crate::value::VirtualId;

/// The connection is closed if the client does not complete its request, or does not read its answer, within this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// The command line of version 0.1 sends no request. It is answered after this time, because a current client on a
/// busy machine may need some time to send its request.
const SILENCE: Duration = Duration::from_secs(1);
/// After an answer, unread input is discarded for this time.
const REST: Duration = Duration::from_millis(300);
/// Bytes of an answer per write: fewer than a socket buffer holds.
const PIECE: usize = 64 * 1024;
/// Maximum size of a request in bytes.
const LONGEST: u64 = 64 * 1024;

/// A request to the loop.
#[derive(Debug)]
pub enum LoopRequest {
    /// The state of all services.
    View(ReplyChannel<Arc<View>>),
    /// The state of one service and its time. `None` if there is no such service.
    Service(VirtualId, ReplyChannel<Option<(Arc<ServiceView>, Moment)>>),
    /// Everything known about a server.
    Story(ServerTarget, ReplyChannel<StoryAnswer>),
    /// The state in one line.
    Status(ReplyChannel<String>),
    /// Everything that metrics are computed from.
    Metrics(ReplyChannel<Scrape>),
    /// Reload the configuration.
    Reload,
    /// What a reload would change now.
    Plan(ReplyChannel<PlanAnswer>),
    /// Set an override. The reply has the virtual services concerned.
    Override(OverrideRequest, Owner, ReplyChannel<Steered>),
    /// End an override. The reply has the virtual services concerned.
    Undo(ServerTarget, Owner, ReplyChannel<Steered>),
}

/// What a reload would change, or why that cannot be said.
pub type PlanAnswer = Result<PlanReport, RequestFailure>;

/// Everything known about a server, or why there is no such server.
pub type StoryAnswer = Result<ServerStory, RequestFailure>;

/// What an override concerns, or why the request was refused.
pub type Steered = Result<SteerAnswer, RequestFailure>;

/// The answer to a request that was carried out.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct SteerAnswer {
    /// The virtual services concerned.
    pub services: Vec<String>,
    /// What the operator should know, although the request was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// The channel for one answer.
#[derive(Debug)]
pub struct ReplyChannel<T>(oneshot::Sender<T>);

impl<T> ReplyChannel<T> {
    /// A channel and its receiver.
    #[cfg(test)]
    pub fn pair() -> (ReplyChannel<T>, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (ReplyChannel(sender), receiver)
    }

    /// Sends the answer. The client may be gone.
    pub fn give(self, value: T) {
        let _ = self.0.send(value);
    }
}

/// The state that all sessions share.
#[derive(Clone)]
pub(super) struct SessionContext {
    pub questions: mpsc::Sender<LoopRequest>,
    pub events: broadcast::Sender<Arc<str>>,
    pub rights: Arc<Rights>,
    /// One permit for each client that follows events.
    pub followers: Arc<Semaphore>,
    /// The permit for an answer about all services. Several at once would take the processor from the checks.
    pub large: Arc<Semaphore>,
    /// Connections and statistics of the kernel.
    pub counters: CounterSource,
}

/// The client that requests a change.
#[derive(Default)]
struct Writer {
    may_write: bool,
    owner: Option<Owner>,
    description: String,
}

/// Serves one connection to its end. A connection that follows events returns its permit, so that it does not block
/// other clients.
pub(super) async fn serve(stream: UnixStream, shared: SessionContext, place: OwnedSemaphorePermit) {
    let Ok(credentials) = stream.peer_cred() else { return };
    let peer = ClientProcess { pid: credentials.pid(), uid: credentials.uid(), gid: credentials.gid() };
    let (rights, right) = (Arc::clone(&shared.rights), Right::Read);
    // The group database may be on the network.
    let may_read = tokio::task::spawn_blocking(move || rights.allows(peer, right)).await.unwrap_or(false);
    if !may_read {
        let message = format!("user {} has no right to read; see [control] in the settings", peer.uid);
        let answer = Answer::failure(ErrorCode::Forbidden, message);
        return write(stream, move || answer.line()).await;
    }
    let mut reader = BufReader::new(stream.take(LONGEST));
    let is_silent = timeout(SILENCE, reader.fill_buf()).await.is_err();
    if is_silent {
        return serve_silent(reader.into_inner().into_inner(), &shared).await;
    }
    let mut line = Vec::new();
    if !matches!(timeout(PATIENCE, reader.read_until(b'\n', &mut line)).await, Ok(Ok(1..))) {
        return;
    }
    let stream = reader.into_inner().into_inner();
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
                drop(place);
                follow(stream, shared.events.subscribe()).await;
            }
            Err(_) => {
                let message = "too many programs follow the events of this daemon; stop one of them";
                write(stream, move || Answer::failure(ErrorCode::Busy, message).line()).await;
            }
        },
        request @ (ControlRequest::Show { service: None, .. } | ControlRequest::Metrics) => {
            let text = {
                let _turn = shared.large.acquire().await;
                let render = shared.answer(request, who).await;
                tokio::task::spawn_blocking(render).await.unwrap_or_default()
            };
            write(stream, move || text).await;
        }
        request => {
            let render = shared.answer(request, who).await;
            write(stream, render).await;
        }
    }
}

/// Answers the command line of version 0.1, which sends no request.
async fn serve_silent(stream: UnixStream, shared: &SessionContext) {
    let _turn = shared.large.acquire().await;
    if let Some(view) = shared.ask(LoopRequest::View).await {
        write(stream, move || serde_json::to_string(&StateSnapshot::of(&view)).unwrap_or_default()).await;
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

    async fn ask<T>(&self, question: impl FnOnce(ReplyChannel<T>) -> LoopRequest) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(question(ReplyChannel(reply))).await.ok()?;
        answer.await.ok()
    }

    async fn answer(&self, request: ControlRequest, who: Writer) -> Render {
        match request {
            ControlRequest::Version => {
                rendered(|| json!({ "program": env!("CARGO_PKG_VERSION"), "protocol": VERSION }))
            }
            ControlRequest::Status => match self.ask(LoopRequest::Status).await {
                Some(line) => rendered(move || json!({ "status": line })),
                None => stopping(),
            },
            ControlRequest::Metrics => match self.ask(LoopRequest::Metrics).await {
                Some(scrape) => rendered(move || json!({ "metrics": scrape.render() })),
                None => stopping(),
            },
            ControlRequest::Show { service: None, counters } => match self.ask(LoopRequest::View).await {
                Some(view) => rendered(self.counted(view, counters)),
                None => stopping(),
            },
            ControlRequest::Show { service: Some(name), counters } => self.show(name, counters).await,
            ControlRequest::ShowServer(target) => self.story(target).await,
            ControlRequest::Reload => {
                info!("Control: reload, requested by {}", who.description);
                match self.questions.send(LoopRequest::Reload).await {
                    Ok(()) => rendered(|| json!({ "reload": "started" })),
                    Err(_) => stopping(),
                }
            }
            ControlRequest::Plan => match self.ask(LoopRequest::Plan).await {
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
            ControlRequest::Events => stopping(),
        }
    }

    async fn steer(
        &self,
        what: &str,
        who: Writer,
        question: impl FnOnce(Owner, ReplyChannel<Steered>) -> LoopRequest,
    ) -> Render {
        let Some(owner) = who.owner else { return stopping() };
        let Some(result) = self.ask(|reply| question(owner, reply)).await else { return stopping() };
        let outcome = result
            .as_ref()
            .map_or_else(|failure| format!("refused: {}", failure.message), |_| "done".to_owned());
        info!("Control: {what}, requested by {}: {outcome}", who.description);
        match result {
            Ok(done) => rendered(move || done),
            Err(failure) => Box::new(move || Answer::of_failure(failure).line()),
        }
    }

    /// The state of all services with the connections of the kernel's table.
    fn counted(
        &self,
        view: Arc<View>,
        detail: CounterDetail,
    ) -> impl FnOnce() -> StateSnapshot + Send + 'static {
        let counters = Arc::clone(&self.counters);
        move || {
            let snapshot = StateSnapshot::of(&view);
            match read(&counters, None, detail) {
                Some(counters) => snapshot.with_counters(&view, &counters, detail == CounterDetail::Traffic),
                None => snapshot,
            }
        }
    }

    async fn story(&self, target: ServerTarget) -> Render {
        let service = target.service.as_ref().and_then(|service| service.parse().ok());
        let counters = Arc::clone(&self.counters);
        match self.ask(|reply| LoopRequest::Story(target, reply)).await {
            None => stopping(),
            Some(Ok(story)) => rendered(move || StoryReport::of(&story, counters(service).ok().as_ref())),
            Some(Err(failure)) => Box::new(move || Answer::of_failure(failure).line()),
        }
    }

    async fn show(&self, name: String, detail: CounterDetail) -> Render {
        let view = match name.parse::<VirtualId>() {
            Ok(id) => match self.ask(|reply| LoopRequest::Service(id, reply)).await {
                Some(view) => view,
                None => return stopping(),
            },
            Err(_) => None,
        };
        match view {
            Some((view, at)) => {
                let counters = Arc::clone(&self.counters);
                rendered(move || {
                    let service = VirtualService::of(&view, at);
                    match read(&counters, Some(view.id), detail) {
                        Some(counters) => {
                            service.with_counters(&view, &counters, detail == CounterDetail::Traffic)
                        }
                        None => service,
                    }
                })
            }
            None => Box::new(move || {
                let message = format!("no virtual service {name:?}; `show` without a service lists all");
                Answer::failure(ErrorCode::NotFound, message).line()
            }),
        }
    }
}

/// Reads the counters that a request wants. `None` if it wants none, or if they cannot be read.
fn read(source: &CounterSource, service: Option<VirtualId>, detail: CounterDetail) -> Option<Counters> {
    if detail == CounterDetail::None { None } else { source(service).ok() }
}

fn rendered<T: Serialize>(value: impl FnOnce() -> T + Send + 'static) -> Render {
    Box::new(move || Answer::line_of(&value()))
}

fn stopping() -> Render {
    Box::new(|| Answer::failure(ErrorCode::Stopping, "the daemon is stopping").line())
}

/// Sends events until the client closes the connection or stops reading.
async fn follow(stream: UnixStream, mut events: broadcast::Receiver<Arc<str>>) {
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
                Ok(line) => line,
                Err(broadcast::error::RecvError::Lagged(count)) => Arc::from(Answer::lost(count).line()),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            read = reader.read(&mut byte) => match read {
                // A client that follows events sends nothing more.
                Ok(_) | Err(_) => return,
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
    // The client may be gone, or slow.
    drop(written.await);
}

/// Writes an answer. The time limit covers the whole answer.
fn send(mut stream: &net::UnixStream, text: &str) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    stream.set_nonblocking(false)?;
    for piece in text.as_bytes().chunks(PIECE) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        stream.write_all(piece)?;
    }
    stream.shutdown(Shutdown::Write)?;
    // Closing with unread input would reset the connection, and the client could lose the answer.
    stream.set_read_timeout(Some(REST))?;
    io::copy(&mut stream.take(LONGEST), &mut io::sink()).map(drop)
}
