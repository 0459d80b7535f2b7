//! Destinations of log lines: a file that is opened again for each line, syslog, standard output or standard error.
//!
//! The rest of the program logs with `tracing`; the [`Layer`] here writes only the message, in the original's line
//! formats. The target can be changed at any time, since the configuration is read after the start.
//!
//! The lines of a daemon go through a bounded queue to a separate thread: a log that hangs (a file on a failed file
//! server, a pipe that is not read) delays no check. Short commands write at once.

mod line;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use chrono::Utc;
use nix::errno::Errno;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::write_queue::WriteQueue;
use line::{Fields, LogLine, LogRecord};

/// The queue of a log that hangs in bytes. More lines are dropped, counted and reported.
const QUEUE_LIMIT: usize = 1024 * 1024;

/// How long the last lines may take when the process ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The destination of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDestination {
    /// No destination yet.
    Nowhere,
    /// Standard error, only the message (`-d`).
    Stderr,
    /// Standard output with a time stamp (`supervised=yes`).
    Stdout,
    /// A file. Each line with time, name of the configuration and pid.
    File(PathBuf),
    /// Syslog by /dev/log with the facility of this number (RFC 5424, table 1).
    Syslog(u8),
}

/// The log of this process. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    destination: Mutex<Arc<LogOutput>>,
    /// For lines that are written at once.
    sinks: Mutex<Sinks>,
    /// Since [`Log::install`].
    queue: Mutex<Option<WriteQueue<LogLine>>>,
    started: AtomicBool,
}

/// The destination and the format of a line.
#[derive(Clone, Debug)]
struct LogOutput {
    target: LogDestination,
    json: bool,
    name: String,
    journald: bool,
}

impl Log {
    /// A log for the configuration of this name, which is part of each line of a log file.
    #[must_use]
    pub fn new(name: &str, target: LogDestination) -> Log {
        let destination = LogOutput { target, json: false, name: name.to_owned(), journald: false };
        Log {
            shared: Arc::new(Shared {
                destination: Mutex::new(Arc::new(destination)),
                sinks: Mutex::default(),
                queue: Mutex::default(),
                started: AtomicBool::new(false),
            }),
        }
    }

    /// Whether lines are JSON objects instead of the original's text. Syslog keeps its text.
    pub fn set_json(&self, json: bool) {
        Arc::make_mut(&mut self.destination()).json = json;
    }

    /// Whether lines go to the journal of systemd too, with the name of the configuration as the field
    /// `LDIRECTORD_CONFIG`.
    pub fn set_journald(&self, journald: bool) {
        Arc::make_mut(&mut self.destination()).journald = journald;
    }

    /// Checks that the log file can be opened within this time, and creates it, as the first line would. Starts a
    /// thread, so a process that will fork must not call it.
    ///
    /// # Errors
    /// The log file cannot be opened. The error names it.
    pub fn probe(&self, limit: Duration) -> Result<(), String> {
        let LogDestination::File(path) = self.destination().target.clone() else { return Ok(()) };
        let (sender, opened) = sync_channel(1);
        let named = path.display().to_string();
        thread::spawn(move || drop(sender.send(can_be_opened(&path))));
        match opened.recv_timeout(limit) {
            Ok(result) => result.map_err(|error| format!("{named}: {error}")),
            Err(_) => Err(format!("{named}: the file system does not answer within {} s", limit.as_secs())),
        }
    }

    /// Makes this the log of the process for `tracing`, without lines less important than `level`. Lines are queued
    /// until [`Log::start_writer`] starts the thread that writes them.
    pub fn install(&self, level: Level) {
        *self.queue() = Some(WriteQueue::new(QUEUE_LIMIT));
        let filter = own_targets(level);
        // A second call in one process (tests) leaves the first log in place.
        let _ = tracing_subscriber::registry().with(filter).with(self.clone()).try_init();
    }

