//! Observes a director from outside, as lines. What differs between any two runs is removed here.
//!
//! Removed are: time stamps, process ids, the machine's name and the program's path; of mails `Date`, `Message-ID`
//! and the like, the order of headers, their line breaks, empty lines at the end, and what ours adds below the
//! original's lines (R97). The table, mails and log lines
//! are sorted, because their order has no meaning, and a repeated line counts once. The order of calls counts. Of a
//! command's output, everything from the first empty line is removed: ours shows the place in the file there.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::{Pid, gethostname};

use super::mail_server::MailServer;
use super::scenario::Scenario;
use super::servers::Servers;

/// The file in which scripts of a scenario record their calls.
pub const CALLS: &str = "/etc/ha.d/calls";
/// The output of a daemon in the foreground.
pub const FOREGROUND: &str = "/etc/ha.d/foreground";
const LOGS: [&str; 3] = ["/var/log/ldirectord.log", "/etc/ha.d/log", FOREGROUND];
const MONITOR: &str = "/etc/ha.d/monitor";
const MAILS: &str = "/etc/ha.d/mails";
/// The start of the last line of a mail of ours.
const DETAILS: &str = "Details:     ldirectord-rs show ";
/// Lines of the monitor file count as current if they are not older than this: two passes of checks on a very busy
/// machine.
const RECENT: Duration = Duration::from_secs(6);
/// The table is read with a process at this interval even if /proc shows no change. A process is expensive in the
/// emulated machine.
const TABLE_AGE: Duration = Duration::from_secs(4);

/// Observes the director in whose namespaces the calling thread is.
pub struct Watch {
    log: Vec<String>,
    thresholds: bool,
    requests: bool,
    sorted: bool,
    ignored: Vec<String>,
    hostname: String,
    binary: String,
    marks: Marks,
    monitor: Vec<(Instant, String)>,
    monitor_read: usize,
    table: Option<(Instant, String, Vec<String>)>,
}

/// The amount of everything when the group of commands began.
#[derive(Default)]
struct Marks {
    logs: [usize; LOGS.len()],
    calls: usize,
    mails: usize,
    requests: usize,
}

/// The least that shows whether something happened.
#[derive(PartialEq, Eq, Clone)]
pub struct Pulse {
    /// The table as /proc shows it.
    pub table: String,
    log: usize,
    calls: usize,
    mails: usize,
    running: Vec<String>,
}

impl Watch {
    /// Observes as the settings of the scenario require. `binary` is the program under test.
    pub fn new(scenario: &Scenario, binary: &str) -> Self {
        let all = |name: &str| {
            let settings = scenario.settings.iter().filter(move |setting| setting.name == name);
            settings.map(|setting| setting.rest.clone()).collect()
        };
        Self {
            log: all("log"),
            thresholds: scenario.setting("thresholds").is_some(),
            requests: scenario.setting("requests").is_some(),
            sorted: scenario.setting("sorted").is_some(),
            ignored: all("ignore"),
            hostname: gethostname().unwrap().to_string_lossy().into_owned(),
            binary: binary.to_owned(),
            marks: Marks::default(),
            monitor: Vec::new(),
            monitor_read: 0,
            table: None,
        }
    }

    /// Begins a new group of commands.
    pub fn mark(&mut self, post: &MailServer, servers: &Servers) {
        self.marks = Marks {
            logs: LOGS.map(|path| read(path).len()),
            calls: read(CALLS).len(),
            mails: mails(post).len(),
            requests: servers.asked().len(),
        };
        self.table = None;
    }

    /// Makes the next observation read the table again.
    pub fn forget_table(&mut self) {
        self.table = None;
    }

    /// Takes a pulse, which is cheap.
    pub fn pulse(&self, post: &MailServer) -> Pulse {
        Pulse {
            table: read("/proc/thread-self/net/ip_vs"),
            log: self.log_lines().len(),
            calls: read(CALLS).len(),
            mails: self.new_mails(post).len(),
            running: running(),
        }
    }

