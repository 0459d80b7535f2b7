//! How far a check has come, so that a deadline can say what was being waited for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::SemaphorePermit;

use super::attendance::shortest_absence;
use super::say::{self, spoken};
use crate::value::{UnknownCause, Verdict};

/// So many bytes of a reply are kept to show its beginning.
const HEAD: usize = 64;

/// What a check is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The address of a host name.
    Resolve(String),
    /// The TCP connection.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// What a server says before it is asked anything.
    Greeting,
    /// What the words name, after a request was sent.
    Answer(&'static str),
    /// The end of a body, of which so many bytes are here.
    Body(usize),
    /// The server to take the request.
    Send,
    /// A line that matches, after the request was sent.
    Line,
    /// The same, over UDP.
    Datagram,
    /// The result of this pattern.
    Matching(String),
    /// The reply to the echo request of this number.
    Echo(u32),
    /// A command that is being started.
    Starting(String),
    /// A command that somebody is still writing to.
    Busy(String),
    /// A command that runs.
    Command(String),
}

/// A page or a file of which a part came.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// What was done, as the beginning of a sentence: `GET /: 200 OK`.
    pub(super) said: String,
    /// What it is: `the body`.
    pub(super) what: &'static str,
    /// The text for a monitor file, where there is one.
    pub(super) monitor: Option<String>,
    /// What came so far.
    pub(super) bytes: Vec<u8>,
    /// Its place among those that are in memory, where it is not a small one.
    pub(super) place: Option<SemaphorePermit<'static>>,
}

/// The state of one running check. Written by the check, read when its deadline has come.
pub(super) struct Progress {
    started: Instant,
    state: Mutex<State>,
    received: AtomicU64,
    lines: AtomicU64,
    head: Mutex<Vec<u8>>,
    warning: Mutex<Option<String>>,
    no_route: Mutex<Option<Verdict>>,
    content: Mutex<Option<Content>>,
}

struct State {
    peer: SocketAddr,
    step: Step,
    connected: Option<Duration>,
    /// Since when the check waits for a place or a thread of this machine.
    queued: Option<Instant>,
}

impl State {
    /// Whether the check waits so long for this machine that its deadline has come by that.
    fn is_stuck(&self, deadline: Duration) -> bool {
        self.queued.is_some_and(|since| since.elapsed() >= shortest_absence(deadline))
    }
}

impl Progress {
    pub(super) fn new(started: Instant, peer: SocketAddr) -> Progress {
        Progress {
            started,
            state: Mutex::new(State { peer, step: Step::Connect, connected: None, queued: None }),
            received: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            head: Mutex::new(Vec::new()),
            warning: Mutex::new(None),
            no_route: Mutex::new(None),
            content: Mutex::new(None),
        }
    }

    /// Something that the operator should know, whatever comes of the check.
    pub(super) fn warn(&self, warning: Option<String>) {
        let Some(warning) = warning else { return };
        let mut noted = lock(&self.warning);
        match &mut *noted {
            None => *noted = Some(warning),
            Some(text) if text.contains(&warning) => {}
            Some(text) => text.push_str(&format!("; {warning}")),
        }
    }

    /// A page or a file begins. When the deadline comes before its end, what is here by then is judged.
    pub(super) fn begin(&self, content: Content) {
        *lock(&self.content) = Some(content);
    }

    /// Adds what came, and gives how many bytes are here now.
    pub(super) fn more(&self, bytes: &[u8]) -> usize {
        lock(&self.content).as_mut().map_or(0, |content| {
            // Large ones are many: the room of each grows by a quarter, not twofold.
            if content.bytes.capacity() - content.bytes.len() < bytes.len() {
                content.bytes.reserve_exact(bytes.len().max(content.bytes.len() / 4));
            }
            content.bytes.extend_from_slice(bytes);
            content.bytes.len()
        })
    }

    /// It has this place from now on, in the place of the one before.
    pub(super) fn hold(&self, place: SemaphorePermit<'static>) {
        if let Some(content) = lock(&self.content).as_mut() {
            content.place = Some(place);
        }
    }

    /// What has begun, if something has.
    pub(super) fn take_content(&self) -> Option<Content> {
        lock(&self.content).take()
    }

    /// The same as [`Progress::step`]; gives what was waited for before.
    pub(super) fn swap(&self, step: Step) -> Step {
        std::mem::replace(&mut lock(&self.state).step, step)
    }

    /// Waits for a place or a thread of this machine. Until there is one the director is late, not the server.
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

    /// The cause, where the director is why the answer is missing at the deadline.
    pub(super) fn own_fault(&self, deadline: Duration) -> Option<UnknownCause> {
        let state = lock(&self.state);
        if state.is_stuck(deadline) {
            return Some(UnknownCause::QueueFull);
        }
        match state.step {
            Step::Resolve(_) => Some(UnknownCause::Resolver),
            // A command was to be started, and has not run yet.
            Step::Starting(_) | Step::Busy(_) => Some(UnknownCause::NotStarted),
            _ => None,
        }
    }

