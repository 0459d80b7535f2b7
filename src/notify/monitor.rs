//! `monitorfile`: a line for each check, in the original's form.

#![expect(clippy::disallowed_methods, reason = "waiting for a file with a limit needs the clock")]

use std::borrow::Cow;
use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, Utc};
use tracing::{error, info};

use crate::health::Health;
use crate::net::cause;
use crate::spec::{CheckType, Negotiate, ProbeAction, Real, ServerRef, Spec, Virtual};
use crate::sys::write_queue::WriteQueue;
use crate::value::{Outcome, Protocol, Verdict, VirtualId, shown};

/// The queue of a slow file in bytes. More lines are dropped, counted and reported.
const WAITING: usize = 256 * 1024;

/// One line for one file, without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorLine {
    /// The file.
    pub path: PathBuf,
    /// The server, `[up]` or `[down]`, and the check's message.
    pub text: String,
}

/// The line for a finished check, or for a check that `maintenancedir` suppresses. `None` if no line is written.
#[must_use]
pub fn line(
    spec: &Spec,
    health: &Health,
    member: ServerRef,
    verdict: Option<&Verdict>,
) -> Option<MonitorLine> {
    let (v, real) = spec.member(member);
    let path = v.notes.monitorfile.clone()?;
    // The original writes no line for these.
    let probe = &spec.check_of(member)?.key.probe;
    if v.check.checktype == CheckType::On || matches!(&probe.action, ProbeAction::External(e) if e.perl) {
        return None;
    }
    let (up, text) = match verdict {
        _ if health.server(member).is_in_maintenance() => (false, Some("Server in maintenance")),
        Some(verdict) if !verdict.is_unknown() => {
            (verdict.outcome == Outcome::Up, verdict.monitor.as_deref())
        }
        _ => return None,
    };
    let state = if up { "up" } else { "down" };
    Some(MonitorLine {
        path,
        text: format!("{} [{state}] {}", server_id(v, real), encoded(text.unwrap_or("-"))),
    })
}

/// The original's id of a server: everything that identifies it, with blanks for its colons.
fn server_id(v: &Virtual, real: &Real) -> String {
    let protocol = match v.id {
        VirtualId::Address { protocol: Protocol::Tcp, .. } => "tcp",
        VirtualId::Address { protocol: Protocol::Udp, .. } => "udp",
        VirtualId::Address { protocol: Protocol::Sctp, .. } => "sctp",
        VirtualId::Mark { .. } => "fwm",
    };
    let (request, receive) = match &real.request {
        Some(request) => (request, real.receive.as_ref()),
        None => (&v.check.request, v.check.receive.as_ref()),
    };
    let request = shown_request(v, request);
    let ip = real.address.ip();
    let ip = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    let id = format!(
        "{}:{protocol}:{ip}:{}:{}:{}:{}:{}:{request}:{}",
        check_word(v),
        real.address.port(),
        v.check.virtualhost.as_deref().unwrap_or_default(),
        v.check.checkport.map(|port| port.to_string()).unwrap_or_default(),
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

/// The request without secrets: every user may read a monitor file, so it has no queries and no passwords of URLs
/// (R76).
fn shown_request<'a>(v: &Virtual, request: &'a str) -> Cow<'a, str> {
    match v.check.service {
        Negotiate::Mysql | Negotiate::Oracle | Negotiate::Pgsql if request != "/" => Cow::Borrowed("***"),
        _ => shown::url(request),
    }
}

fn check_word(v: &Virtual) -> String {
    let service = |kind: &str, service: Negotiate| format!("{kind}:{}", service.as_str());
    match v.check.checktype {
        CheckType::Connect => "connect".to_owned(),
        CheckType::Negotiate => service("negotiate", v.check.service),
        CheckType::Combined(_) => service("combined", v.check.service),
        CheckType::Ping => "ping".to_owned(),
        CheckType::Off => "off".to_owned(),
        CheckType::On => "on".to_owned(),
        CheckType::External => format!("external:{}", shown::command(&v.check.checkcommand)),
        CheckType::ExternalPerl => format!("external-perl:{}", shown::command(&v.check.checkcommand)),
    }
}

