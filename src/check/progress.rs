//! The progress of a check. It tells the verdict at the deadline what the check was waiting for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::SemaphorePermit;

use super::attendance::shortest_absence;
use super::format::{self, spoken};
use crate::value::{Phase, PhaseTimes, UnknownCause, Verdict};

/// Bytes of a reply that are kept, to show its beginning.
const HEAD: usize = 64;
/// No time of a certificate.
const NO_CERTIFICATE: i64 = i64::MIN;

/// What a check is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CheckStep {
    /// The address of a host name.
    Resolve(String),
    /// The TCP connection.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// The greeting that a server sends first.
    Greeting,
    /// The named part of the answer, after the request was sent.
    Answer(&'static str),
    /// The end of a body. The number of bytes received so far.
    Body(usize),
    /// The server to read the request.
    Send,
    /// A matching line, after the request was sent.
    Line,
    /// The same, over UDP.
    Datagram,
    /// The result of matching this pattern.
    Matching(String),
    /// The reply to the echo request of this number.
    Echo(u32),
    /// The start of a command.
    Starting(String),
    /// A command whose file is still open for writing.
    Busy(String),
    /// The end of a running command.
    Command(String),
}

impl CheckStep {
    fn phase(&self) -> Phase {
        match self {
            CheckStep::Resolve(_) => Phase::Resolve,
            CheckStep::Connect => Phase::Connect,
            CheckStep::Handshake => Phase::Tls,
            _ => Phase::Answer,
        }
    }
}

/// A page or a file that was received in part.
#[derive(Debug, Default)]
pub(super) struct PartialContent {
    /// What was done, to begin the reason with: `GET /: 200 OK`.
    pub(super) said: String,
    /// The name of the content: `the body`.
    pub(super) what: &'static str,
    /// The text for a monitor file, if the protocol has one.
    pub(super) monitor: Option<String>,
    /// The bytes received so far.
    pub(super) bytes: Vec<u8>,
    /// Its permit for memory. A small content needs none.
    pub(super) place: Option<SemaphorePermit<'static>>,
}

/// The state of one running check. The check writes it; it is read at the deadline.
pub(super) struct Progress {
    started: Instant,
    state: Mutex<State>,
    received: AtomicU64,
    lines: AtomicU64,
    head: Mutex<Vec<u8>>,
    warning: Mutex<Option<String>>,
    no_route: Mutex<Option<Verdict>>,
    content: Mutex<Option<PartialContent>>,
    certificate_expires: AtomicI64,
}

struct State {
    peer: SocketAddr,
    step: CheckStep,
    connected: Option<Duration>,
    /// Since when the check waits for a permit or a thread of this machine.
    queued: Option<Instant>,
    phases: PhaseTimes,
    /// Since when the check is in this step.
    since: Instant,
}

impl State {
    /// Begins a step, and returns the previous one.
    fn enter(&mut self, step: CheckStep) -> CheckStep {
        self.end_phase();
        std::mem::replace(&mut self.step, step)
    }

    /// Adds the time since the step began to its phase.
    fn end_phase(&mut self) {
        let now = Instant::now();
        self.phases.add(self.step.phase(), now.saturating_duration_since(self.since));
        self.since = now;
    }

    /// Whether the check waits for this machine long enough to miss its deadline by that.
    fn is_stuck(&self, deadline: Duration) -> bool {
        self.queued.is_some_and(|since| since.elapsed() >= shortest_absence(deadline))
    }
}

impl Progress {
    pub(super) fn new(started: Instant, peer: SocketAddr) -> Progress {
        Progress {
            started,
            state: Mutex::new(State {
                peer,
                step: CheckStep::Connect,
                connected: None,
                queued: None,
                phases: PhaseTimes::default(),
                since: started,
            }),
            received: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            head: Mutex::new(Vec::new()),
            warning: Mutex::new(None),
            no_route: Mutex::new(None),
            content: Mutex::new(None),
            certificate_expires: AtomicI64::new(NO_CERTIFICATE),
        }
    }

    /// Adds a warning for the operator. It is reported whatever the outcome of the check is.
    pub(super) fn warn(&self, warning: Option<String>) {
        let Some(warning) = warning else { return };
        let mut noted = lock(&self.warning);
        match &mut *noted {
            None => *noted = Some(warning),
            Some(text) if text.contains(&warning) => {}
            Some(text) => text.push_str(&format!("; {warning}")),
        }
    }