    /// Starts the thread that writes. Call it after a fork, which threads do not survive, and after privileges are
    /// given up, which are per thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start_writer(&self) -> io::Result<()> {
        match &*self.queue() {
            Some(queue) if !self.shared.started.swap(true, Ordering::Relaxed) => start(queue),
            _ => Ok(()),
        }
    }

    /// Writes what is queued, before the process ends. A log that hangs delays the end by at most a second.
    pub fn finish(&self) {
        let started = self.start_writer();
        if let Some(queue) = &*self.queue()
            && started.is_ok()
        {
            queue.flush(LAST_LINES);
        }
    }

    /// Changes the target. Queued lines still go to the old target, on a separate thread, so that an old target that
    /// hangs does not delay the new one.
    pub fn redirect(&self, target: LogDestination) {
        if self.destination().target == target {
            return;
        }
        let mut queue = self.queue();
        if self.shared.started.load(Ordering::Relaxed) {
            let new = WriteQueue::new(QUEUE_LIMIT);
            // Without another thread, keep the old queue.
            if start(&new).is_ok() {
                *queue = Some(new);
            }
        }
        Arc::make_mut(&mut self.destination()).target = target;
    }

    /// Writes one line at level info.
    pub fn line(&self, text: &str) {
        self.write(Level::INFO, text.to_owned(), Fields::default());
    }

    fn destination(&self) -> MutexGuard<'_, Arc<LogOutput>> {
        self.shared.destination.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Option<WriteQueue<LogLine>>> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, level: Level, text: String, fields: Fields) {
        let queue = self.queue();
        let line = LogLine { at: Utc::now(), level, text, fields, to: Arc::clone(&self.destination()) };
        match &*queue {
            Some(queue) => {
                let length = line.length();
                queue.push(line, length);
            }
            None => self.shared.sinks.lock().unwrap_or_else(PoisonError::into_inner).write(&[(line, 0)]),
        }
    }
}

/// Only the lines of this program. Messages of libraries do not help an operator: where they matter, this program logs
/// its own.
fn own_targets(level: Level) -> Targets {
    Targets::new().with_target("ldirectord_rs", level).with_target("ipvs_rs", level)
}

/// Starts the thread of a queue.
fn start(queue: &WriteQueue<LogLine>) -> io::Result<()> {
    let mut sinks = Sinks::default();
    queue.start("log", move |lines| sinks.write(lines))
}

/// The open sockets of a writer, and the lines that it could not write.
#[derive(Debug, Default)]
struct Sinks {
    syslog: Option<UnixDatagram>,
    journal: Option<UnixDatagram>,
    /// The number of lines that could not be written since the last successful one, and the error.
    failed: Option<(u64, io::Error)>,
    /// Whether the file ends in the middle of a line.
    is_cut: bool,
}

impl Sinks {
    /// Writes lines, and before each the number of lines that were dropped because the queue was full. Lines for one
    /// file are written together.
    fn write(&mut self, lines: &[(LogLine, u64)]) {
        let mut of_file = OfFile::default();
        for (line, lost) in lines {
            if *lost > 0 {
                let text = format!(
                    "{lost} log lines before this one were dropped: the log was not writable in time"
                );
                self.put(&line.beside(text), &mut of_file);
            }
            self.put(line, &mut of_file);
        }
        self.write_into_file(of_file);
    }