/// Encodes `%`, `|` and line ends as `%xx`, so that text from a server stays one line.
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

/// Writes monitor files. Each has a queue and a thread, so a slow disk delays no check, and a file that hangs delays no
/// other.
pub struct Monitor {
    mode: u32,
    files: BTreeMap<PathBuf, WriteQueue<Entry>>,
}

/// A line and its time.
type Entry = (DateTime<Utc>, String);

impl Monitor {
    /// No files yet. Files that do not exist are created with this mode.
    #[must_use]
    pub fn new(mode: u32) -> Monitor {
        Monitor { mode, files: BTreeMap::new() }
    }

    /// Queues a line. Never waits.
    pub fn write(&mut self, MonitorLine { path, text }: MonitorLine) {
        let queue = match self.files.entry(path) {
            Occupied(known) => known.into_mut(),
            Vacant(new) => {
                let queue = WriteQueue::new(WAITING);
                let mut file = MonitorFile { path: new.key().clone(), mode: self.mode, failing: false };
                if let Err(error) = queue.start("monitorfile", move |lines| file.write(lines)) {
                    error!("monitorfile {}: no thread for it: {error}; a line is lost", new.key().display());
                    return;
                }
                new.insert(queue)
            }
        };
        let length = text.len();
        queue.push((Utc::now(), text), length);
    }

    /// Waits until all lines are written, for at most `limit` in total, then reports the lost lines.
    pub fn finish(self, limit: Duration) {
        let end = Instant::now() + limit;
        for (path, queue) in &self.files {
            let left = queue.flush(end.saturating_duration_since(Instant::now()));
            if left > 0 {
                let (path, lines) = (path.display(), if left == 1 { "line" } else { "lines" });
                error!(
                    "monitorfile {path}: the last {left} {lines} are lost: not written before the daemon ended"
                );
            }
        }
    }

    /// Drops files that are no longer configured. Their queued lines are still written.
    pub fn set_spec(&mut self, spec: &Spec) {
        let named: BTreeSet<&PathBuf> =
            spec.virtuals().iter().filter_map(|v| v.notes.monitorfile.as_ref()).collect();
        self.files.retain(|path, _| named.contains(path));
    }
}

/// A file and whether the last write failed: a failure is reported once.
struct MonitorFile {
    path: PathBuf,
    mode: u32,
    failing: bool,
}

impl MonitorFile {
    fn write(&mut self, lines: &[(Entry, u64)]) {
        let path = self.path.display();
        let lost: u64 = lines.iter().map(|(_, lost)| lost).sum();
        if lost > 0 {
            error!(
                "monitorfile {path}: {lost} lines were dropped because the file could not be written in time"
            );
        }
        let mut all = String::new();
        for ((at, text), _) in lines {
            let time = at.with_timezone(&Local).format("%a %b %e %H:%M:%S %Y");
            let _ = writeln!(all, "[{time}] [{}] {text}", std::process::id());
        }
        let result = append(&self.path, self.mode, &all);
        match (&result, self.failing) {
            (Err(error), false) => {
                error!("monitorfile {path} cannot be written: {}; checks continue without it", cause(error));
            }
            (Ok(()), true) => info!("monitorfile {path} can be written again"),
            _ => {}
        }
        self.failing = result.is_err();
    }
}

/// Opens the file for each write, so log rotation needs no signal. The original opens it for each line.
fn append(path: &Path, mode: u32, lines: &str) -> io::Result<()> {
    let file = match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path, mode),
        opened => opened,
    };
    file?.write_all(lines.as_bytes())
}