    /// Everything observed, after `said`, the results of the commands.
    pub fn look(&mut self, said: &[String], post: &MailServer, servers: &Servers) -> Vec<String> {
        let mut lines: Vec<String> = said.iter().map(|line| self.normal(line)).collect();
        lines.extend(running());
        lines.extend(self.table());
        lines.extend(self.calls());
        for mail in self.new_mails(post) {
            lines.push("mail".to_owned());
            lines.extend(mail.iter().map(|line| format!("  {line}")));
        }
        let wanted = |line: &String| self.log.iter().any(|pattern| line.contains(pattern));
        lines.extend(self.log_lines().into_iter().filter(wanted).map(|line| format!("log {line}")));
        lines.extend(self.recent_monitor());
        if self.requests {
            let asked: BTreeSet<String> = servers.asked().into_iter().skip(self.marks.requests).collect();
            lines.extend(asked.into_iter().map(|line| format!("asked {line}")));
        }
        lines.retain(|line| !self.ignored.iter().any(|part| line.starts_with(part.as_str())));
        lines
    }

    /// What scripts recorded: calls in their order, and notes of checks, which have no order.
    fn calls(&self) -> Vec<String> {
        let text = read(CALLS);
        let new = text.get(self.marks.calls..).unwrap_or_default().lines();
        let (mut notes, calls): (Vec<String>, Vec<String>) =
            new.map(|line| self.normal(line)).partition(|line| self.sorted || line.starts_with("note "));
        notes.sort();
        notes.extend(calls);
        notes
    }

    fn log_lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for (path, mark) in LOGS.iter().zip(self.marks.logs) {
            let text = read(path);
            lines.extend(text.get(mark..).unwrap_or_default().lines().map(|line| self.normal(line)));
        }
        lines
    }

    fn new_mails(&self, post: &MailServer) -> BTreeSet<Vec<String>> {
        let normal = |mail: Vec<String>| self.normal_mail(&mail);
        mails(post).into_iter().skip(self.marks.mails).map(normal).collect()
    }

    /// A mail: envelope, headers sorted by name with each on one line, text.
    fn normal_mail(&self, mail: &[String]) -> Vec<String> {
        let odd = ["date:", "message-id:", "mime-version:", "content-t", "user-agent:", "auto-submitted:"];
        let (mut envelope, mut headers, mut text) = (Vec::new(), Vec::<String>::new(), Vec::new());
        for line in mail.iter().map(|line| self.normal(line).trim_end().to_owned()) {
            match line.strip_prefix("  ") {
                None if text.is_empty() && headers.is_empty() => envelope.push(line),
                Some(more) if text.is_empty() && more.starts_with(' ') && !headers.is_empty() => {
                    if let Some(header) = headers.last_mut() {
                        header.push_str(more);
                    }
                }
                Some(_) if text.is_empty() => headers.push(line),
                _ => text.push(line),
            }
        }
        while text.last().is_some_and(|line: &String| line.trim().is_empty()) {
            text.pop();
        }
        remove_details(&mut text);
        headers
            .retain(|line| !odd.iter().any(|name| line.trim_start().to_ascii_lowercase().starts_with(name)));
        headers.sort();
        envelope.into_iter().chain(headers).chain(text).collect()
    }

    fn table(&mut self) -> Vec<String> {
        let outline = read("/proc/thread-self/net/ip_vs");
        if let Some((at, known, lines)) = &self.table
            && *known == outline
            && at.elapsed() < TABLE_AGE
        {
            return lines.clone();
        }
        let mut lines = ipvsadm(&["-Sn"]);
        lines.sort();
        if self.thresholds {
            let listed = ipvsadm(&["-Ln", "--thresholds"]);
            lines.extend(listed.iter().skip(3).map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                format!("thresholds {}", words.join(" "))
            }));
        }
        self.table = Some((Instant::now(), outline, lines.clone()));
        lines
    }

    fn recent_monitor(&mut self) -> Vec<String> {
        let text = read(MONITOR);
        let new = text.get(self.monitor_read..).unwrap_or_default();
        let complete = new.rfind('\n').map_or(0, |at| at + 1);
        let lines: Vec<_> = new[..complete].lines().map(|line| (Instant::now(), self.normal(line))).collect();
        self.monitor.extend(lines);
        self.monitor_read += complete;
        let recent: BTreeSet<String> = self
            .monitor
            .iter()
            .filter(|(at, _)| at.elapsed() < RECENT)
            .map(|(_, line)| line.clone())
            .collect();
        recent.into_iter().map(|line| format!("monitor {line}")).collect()
    }

    /// A line without the parts that differ between runs.
    fn normal(&self, line: &str) -> String {
        let mut line = line;
        let (mark, rest) = line.split_at(if line.starts_with("out [") { 4 } else { 0 });
        line = rest;
        // `[Mon Nov 23 22:50:55 2026|lab.cf|17] `, and `[…] [17] ` in the monitor file.
        while let Some((stamp, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] "))
            && stamp.contains(|c: char| c.is_ascii_digit())
        {
            line = rest;
        }
        let mut text = format!("{mark}{line}")
            .replace(&self.binary, "ldirectord")
            .replace("/usr/sbin/ldirectord", "ldirectord");
        for before in ["@", "ldirectord host: "] {
            text = text.replace(&format!("{before}{}", self.hostname), &format!("{before}HOST"));
        }
        for before in ["pid: ", "PID=", "Error [", "Warning [", "pid ", "Linux Director v"] {
            text = without_numbers(&text, before);
        }
        text
    }
}

