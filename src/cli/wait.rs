//! `drain --wait` and `down --wait`: waits until the kernel counts no active connection of the server.

#![expect(clippy::disallowed_methods, reason = "waiting for connections to end needs the clock")]

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use super::Exit;
use super::ask::ask;
use super::context::Context;
use super::failure::CommandFailure;
use super::show;
use super::terminal::{self, answer, eprint_line};
use crate::control::{ClientError, ControlRequest, CounterDetail, ErrorCode, OverrideRequest};
use crate::report::{ConnectionCounts, Emptying, EmptyingServer, VirtualService};
use crate::settings::Backend;
use crate::sys::{instance, socket};
use crate::value::layout::span;
use crate::value::shown::escaped;

/// Time between two questions.
const POLL: Duration = Duration::from_secs(1);
/// After this number of answers in a row without connections the wait ends. One may have met a change of the table.
const UNCOUNTED: u32 = 5;

/// `0` here, and known clients return to a server of weight 0 while it has persistence templates.
const EXPIRE: &str = "/proc/sys/net/ipv4/vs/expire_quiescent_template";

/// The server in one of its services.
struct Awaited {
    service: String,
    emptying: EmptyingServer,
    last: Emptying,
    /// Whether the kernel sees only what clients send, because it does not forward by masquerading.
    is_one_way: bool,
}

/// Waits for a server in these services, after the override of `request` was set.
pub(super) fn run(
    context: &Context,
    request: &OverrideRequest,
    services: &[String],
    limit: Option<Duration>,
) -> Result<Exit, CommandFailure> {
    let server = request.server.to_string();
    let awaited = |service: &String| Awaited {
        service: service.clone(),
        emptying: EmptyingServer::new(server.clone(), request.what),
        last: Emptying::NotCounted,
        is_one_way: false,
    };
    let mut all: Vec<Awaited> = services.iter().map(awaited).collect();
    let begin = Instant::now();
    let (mut is_explained, mut uncounted) = (false, 0);
    loop {
        for one in &mut all {
            if let Err(reason) = one.look(context)? {
                end_progress();
                let what = request.what.as_str();
                let service = &one.service;
                return answer(
                    format!("{server}: the {what} in {service} ended: {}", escaped(&reason)),
                    Exit::Failure,
                );
            }
        }
        uncounted = if all.iter().any(|one| one.last == Emptying::NotCounted) { uncounted + 1 } else { 0 };
        if uncounted >= UNCOUNTED {
            end_progress();
            return not_counted(context, &server);
        }
        let counts = total(&all);
        let is_busy = |one: &Awaited| matches!(one.last, Emptying::Busy(_) | Emptying::NotCounted);
        if !all.iter().any(is_busy) {
            end_progress();
            notes(&server, &all, counts);
            return answer(empty(&server, &all, counts), Exit::Ok);
        }
        if !std::mem::replace(&mut is_explained, true) {
            explain(&all);
        }
        let waited = begin.elapsed();
        if limit.is_some_and(|limit| waited >= limit) {
            end_progress();
            notes(&server, &all, counts);
            return answer(left(context, request, &all, counts, waited), Exit::Unknown);
        }
        show_progress(&server, counts, waited);
        thread::sleep(limit.map_or(POLL, |limit| POLL.min(limit - waited)));
    }
}

impl Awaited {
    /// Asks the daemon. Returns why the override ended, if it did.
    fn look(&mut self, context: &Context) -> Result<Result<(), String>, CommandFailure> {
        let request = ControlRequest::Show {
            service: Some(self.service.clone()),
            counters: CounterDetail::Connections,
        };
        let socket = || socket::place(&context.state_directory(), &context.name);
        let text = match ask(context, &request) {
            Ok(text) => text,
            Err(ClientError::Refused(failure)) if failure.code == ErrorCode::NotFound => {
                return Ok(Err("the configuration no longer has the virtual service".to_owned()));
            }
            Err(ClientError::Io(error)) => {
                end_progress();
                return Err(show::no_answer(context, error));
            }
            Err(error) => return Err(CommandFailure::ShowRefused { socket: socket(), error }),
        };
        let service: VirtualService = serde_json::from_str(&text)
            .map_err(|error| CommandFailure::OtherVersion { socket: socket(), error, advice: "" })?;
        match self.emptying.look(&service) {
            Ok(found) => self.last = found,
            Err(reason) => return Ok(Err(reason)),
        }
        self.is_one_way = self.emptying.server_of(&service).is_some_and(|server| server.method != "masq");
        Ok(Ok(()))
    }

    fn counts(&self) -> ConnectionCounts {
        match self.last {
            Emptying::Empty(counts) | Emptying::Busy(counts) => counts,
            Emptying::NotInTable | Emptying::NotCounted => ConnectionCounts::default(),
        }
    }
}