    /// What was noted.
    pub(super) fn warning(&self) -> Option<String> {
        lock(&self.warning).take()
    }

    /// Notes the verdict while the check waits for a route to the server; gives the one before.
    pub(super) fn no_route(&self, verdict: Option<Verdict>) -> Option<Verdict> {
        std::mem::replace(&mut lock(&self.no_route), verdict)
    }

    /// A new connection is begun (the first, or the next of a redirect).
    pub(super) fn connecting(&self, peer: SocketAddr) {
        *lock(&self.state) = State { peer, step: Step::Connect, connected: None, queued: None };
        self.received.store(0, Ordering::Relaxed);
        self.lines.store(0, Ordering::Relaxed);
        lock(&self.head).clear();
    }

    /// The connection stands; what is waited for next.
    pub(super) fn connected(&self, next: Step) {
        let mut state = lock(&self.state);
        state.connected = Some(self.started.elapsed());
        state.step = next;
    }

    /// What is waited for now.
    pub(super) fn step(&self, step: Step) {
        lock(&self.state).step = step;
    }

    /// Bytes came in.
    pub(super) fn received(&self, bytes: &[u8]) {
        let before = self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if before < HEAD as u64 {
            let mut head = lock(&self.head);
            let room = HEAD.saturating_sub(head.len());
            head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// A line was looked at.
    pub(super) fn line(&self) {
        self.lines.fetch_add(1, Ordering::Relaxed);
    }

    /// How many bytes came in over the present connection.
    pub(super) fn count(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The first bytes of the present connection.
    pub(super) fn head(&self) -> Vec<u8> {
        lock(&self.head).clone()
    }

    /// The sentence for a deadline that has passed.
    pub(super) fn overdue(&self, deadline: Duration) -> String {
        let state = lock(&self.state);
        let (peer, within) = (state.peer, spoken(deadline));
        if state.is_stuck(deadline) {
            return format!("{peer}: no thread of the director was free within {within}");
        }
        match &state.step {
            Step::Resolve(name) => format!("resolve {name}: no answer within {within}"),
            Step::Connect => format!("connect to {peer}: no answer within {within}"),
            Step::Echo(attempts) => {
                let attempts = say::count(u64::from(*attempts), "attempt");
                format!("ping {}: no answer within {within} ({attempts})", peer.ip())
            }
            Step::Matching(pattern) => {
                format!("{peer}: /{pattern}/ on the answer came to no result within {within}")
            }
            Step::Starting(command) => format!(
                "run {command}: not started within {within}, because its file system does not answer or too many commands wait"
            ),
            Step::Busy(command) => {
                format!("run {command}: not started within {within}, because somebody is writing to the file")
            }
            Step::Command(command) => {
                let printed = match &*self.head() {
                    [] => String::new(),
                    head => format!("; it had printed {}", say::beginning(head, HEAD)),
                };
                format!(
                    "run {command}: no end within {within}, so it was killed with all that it had started{printed}"
                )
            }
            Step::Datagram => {
                format!(
                    "no line that matches from udp {peer} within {within} (request sent, {})",
                    self.lines()
                )
            }
            step => {
                let connected = state.connected.map(|after| format!("connected in {}", spoken(after)));
                let connected = connected.as_deref().unwrap_or("not connected");
                let (missing, done) = self.unanswered(step);
                format!("no {missing} from {peer} within {within} ({connected}, {done})")
            }
        }
    }

    /// What did not come over a connection, and what did.
    fn unanswered(&self, step: &Step) -> (&'static str, String) {
        let received = self.count();
        let bytes = say::count(received, "byte");
        let missing = if received == 0 { "answer" } else { "complete answer" };
        match step {
            Step::Greeting if received == 0 => (missing, "waiting for the greeting".to_owned()),
            Step::Greeting => (missing, format!("{bytes} received, waiting for the greeting")),
            Step::Answer(what) if received == 0 => (missing, format!("request sent, waiting for {what}")),
            Step::Answer(what) => (missing, format!("request sent, {bytes} received, waiting for {what}")),
            Step::Body(bytes) => {
                let bytes = say::count(*bytes as u64, "byte");
                ("complete answer", format!("headers received, {bytes} of the body received"))
            }
            Step::Send => {
                let lines = self.lines();
                ("line that matches", format!("the server does not take the request, {lines}"))
            }
            Step::Line => ("line that matches", format!("request sent, {}", self.lines())),
            _ => ("answer", "in the TLS handshake".to_owned()),
        }
    }

    /// How much of an answer in lines is here; it may lack nothing but the end of its line.
    fn lines(&self) -> String {
        match (self.count(), self.lines.load(Ordering::Relaxed)) {
            (0, _) => "nothing received".to_owned(),
            (bytes, 0) => format!(
                "{} received and no end of a line: {}",
                say::count(bytes, "byte"),
                say::beginning(&self.head(), HEAD)
            ),
            (bytes, lines) => {
                format!("{} received in {}", say::count(bytes, "byte"), say::count(lines, "line"))
            }
        }
    }
}

/// A poisoned lock guards a state that is still good to describe.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