    /// Begins a page or a file. If the deadline comes before its end, the part received by then is judged.
    pub(super) fn begin(&self, content: PartialContent) {
        *lock(&self.content) = Some(content);
    }

    /// Adds received bytes. Returns the number of bytes received so far.
    pub(super) fn more(&self, bytes: &[u8]) -> usize {
        lock(&self.content).as_mut().map_or(0, |content| {
            // There may be many large contents: each buffer grows by a quarter instead of doubling.
            if content.bytes.capacity() - content.bytes.len() < bytes.len() {
                content.bytes.reserve_exact(bytes.len().max(content.bytes.len() / 4));
            }
            content.bytes.extend_from_slice(bytes);
            content.bytes.len()
        })
    }

    /// Stores a permit for memory. It replaces the previous one.
    pub(super) fn hold(&self, place: SemaphorePermit<'static>) {
        if let Some(content) = lock(&self.content).as_mut() {
            content.place = Some(place);
        }
    }

    /// Takes the content out, if one has begun.
    pub(super) fn take_content(&self) -> Option<PartialContent> {
        lock(&self.content).take()
    }

    /// Like [`Progress::step`], but returns the previous step.
    pub(super) fn swap(&self, step: CheckStep) -> CheckStep {
        lock(&self.state).enter(step)
    }