/// Creates a file with this mode, regardless of the umask. If another program has just created it, it keeps its mode.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    match OpenOptions::new().append(true).create_new(true).mode(mode).open(path) {
        Ok(file) => file.set_permissions(Permissions::from_mode(mode)).map(|()| file),
        // A dangling link is followed, as in the original.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().append(true).create(true).mode(mode).open(path)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    /// R76
    #[test]
    fn c3_monitor_files_hold_no_secrets() {
        let id = |lines: &str, own: &str| {
            let text = format!("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq 1 {own}\n{lines}");
            let names = crate::config::Answers::new("director");
            let config = crate::config::load(text.as_bytes(), &names).config.unwrap();
            server_id(&config.virtuals[0], &config.virtuals[0].reals[0])
        };
        let url = "\"http://mon:secret@10.0.0.3/x\", \"fine\"";
        assert_eq!(
            id("\tservice=http\n", url),
            "negotiate http tcp 10.0.0.2 80 1 masq /http //10.0.0.3/x fine"
        );
        let sql = "\tlogin=\"joe\"\n\trequest=\"SELECT secret FROM users\"\n";
        for service in ["mysql", "pgsql", "oracle"] {
            let lines = format!("\tservice={service}\n{sql}");
            assert_eq!(id(&lines, ""), format!("negotiate {service} tcp 10.0.0.2 80 1 masq *** "));
        }
        let command = "\tchecktype=external\n\tcheckcommand=\"/usr/bin/check -p secret\"\n";
        assert_eq!(id(command, ""), "external /usr/bin/check … tcp 10.0.0.2 80 1 masq / ");
    }

    #[test]
    fn c3_a_new_monitor_file_has_the_mode_of_the_settings() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o640, 0o600, 0o664] {
            let new = directory.path().join(format!("{mode:o}"));
            let (link, target) = (new.with_extension("link"), new.with_extension("target"));
            std::os::unix::fs::symlink(&target, &link).unwrap();
            let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            for path in [&new, &link] {
                append(path, mode, "one\n").unwrap();
                append(path, 0o600, "two\n").unwrap();
                assert_eq!(fs::read_to_string(path).unwrap(), "one\ntwo\n");
                // The umask of this process may reduce the mode of a link's target.
                let wanted = if path == &new { mode } else { mode_of(path) & mode };
                assert_eq!(mode_of(path), wanted, "{}", path.display());
            }
            // A file that exists keeps its mode.
            fs::set_permissions(&new, Permissions::from_mode(0o604)).unwrap();
            append(&new, mode, "three\n").unwrap();
            assert_eq!(mode_of(&new), 0o604);
        }
    }

    #[test]
    fn b4_a_monitor_file_that_hangs_stops_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (pipe, good) = (directory.path().join("pipe"), directory.path().join("good"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut monitor = Monitor::new(0o644);
        for number in 0..3000 {
            let text = format!("{number} {}", "x".repeat(200));
            monitor.write(MonitorLine { path: pipe.clone(), text });
            if number % 300 == 0 {
                monitor.write(MonitorLine { path: good.clone(), text: format!("good {number}") });
            }
        }
        let limit = Instant::now() + Duration::from_secs(20);
        while !fs::read_to_string(&good).is_ok_and(|text| text.ends_with("] good 2700\n")) {
            assert!(Instant::now() < limit, "{:?}", fs::read_to_string(&good));
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(fs::read_to_string(&good).unwrap().lines().count(), 10);
        // The process may exit now; that ends the thread that hangs at the pipe.
        assert!(monitor.files[&pipe].flush(Duration::ZERO) > 2000, "no bound in bytes");
    }

    #[test]
    fn b8_lines_of_the_last_moment_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("monitor");
        let mut monitor = Monitor::new(0o644);
        (0..500)
            .for_each(|number| monitor.write(MonitorLine { path: path.clone(), text: number.to_string() }));
        monitor.finish(Duration::from_secs(20));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 500);
    }
}