fn total(all: &[Awaited]) -> ConnectionCounts {
    all.iter().map(Awaited::counts).fold(ConnectionCounts::default(), |sum, one| ConnectionCounts {
        active: sum.active.saturating_add(one.active),
        inactive: sum.inactive.saturating_add(one.inactive),
        persistent: sum.persistent.saturating_add(one.persistent),
    })
}

/// The daemon gives no connections: its table is in memory, or its kernel does not tell.
fn not_counted(context: &Context, server: &str) -> Result<Exit, CommandFailure> {
    let held = instance::held(&context.lock_file());
    let is_in_memory = context.settings.table.backend == Backend::Memory
        || matches!(held, Ok(Some((_, instance))) if instance.network.is_none());
    match is_in_memory {
        true => answer(format!("{server}: the table is in memory and has no connections"), Exit::Ok),
        false => answer(
            format!(
                "{server}: the daemon cannot read the connections of the kernel's table; use ipvsadm -Ln"
            ),
            Exit::Failure,
        ),
    }
}

fn in_words(counts: ConnectionCounts) -> String {
    let ConnectionCounts { active, inactive, persistent } = counts;
    let (connections, templates) = (plural(active, "connection"), plural(persistent, "persistence template"));
    format!("{active} active {connections}, {inactive} inactive, {persistent} {templates}")
}

fn plural(count: u32, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

fn empty(server: &str, all: &[Awaited], counts: ConnectionCounts) -> String {
    if all.iter().all(|one| one.last == Emptying::NotInTable) {
        return format!("{server}: it is not in the table, so the kernel does not count its connections");
    }
    format!("{server}: empty: {}", in_words(counts))
}

/// The text for a time-out.
fn left(
    context: &Context,
    request: &OverrideRequest,
    all: &[Awaited],
    counts: ConnectionCounts,
    waited: Duration,
) -> String {
    let server = request.server;
    let mut text = format!("{server}: not empty after {}: {}", span(waited), in_words(counts));
    if all.len() > 1 {
        let busy = all.iter().filter(|one| one.counts().active > 0);
        let busy: Vec<String> = busy.map(|one| format!("{} {}", one.service, one.counts().active)).collect();
        let _ = write!(text, " ({})", busy.join(", "));
    }
    let _ = write!(
        text,
        "; the {} stays. To see them: ldirectord-rs show {server} --connections -c {}",
        request.what.as_str(),
        context.display_config()
    );
    text
}

/// Explains why connections may stay for long, once.
fn explain(all: &[Awaited]) {
    let one_way: Vec<&Awaited> = all.iter().filter(|one| one.is_one_way && one.counts().active > 0).collect();
    if one_way.is_empty() {
        return;
    }
    let is_udp = |one: &&Awaited| one.service.starts_with("udp:");
    let time = match (one_way.iter().all(is_udp), one_way.iter().any(is_udp)) {
        (true, _) => "5 min",
        (false, true) => "15 min (TCP) or 5 min (UDP)",
        (false, false) => "15 min",
    };
    eprint_line!(
        "Note: with direct routing and tunnels the kernel sees only what clients send: an idle connection counts as active for up to \
         {time}"
    );
}

/// Names what brings clients back to a server that is out of rotation.
fn notes(server: &str, all: &[Awaited], counts: ConnectionCounts) {
    let expires = fs::read_to_string(EXPIRE).map(|text| text.trim() != "0").unwrap_or(true);
    if counts.persistent == 0 || expires || all.iter().all(|one| one.last == Emptying::NotInTable) {
        return;
    }
    eprint_line!(
        "Note: {} {} bring known clients back to {server}, because net.ipv4.vs.expire_quiescent_template is 0; to end that: sysctl -w \
         net.ipv4.vs.expire_quiescent_template=1",
        counts.persistent,
        plural(counts.persistent, "persistence template")
    );
}

/// Writes over the line of the progress. Only a terminal gets it.
fn show_progress(server: &str, counts: ConnectionCounts, waited: Duration) {
    if terminal::is_interactive() {
        let line = format!("\r\u{1b}[K{server}: {} ({})", in_words(counts), span(waited));
        let mut out = io::stderr().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

/// Removes the line of the progress.
fn end_progress() {
    if terminal::is_interactive() {
        let _ = io::stderr().lock().write_all(b"\r\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_words() {
        let counts = |active, persistent| ConnectionCounts { active, inactive: 5, persistent };
        assert_eq!(in_words(counts(1, 1)), "1 active connection, 5 inactive, 1 persistence template");
        assert_eq!(in_words(counts(0, 2)), "0 active connections, 5 inactive, 2 persistence templates");
    }
}