    fn put(&mut self, line: &LogLine, of_file: &mut OfFile) {
        let LogLine { text, to, .. } = line;
        if to.journald {
            send(&mut self.journal, Path::new(JOURNAL), &line.journal_packet());
        }
        match &to.target {
            LogDestination::Nowhere => {}
            LogDestination::Stderr if to.json => to_stderr(&line.json()),
            LogDestination::Stderr => to_stderr(text),
            LogDestination::Stdout => {
                // The daemon must not end when a supervisor closes its end of the pipe.
                let line = if to.json { line.json() } else { format!("[{}] {text}", line.time_stamp()) };
                let _ = writeln!(io::stdout().lock(), "{line}");
            }
            LogDestination::File(path) => {
                if of_file.path.as_ref() != Some(path) {
                    let before =
                        std::mem::replace(of_file, OfFile { path: Some(path.clone()), ..OfFile::default() });
                    self.write_into_file(before);
                }
                of_file.add(line);
            }
            LogDestination::Syslog(facility) => {
                send(&mut self.syslog, Path::new(SYSLOG), line.syslog_packet(*facility).as_bytes());
            }
        }
    }

    /// Writes lines into a file. Lines that cannot be written go to standard error, and their number into the file when
    /// it can be written again.
    fn write_into_file(&mut self, OfFile { path, text, plain, last }: OfFile) {
        let (Some(path), Some(last)) = (path, last) else { return };
        let mut all = String::new();
        let before = self.failed.as_ref().map_or(0, |(lines, _)| *lines);
        if let Some((lines, error)) = &self.failed {
            let lost = format!("{lines} log lines before this one could not be written: {error}");
            all.push_str(if self.is_cut { "\n" } else { "" });
            all.push_str(&last.beside(lost).of_file());
        }
        let head = all.len();
        all.push_str(&text);
        let Err((written, error)) = append(&path, &all) else {
            (self.failed, self.is_cut) = (None, false);
            return;
        };
        // A disk that becomes full accepts a part.
        let whole = text.as_bytes().get(..written.saturating_sub(head)).unwrap_or_default();
        let in_file = whole.iter().filter(|byte| **byte == b'\n').count();
        if written > 0 {
            self.is_cut = all.as_bytes().get(written - 1) != Some(&b'\n');
        }
        plain.iter().skip(in_file).for_each(|text| to_stderr(text));
        let more = u64::try_from(plain.len() - in_file.min(plain.len())).unwrap_or(u64::MAX);
        let before = if written >= head && head > 0 { 0 } else { before };
        self.failed = Some((before.saturating_add(more), error));
    }
}

/// Lines to write into one file.
#[derive(Default)]
struct OfFile {
    path: Option<PathBuf>,
    /// In the format of the file.
    text: String,
    /// In the format of standard error.
    plain: Vec<String>,
    last: Option<LogLine>,
}

impl OfFile {
    fn add(&mut self, line: &LogLine) {
        self.text.push_str(&line.of_file());
        self.plain.push(line.text.clone());
        self.last = Some(line.beside(String::new()));
    }
}

const SYSLOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Sends a packet to a log daemon and never blocks: if the log daemon hangs, lines are lost. Connects again after its
/// restart.
fn send(socket: &mut Option<UnixDatagram>, path: &Path, packet: &[u8]) {
    if let Some(socket) = socket
        && socket.send(packet).is_ok()
    {
        return;
    }
    *socket = connect_to_syslog(path);
    if let Some(socket) = socket {
        let _ = socket.send(packet);
    }
}

fn connect_to_syslog(path: &Path) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(path).ok()?;
    Some(socket)
}

fn to_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Appends to the file. Opens it for each write, so log rotation needs no signal; the original opens it for each line.
/// An error has the number of bytes that were written.
fn append(path: &Path, text: &str) -> Result<(), (usize, io::Error)> {
    let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(|error| (0, error))?;
    let mut written = 0;
    while written < text.len() {
        match file.write(&text.as_bytes()[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Opens the file for a test. A pipe without a reader is fine: its reader gets the queued lines later.
fn can_be_opened(path: &Path) -> io::Result<()> {
    let options = OpenOptions::new().append(true).create(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    match options {
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => Ok(()),
        opened => opened.map(drop),
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut record = LogRecord::default();
        event.record(&mut record);
        let (text, fields) = record.finish();
        self.write(*event.metadata().level(), text, fields);
    }
}

#[cfg(test)]
mod tests;