/// Removes what only ours writes below the original's lines (R97): it has times, which differ between runs. A mail of
/// another form stays as it is.
fn remove_details(text: &mut Vec<String>) {
    let starts =
        |at: usize, words: &str| text.get(at).is_some_and(|line| line.trim_start().starts_with(words));
    let Some(status) = (0..text.len()).find(|at| starts(*at, "Daemon-Status: ")) else { return };
    let is_note = |at: usize| starts(at, "Service name: ") || starts(at, "Comment: ");
    let mut end = status + 1;
    if is_note(end + 1) {
        end += 1;
        while is_note(end) {
            end += 1;
        }
    }
    let has_details = text.last().is_some_and(|line| line.trim_start().starts_with(DETAILS));
    if has_details && text.get(end).is_some_and(|line| line.trim().is_empty()) {
        text.truncate(end);
    }
}

/// The text with `N` in place of each number after `before`.
fn without_numbers(text: &str, before: &str) -> String {
    let mut parts = text.split(before);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        result.push_str(before);
        if rest.len() < part.len() {
            result.push('N');
        }
        result.push_str(rest);
    }
    result
}

/// Reads a file. A missing file is empty.
fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn ipvsadm(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("ipvsadm").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The mails that arrived by SMTP, and those that were passed to the scenario's `sendmail`.
fn mails(post: &MailServer) -> Vec<Vec<String>> {
    let mut mails = post.mails();
    let Ok(entries) = fs::read_dir(MAILS) else { return mails };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "complete")) {
        mails.push(read(&path.to_string_lossy()).lines().map(ToOwned::to_owned).collect());
    }
    mails
}

/// The daemons that pid files name.
pub fn daemons() -> Vec<(String, Option<Pid>)> {
    let Ok(entries) = fs::read_dir("/run") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_prefix("ldirectord.").and_then(|name| name.strip_suffix(".pid")) {
            let text = read(&format!("/run/ldirectord.{name}.pid"));
            found.push((name.to_owned(), text.trim().parse().ok().map(Pid::from_raw)));
        }
    }
    found.sort();
    found
}

/// A pid file may name another process.
pub fn is_ldirectord(pid: Pid) -> bool {
    read(&format!("/proc/{pid}/cmdline")).contains("ldirectord")
}

/// Their states as words.
pub fn running() -> Vec<String> {
    let state = |(name, pid): (String, Option<Pid>)| match pid {
        None => format!("{name} has an empty pid file"),
        Some(pid) if is_ldirectord(pid) => format!("{name} runs"),
        Some(pid) if kill(pid, None).is_ok() => format!("{name} has the pid of another program"),
        Some(_) => format!("{name} has a stale pid file"),
    };
    daemons().into_iter().map(state).collect()
}

/// The original's lines are compared, whatever follows them (R97).
#[test]
fn r97_details_of_mails_are_not_compared() {
    let original = ["", "  ldirectord host: HOST", "  Log-Message: x", "  Daemon-Status: running"];
    let notes = ["", "  Service name: shop", "  Comment: Call Bob"];
    let details = ["", "  NO SERVER LEFT in tcp:10.0.0.1:80. No fallback.", "", "  Up:          0 of 1"];
    let last = ["  Details:     ldirectord-rs show lab.cf"];
    let joined = |parts: &[&[&str]]| parts.concat().iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    for own in [joined(&[&original]), joined(&[&original, &notes])] {
        let mut text = [own.clone(), joined(&[&details, &last])].concat();
        remove_details(&mut text);
        assert_eq!(text, own);
        // Without the last line it is not known what the other lines are.
        let other = [own.clone(), joined(&[&details])].concat();
        let mut text = other.clone();
        remove_details(&mut text);
        assert_eq!(text, other);
    }
}
