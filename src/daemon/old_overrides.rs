//! Names the overrides that an operator may have forgotten: without an end, and older than a day. Reported at a start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Local};
use tracing::warn;

use crate::director::Director;
use crate::health::{Override, ServerId};
use crate::report::Moment;
use crate::value::VirtualId;
use crate::value::shown::escaped;

/// Maximum number of lines.
const LINES: usize = 10;
/// Maximum number of virtual services that a line names.
const SERVICES: usize = 3;

/// Logs a line for each server with such an override, and returns the lines for the waiting `start`. `config`: the
/// configuration of the daemon.
pub(super) fn report(director: &Director, config: &Path, now: Moment) -> Vec<String> {
    let lines = lines(&director.overrides(), config, now);
    lines.iter().for_each(|line| warn!("{line}"));
    lines
}

fn lines(all: &BTreeMap<ServerId, Arc<Override>>, config: &Path, now: Moment) -> Vec<String> {
    // One decision about a server in all its services is one line.
    let mut by_server: BTreeMap<SocketAddr, Vec<(&Override, Vec<VirtualId>)>> = BTreeMap::new();
    for ((service, server), decision) in all.iter().filter(|(_, one)| one.is_old_without_end(now.instant)) {
        let decisions = by_server.entry(*server).or_default();
        match decisions.iter_mut().find(|(other, _)| *other == &**decision) {
            Some((_, services)) => services.push(*service),
            None => decisions.push((decision, vec![*service])),
        }
    }
    let found = by_server.into_iter().flat_map(|(server, decisions)| {
        decisions.into_iter().map(move |(decision, services)| (server, decision, services))
    });
    let found: Vec<(SocketAddr, &Override, Vec<VirtualId>)> = found.collect();
    let more = found.len().saturating_sub(LINES);
    let mut lines: Vec<String> = found
        .iter()
        .take(LINES)
        .map(|(server, decision, services)| line(*server, decision, services, config, now))
        .collect();
    if more > 0 {
        let overrides = if more == 1 { "override" } else { "overrides" };
        lines.push(format!("{more} more {overrides} older than a day without an end: `show` has them"));
    }
    lines
}

fn line(
    server: SocketAddr,
    decision: &Override,
    services: &[VirtualId],
    config: &Path,
    now: Moment,
) -> String {
    let mut names: Vec<String> = services.iter().take(SERVICES).map(|id| id.qualified()).collect();
    if let more @ 1.. = services.len().saturating_sub(SERVICES) {
        names.push(format!("{more} more"));
    }
    let since = DateTime::<Local>::from(now.wall_at(decision.since)).format("%-d %b %Y %H:%M:%S %:z");
    let note =
        if decision.reason.is_empty() { String::new() } else { format!(": {}", escaped(&decision.reason)) };
    let only = match services {
        [service] => format!(" --service {}", service.qualified()),
        _ => String::new(),
    };
    format!(
        "Override {} of real server without an end for more than a day: {server} ({}): by {} since {since}{note}; if it is no \
         longer needed: ldirectord-rs undo {server}{only} -c {}",
        decision.what,
        names.join(", "),
        escaped(&decision.owner.to_string()),
        escaped(&config.display().to_string())
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

    use std::time::{Duration, Instant, SystemTime};

    use super::*;
    use crate::health::{Owner, What};

    const HOUR: Duration = Duration::from_secs(3600);

    fn overrides(now: Instant, servers: u8) -> BTreeMap<ServerId, Arc<Override>> {
        let decision = |hours: u32, until| Override {
            what: What::Drain,
            owner: Owner::Operator("anna".to_owned()),
            reason: "new kernel".to_owned(),
            since: now - hours * HOUR,
            until,
        };
        let id = |port: u16, last: u8| -> ServerId {
            let service = format!("tcp:10.0.0.1:{port}").parse().unwrap();
            (service, format!("10.0.0.{last}:80").parse().unwrap())
        };
        let mut all: BTreeMap<ServerId, Arc<Override>> =
            (2..2 + servers).map(|last| (id(80, last), Arc::new(decision(24, None)))).collect();
        all.insert(id(81, 2), Arc::new(decision(24, None)));
        all.insert(id(80, 100), Arc::new(decision(23, None)));
        all.insert(id(80, 101), Arc::new(decision(48, Some(now + HOUR))));
        all
    }

    #[test]
    fn forgotten_overrides_are_named_once_a_server() {
        let now = Moment { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + 1000 * HOUR };
        let found = lines(&overrides(now.instant, 1), Path::new("/etc/ha.d/web.cf"), now);
        assert_eq!(found.len(), 1, "{found:?}");
        let begin = "Override drain of real server without an end for more than a day: 10.0.0.2:80 (tcp:10.0.0.1:80, \
                     tcp:10.0.0.1:81): by anna since ";
        let end =
            ": new kernel; if it is no longer needed: ldirectord-rs undo 10.0.0.2:80 -c /etc/ha.d/web.cf";
        assert!(found[0].starts_with(begin) && found[0].ends_with(end), "{}", found[0]);
        let found = lines(&overrides(now.instant, 12), Path::new("/x"), now);
        assert_eq!(found.len(), 11);
        assert_eq!(found[10], "2 more overrides older than a day without an end: `show` has them");
        assert!(lines(&BTreeMap::new(), Path::new("/x"), now).is_empty());
    }
}
