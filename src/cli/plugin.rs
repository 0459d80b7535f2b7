//! `plugin`: the state of virtual services as one line and an exit code for Icinga, Nagios and checkmk, with
//! performance data.

use std::fmt::Write as _;
use std::io::ErrorKind;

use super::Exit;
use super::arguments::PluginLimits;
use super::ask::ask;
use super::context::Context;
use super::failure::CommandFailure;
use super::show;
use super::terminal::answer;
use crate::control::{ClientError, ControlRequest, CounterDetail};
use crate::report::{ServerEntry, ShownState, StateSnapshot, VirtualService};
use crate::value::shown::escaped;

/// How many servers and services a line names. The others are counted.
const NAMED: usize = 8;

/// The states of a monitoring system, with their exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PluginState {
    Good,
    Warning,
    Critical,
    Unknown,
}

impl PluginState {
    fn exit(self) -> Exit {
        match self {
            PluginState::Good => Exit::Ok,
            PluginState::Warning => Exit::Failure,
            PluginState::Critical => Exit::Config,
            PluginState::Unknown => Exit::Stopped,
        }
    }

    fn word(self) -> &'static str {
        match self {
            PluginState::Good => "OK",
            PluginState::Warning => "WARNING",
            PluginState::Critical => "CRITICAL",
            PluginState::Unknown => "UNKNOWN",
        }
    }
}

pub(super) fn run(
    context: &Context,
    services: &[String],
    limits: &PluginLimits,
) -> Result<Exit, CommandFailure> {
    let (state, text) =
        match ask(context, &ControlRequest::Show { service: None, counters: CounterDetail::None }) {
            Ok(text) => match serde_json::from_str::<StateSnapshot>(&text) {
                Ok(snapshot) => judge(&snapshot, services, limits),
                Err(error) => (PluginState::Unknown, format!("the daemon has another version: {error}")),
            },
            Err(ClientError::Io(error)) if error.kind() == ErrorKind::PermissionDenied => {
                (PluginState::Unknown, without_bars(&show::no_answer(context, error).to_string()))
            }
            // Without a daemon no server is checked.
            Err(ClientError::Io(error)) => {
                (PluginState::Critical, without_bars(&show::no_answer(context, error).to_string()))
            }
            Err(error) => (PluginState::Unknown, without_bars(&error.to_string())),
        };
    print(state, &text)
}

/// Prints a line of a plug-in that cannot tell the state.
pub(super) fn print_unknown(why: &str) -> Result<Exit, CommandFailure> {
    print(PluginState::Unknown, &without_bars(why))
}

/// A monitoring system reads performance data after the first bar.
fn without_bars(text: &str) -> String {
    text.replace('|', "/")
}

fn print(state: PluginState, text: &str) -> Result<Exit, CommandFailure> {
    let line = text.lines().collect::<Vec<_>>().join("; ");
    answer(format!("LDIRECTORD {}: {line}", state.word()), state.exit())
}

/// One service and its limits in numbers.
struct Judged<'a> {
    service: &'a VirtualService,
    in_rotation: usize,
    configured: usize,
    failed: Vec<&'a ServerEntry>,
    warning: usize,
    critical: usize,
}

impl<'a> Judged<'a> {
    fn of(service: &'a VirtualService, limits: &PluginLimits) -> Judged<'a> {
        let (in_rotation, configured) = (service.in_rotation(), service.configured());
        let failed: Vec<&ServerEntry> = service.failed().collect();
        // A service without real servers is that on purpose.
        let critical = limits.critical.map_or(configured.min(1), |critical| critical.of(configured));
        let warning = limits.warning.map_or(in_rotation + failed.len(), |warning| warning.of(configured));
        Judged { service, in_rotation, configured, failed, warning, critical }
    }

    fn state(&self) -> PluginState {
        if self.in_rotation < self.critical {
            PluginState::Critical
        } else if self.in_rotation < self.warning {
            PluginState::Warning
        } else {
            PluginState::Good
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} has {} of {} servers in rotation",
            self.service.id, self.in_rotation, self.configured
        );
        let failed = self.failed.iter().map(|server| match server.state {
            ShownState::Unknown => format!("{} unknown", server.address),
            _ => format!("{} down", server.address),
        });
        // An operator wanted that, but it may be why too few are left.
        let taken_out = self.service.servers.iter().filter_map(|server| match server.state {
            ShownState::Draining => Some(format!("{} draining", server.address)),
            ShownState::Maintenance => Some(format!("{} in maintenance", server.address)),
            ShownState::Down if self.failed.iter().all(|failed| !std::ptr::eq(*failed, server)) => {
                Some(format!("{} taken down", server.address))
            }
            _ => None,
        });
        let named: Vec<String> = failed.chain(taken_out).collect();
        if !named.is_empty() {
            let shown = named.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let _ = write!(text, " ({shown}{})", more(named.len()));
        }
        text
    }

    /// The number of servers in rotation, with the limits as ranges: `2:` alerts below 2.
    fn performance(&self) -> String {
        let Judged { service, in_rotation, configured, warning, critical, .. } = self;
        format!("'{}'={in_rotation};{warning}:;{critical}:;0;{configured}", service.id)
    }
}

