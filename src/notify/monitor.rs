//! `monitorfile`: a line for each check, in the original's form.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use tracing::{error, info};

use crate::health::Health;
use crate::plan::{Action, CheckType, Member, Negotiate, Plan, Real, Virtual};
use crate::value::{Outcome, Protocol, Verdict, VirtualId};

/// So many lines wait for a disk that is slow; what comes then is lost, and said.
const WAITING: usize = 4096;

/// One line for one file, without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The file.
    pub path: PathBuf,
    /// Which server, `[up]` or `[down]`, and what the check says.
    pub text: String,
}

/// The line for a server whose check has spoken; none where nothing is written.
#[must_use]
pub fn line(plan: &Plan, health: &Health, member: Member, verdict: &Verdict) -> Option<Line> {
    let (v, real) = plan.member(member);
    let path = v.monitorfile.clone()?;
    let server = health.server(member);
    // The original never writes about these.
    let probe = &plan.check_of(member)?.key.probe;
    if v.checktype == CheckType::On || matches!(&probe.action, Action::External(e) if e.perl) {
        return None;
    }
    let (up, text) = match &server.verdict {
        Some(out) if server.maintenance => (false, out.monitor.as_deref()),
        _ => (verdict.outcome == Outcome::Up, verdict.monitor.as_deref()),
    };
    if verdict.is_unknown() {
        return None;
    }
    let state = if up { "up" } else { "down" };
    Some(Line { path, text: format!("{} [{state}] {}", server_id(v, real), encoded(text.unwrap_or("-"))) })
}

/// What the original calls a server: all that makes it this server, with blanks for its colons.
fn server_id(v: &Virtual, real: &Real) -> String {
    let protocol = match v.id {
        VirtualId::Address { protocol: Protocol::Tcp, .. } => "tcp",
        VirtualId::Address { protocol: Protocol::Udp, .. } => "udp",
        VirtualId::Mark { .. } => "fwm",
    };
    let (request, receive) = match &real.request {
        Some(request) => (request, real.receive.as_ref()),
        None => (&v.request, v.receive.as_ref()),
    };
    let ip = real.address.ip();
    let ip = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    let id = format!(
        "{}:{protocol}:{ip}:{}:{}:{}:{}:{}:{request}:{}",
        check_word(v),
        real.address.port(),
        v.virtualhost.as_deref().unwrap_or_default(),
        v.checkport.map(|port| port.to_string()).unwrap_or_default(),
        real.weight,
        real.method,
        receive.map(|pattern| pattern.source()).unwrap_or_default(),
    );
    let mut text = String::with_capacity(id.len());
    for c in id.chars().filter(|c| *c != '\\') {
        match c {
            ':' if text.ends_with('\u{0}') => {}
            ':' => text.push('\u{0}'),
            other => text.push(other),
        }
    }
    text.replace('\u{0}', " ")
}

fn check_word(v: &Virtual) -> String {
    let service = |kind: &str, service: Negotiate| format!("{kind}:{}", service.word());
    match v.checktype {
        CheckType::Connect => "connect".to_owned(),
        CheckType::Negotiate => service("negotiate", v.service),
        CheckType::Combined(_) => service("combined", v.service),
        CheckType::Ping => "ping".to_owned(),
        CheckType::Off => "off".to_owned(),
        CheckType::On => "on".to_owned(),
        CheckType::External => format!("external:{}", v.checkcommand),
        CheckType::ExternalPerl => format!("external-perl:{}", v.checkcommand),
    }
}

/// One line whatever a server has sent: `%`, `|` and line ends as `%xx`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' | '|' | '\r' | '\n' => {
                let _ = write!(out, "%{:02x}", u32::from(c));
            }
            other => out.push(other),
        }
    }
    out
}

/// Writes to monitor files on a thread of its own, so that a slow disk delays no check.
pub struct Monitor {
    lines: SyncSender<Line>,
    lost: u64,
}

impl Default for Monitor {
    fn default() -> Monitor {
        let (lines, receiver) = sync_channel(WAITING);
        thread::spawn(move || write_all(&receiver));
        Monitor { lines, lost: 0 }
    }
}

impl Monitor {
    /// Hands a line over. Never waits.
    pub fn write(&mut self, mut line: Line) {
        let time = chrono::Local::now().format("%a %b %e %H:%M:%S %Y");
        line.text = format!("[{time}] [{}] {}\n", std::process::id(), line.text);
        match self.lines.try_send(line) {
            Ok(()) if self.lost > 0 => {
                error!(
                    "{} lines for monitor files were lost, because they could not be written in time",
                    self.lost
                );
                self.lost = 0;
            }
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }
}

/// Ends when nobody hands lines over any more.
fn write_all(lines: &Receiver<Line>) {
    // Whether each file could be written last time: what cannot be written is said once.
    let mut failing: BTreeMap<PathBuf, bool> = BTreeMap::new();
    while let Ok(line) = lines.recv() {
        let result = append(&line);
        let path = line.path.display();
        let before = failing.insert(line.path.clone(), result.is_err()).unwrap_or(false);
        match result {
            Err(error) if !before => {
                error!("monitorfile {path} cannot be written: {error}; checks go on without it");
            }
            Ok(()) if before => info!("monitorfile {path} can be written again"),
            _ => {}
        }
    }
}

/// Opens the file for each line, as the original does: log rotation then needs no signal.
fn append(line: &Line) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(&line.path)?.write_all(line.text.as_bytes())
}