    /// Waits for a permit or a thread of this machine. This delay is the director's fault, not the server's.
    pub(super) async fn queued<T>(&self, wait: impl Future<Output = T>) -> T {
        struct Queued<'a>(&'a Progress);
        impl Drop for Queued<'_> {
            fn drop(&mut self) {
                lock(&self.0.state).queued = None;
            }
        }
        lock(&self.state).queued = Some(Instant::now());
        let _queued = Queued(self);
        wait.await
    }

    /// Returns the cause if the answer is missing at the deadline because of the director.
    pub(super) fn own_fault(&self, deadline: Duration) -> Option<UnknownCause> {
        let state = lock(&self.state);
        if state.is_stuck(deadline) {
            return Some(UnknownCause::QueueFull);
        }
        match state.step {
            CheckStep::Resolve(_) => Some(UnknownCause::Resolver),
            // The command has not run yet.
            CheckStep::Starting(_) | CheckStep::Busy(_) => Some(UnknownCause::NotStarted),
            _ => None,
        }
    }

    /// Takes the warnings added so far.
    pub(super) fn warning(&self) -> Option<String> {
        lock(&self.warning).take()
    }

    /// Stores the verdict while the check waits for a route to the server. Returns the previous one.
    pub(super) fn no_route(&self, verdict: Option<Verdict>) -> Option<Verdict> {
        std::mem::replace(&mut lock(&self.no_route), verdict)
    }

    /// Begins a new connection: the first, or the one for a redirect.
    pub(super) fn connecting(&self, peer: SocketAddr) {
        let mut state = lock(&self.state);
        state.enter(CheckStep::Connect);
        (state.peer, state.connected, state.queued) = (peer, None, None);
        drop(state);
        self.received.store(0, Ordering::Relaxed);
        self.lines.store(0, Ordering::Relaxed);
        lock(&self.head).clear();
    }

    /// Notes that the connection is established, and the next step.
    pub(super) fn connected(&self, next: CheckStep) {
        let mut state = lock(&self.state);
        state.connected = Some(self.started.elapsed());
        state.enter(next);
    }

    /// Sets what the check waits for now.
    pub(super) fn step(&self, step: CheckStep) {
        lock(&self.state).enter(step);
    }

    /// Ends the check, and returns the time spent in each phase.
    pub(super) fn phases(&self) -> PhaseTimes {
        let mut state = lock(&self.state);
        state.end_phase();
        state.phases
    }

    /// Notes when the server's certificate expires, in seconds since 1970.
    pub(super) fn certificate(&self, expires: i64) {
        self.certificate_expires.store(expires, Ordering::Relaxed);
    }

    /// When the server's certificate expires, as noted.
    pub(super) fn certificate_expires(&self) -> Option<i64> {
        Some(self.certificate_expires.load(Ordering::Relaxed)).filter(|expires| *expires != NO_CERTIFICATE)
    }

    /// Counts received bytes, and keeps the first ones.
    pub(super) fn received(&self, bytes: &[u8]) {
        let before = self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if before < HEAD as u64 {
            let mut head = lock(&self.head);
            let room = HEAD.saturating_sub(head.len());
            head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// Counts a line that was compared.
    pub(super) fn line(&self) {
        self.lines.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes received on the current connection.
    pub(super) fn count(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The first bytes received on the current connection.
    pub(super) fn head(&self) -> Vec<u8> {
        lock(&self.head).clone()
    }

    /// Describes what was missing when the deadline passed.
    pub(super) fn overdue(&self, deadline: Duration) -> String {
        let state = lock(&self.state);
        let (peer, within) = (state.peer, spoken(deadline));
        if state.is_stuck(deadline) {
            return format!("{peer}: no thread of the director was free within {within}");
        }
        match &state.step {
            CheckStep::Resolve(name) => format!("resolve {name}: no answer within {within}"),
            CheckStep::Connect => format!("connect to {peer}: no answer within {within}"),
            CheckStep::Echo(attempts) => {
                let attempts = format::count(u64::from(*attempts), "attempt");
                format!("ping {}: no answer within {within} ({attempts})", peer.ip())
            }
            CheckStep::Matching(pattern) => {
                format!("{peer}: matching /{pattern}/ against the answer did not finish within {within}")
            }
            CheckStep::Starting(command) => format!(
                "run {command}: not started within {within}: its file system does not answer, or too many commands are queued"
            ),
            CheckStep::Busy(command) => {
                format!("run {command}: not started within {within}: a program has the file open for writing")
            }
            CheckStep::Command(command) => {
                let printed = match &*self.head() {
                    [] => String::new(),
                    head => format!("; its output: {}", format::beginning(head, HEAD)),
                };
                format!("run {command}: timed out after {within}; killed its process group{printed}")
            }
            CheckStep::Datagram => {
                format!("no matching line from udp {peer} within {within} (request sent, {})", self.lines())
            }
            step => {
                let connected = state.connected.map(|after| format!("connected in {}", spoken(after)));
                let connected = connected.as_deref().unwrap_or("not connected");
                let (missing, done) = self.unanswered(step);
                format!("no {missing} from {peer} within {within} ({connected}, {done})")
            }
        }
    }

    /// What is missing on a connection, and what was received.
    fn unanswered(&self, step: &CheckStep) -> (&'static str, String) {
        let received = self.count();
        let bytes = format::count(received, "byte");
        let missing = if received == 0 { "answer" } else { "complete answer" };
        match step {
            CheckStep::Greeting if received == 0 => (missing, "waiting for the greeting".to_owned()),
            CheckStep::Greeting => (missing, format!("{bytes} received, waiting for the greeting")),
            CheckStep::Answer(what) if received == 0 => {
                (missing, format!("request sent, waiting for {what}"))
            }
            CheckStep::Answer(what) => {
                (missing, format!("request sent, {bytes} received, waiting for {what}"))
            }
            CheckStep::Body(bytes) => {
                let bytes = format::count(*bytes as u64, "byte");
                ("complete answer", format!("headers received, {bytes} of the body received"))
            }
            CheckStep::Send => {
                let lines = self.lines();
                ("matching line", format!("the server does not read the request, {lines}"))
            }
            CheckStep::Line => ("matching line", format!("request sent, {}", self.lines())),
            _ => ("answer", "in the TLS handshake".to_owned()),
        }
    }

    /// How much of a line-based answer was received. Shows the text if only its line end is missing.
    fn lines(&self) -> String {
        match (self.count(), self.lines.load(Ordering::Relaxed)) {
            (0, _) => "nothing received".to_owned(),
            (bytes, 0) => format!(
                "{} received, no line end: {}",
                format::count(bytes, "byte"),
                format::beginning(&self.head(), HEAD)
            ),
            (bytes, lines) => {
                format!("{} received in {}", format::count(bytes, "byte"), format::count(lines, "line"))
            }
        }
    }
}

/// Ignores poisoning: the state behind the lock is still valid for a description.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