fn more(count: usize) -> String {
    match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

/// The state and the text of a snapshot, for these services or for all.
fn judge(snapshot: &StateSnapshot, services: &[String], limits: &PluginLimits) -> (PluginState, String) {
    let is_wanted = |id: &String| services.is_empty() || services.contains(id);
    let unknown: Vec<String> = services
        .iter()
        .filter(|id| !snapshot.virtuals.iter().any(|v| v.id == **id))
        .map(|id| match snapshot.elsewhere.iter().find(|elsewhere| elsewhere.id == *id) {
            Some(other) => format!("the daemon {} owns {id}", escaped(&other.owner)),
            None => format!("the daemon has no virtual service {}", escaped(id)),
        })
        .collect();
    if !unknown.is_empty() {
        return (PluginState::Unknown, unknown.join(", ").replace('|', "/"));
    }
    let found: Vec<Judged> =
        snapshot.virtuals.iter().filter(|v| is_wanted(&v.id)).map(|v| Judged::of(v, limits)).collect();
    let state = found.iter().map(Judged::state).max().unwrap_or(PluginState::Good);
    // The most serious first.
    let mut problems: Vec<&Judged> =
        found.iter().filter(|judged| judged.state() != PluginState::Good).collect();
    problems.sort_by_key(|judged| std::cmp::Reverse(judged.state()));
    let mut text = if problems.is_empty() {
        let sum = |count: fn(&Judged) -> usize| found.iter().map(count).sum::<usize>();
        let (in_rotation, all) = (sum(|judged| judged.in_rotation), sum(|judged| judged.configured));
        let services = if found.len() == 1 { "virtual service" } else { "virtual services" };
        format!("{in_rotation} of {all} servers in rotation in {} {services}", found.len())
    } else {
        let named: Vec<String> = problems.iter().take(NAMED).map(|judged| judged.text()).collect();
        named.join(", ") + &more(problems.len())
    };
    let performance: Vec<String> = found.iter().map(Judged::performance).collect();
    if !performance.is_empty() {
        let _ = write!(text, " | {}", performance.join(" "));
    }
    (state, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::test_service;

    fn look(
        servers: &[(&str, &str)],
        destinations: &[(&str, u32, &str)],
        warning: &str,
        critical: &str,
    ) -> (PluginState, String) {
        let snapshot = StateSnapshot {
            name: String::new(),
            config: String::new(),
            taken_at: String::new(),
            virtuals: vec![test_service(servers, destinations)],
            late_checks: 0,
            elsewhere: Vec::new(),
        };
        let limits = PluginLimits { warning: warning.parse().ok(), critical: critical.parse().ok() };
        judge(&snapshot, &[], &limits)
    }

    #[test]
    fn thresholds_count_servers_in_rotation() {
        let servers = [("10.0.0.2:80", "up"), ("10.0.0.3:80", "down"), ("10.0.0.4:80", "draining")];
        let table =
            [("10.0.0.2:80", 1, "server"), ("10.0.0.3:80", 0, "server"), ("10.0.0.4:80", 0, "server")];
        for (warning, critical, state, limits) in [
            // A drained server does not warn, a server that is down does.
            ("", "", PluginState::Warning, "2:;1:"),
            ("1", "", PluginState::Good, "1:;1:"),
            ("2", "1", PluginState::Warning, "2:;1:"),
            ("2", "50%", PluginState::Critical, "2:;2:"),
            ("0", "0", PluginState::Good, "0:;0:"),
        ] {
            let (found, text) = look(&servers, &table, warning, critical);
            assert_eq!(found, state, "{warning} {critical}: {text}");
            let data = format!(" | 'tcp:10.0.0.1:80'=1;{limits};0;3");
            assert!(text.ends_with(&data), "{text}");
        }
        let (_, text) = look(&servers, &table, "", "");
        assert!(
            text.starts_with(
                "tcp:10.0.0.1:80 has 1 of 3 servers in rotation (10.0.0.3:80 down, 10.0.0.4:80 draining) | "
            ),
            "{text}"
        );
    }

    #[test]
    fn no_server_in_rotation_is_critical_by_default() {
        let (state, _) = look(&[("10.0.0.2:80", "draining")], &[("127.0.0.1:80", 1, "fallback")], "", "");
        assert_eq!(state, PluginState::Critical);
        // Only a fallback server is configured.
        let (state, text) = look(&[], &[("127.0.0.1:80", 1, "fallback")], "", "");
        assert_eq!(
            (state, text.split(" |").next()),
            (PluginState::Good, Some("0 of 0 servers in rotation in 1 virtual service"))
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let addresses: Vec<String> = (2..22).map(|n| format!("10.0.0.{n}:80")).collect();
        let servers: Vec<(&str, &str)> = addresses.iter().map(|address| (address.as_str(), "down")).collect();
        let (_, text) = look(&servers, &[], "", "");
        assert!(text.contains("10.0.0.9:80 down and 12 more) | "), "{text}");
    }
}
