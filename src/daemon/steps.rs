//! Golden steps through the whole core: a configuration, then one input after the other, and after each the
//! published events and the table. `UPDATE_GOLDEN=1 cargo test steps` rewrites the files in `tests/data/steps`.
//!
//! A file has blocks `%config` (the text of a configuration for the next `start` or `reload`) and steps:
//!
//! | step | what happens |
//! | --- | --- |
//! | `%start` | the daemon starts on the table as it is |
//! | `%kill` | the daemon is killed; the table stays |
//! | `%stop` | the daemon stops and cleans up |
//! | `%reload` | the daemon applies the last `%config` |
//! | `%down ADDRESS…`, `%up ADDRESS…`, `%unknown ADDRESS…` | checks of these servers get this result from now on; one round of checks |
//! | `%late ADDRESS…` | checks of these servers fail while the director is late; one round, and the immediate repeats |
//! | `%round` | one more round |
//! | `%warn ADDRESS WORDS…` | the check of this server has this warning from now on, or none without words; one round |
//! | `%refuse N` | the kernel refuses the next N operations |
//! | `%admin ID ADDRESS WEIGHT` | an administrator sets the weight of a destination; `-` removes it |
//! | `%admin ID` | an administrator removes a service |
//! | `%foreign ID` | another program adds its own service |
//! | `%verify` | a minute passes without a check |
//! | `%wait SECONDS` | time passes without a check |
//! | `%maintain ADDRESS…` | these servers are in maintenance from now on, and no others |
//! | `%drain ADDRESS [SECONDS]`, `%take-out ADDRESS`, `%keep-in ADDRESS` | an operator sets an override; `%force-drain` forces it |
//! | `%weight ADDRESS WEIGHT [SECONDS]` | an operator sets the weight, such as `50%` |
//! | `%undo ADDRESS` | an operator ends the override |
//!
//! Lines that begin with `run` are fallback commands that are run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipvs_rs::{DestinationConfig, DestinationKey, Error, Ipvs, Operation, ServiceConfig};

use super::harness::{Harness, LATE, ROUND, VERIFY, render, spec};
use crate::desired;
use crate::event::{Event, EventKind};
use crate::health::{Override, Owner, What};
use crate::notify::{line, monitor};
use crate::report::{ShownState, View};
use crate::value::{Outcome, UnknownCause, Verdict, VirtualId};

/// Runs the steps of a file and returns the expected text of the file.
fn run(text: &str) -> String {
    let mut harness = Harness::new();
    let mut output = String::new();
    let mut config = String::new();
    let mut in_config = false;
    for line in text.lines() {
        if let Some(step) = line.strip_prefix('%') {
            in_config = step == "config";
            let _ = writeln!(output, "%{step}");
            if in_config {
                config.clear();
            } else {
                let before = harness.kernel.operations();
                for line in perform(&mut harness, step, &config) {
                    let _ = writeln!(output, "{line}");
                }
                let _ = writeln!(output, "| {} operations", harness.kernel.operations() - before);
                output.push_str(&render(&harness.table()));
            }
        } else if in_config {
            let _ = writeln!(config, "{line}");
            let _ = writeln!(output, "{line}");
        } else if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(output, "{line}");
        }
    }
    output
}

fn perform(harness: &mut Harness, step: &str, config: &str) -> Vec<String> {
    let words: Vec<&str> = step.split_whitespace().collect();
    let events = match words[..] {
        ["start"] => harness.start(spec(config)),
        ["kill"] => {
            harness.kill();
            Vec::new()
        }
        ["stop"] => {
            let events = harness.stop();
            harness.director = None;
            events
        }
        ["reload"] => harness.reload(spec(config)),
        ["round"] => harness.round(),
        ["warn", server, ref warning @ ..] => {
            let server = server.parse().unwrap();
            match warning {
                [] => harness.warnings.remove(&server),
                words => harness.warnings.insert(server, words.join(" ")),
            };
            harness.round()
        }
        ["maintain", ref servers @ ..] => {
            let servers = servers
                .iter()
                .map(|server| (server.parse().unwrap(), "Server in maintenance".to_owned()))
                .collect();
            let now = harness.now;
            harness.director().maintain(&servers, now);
            harness.settle()
        }
        ["drain" | "force-drain" | "take-out" | "keep-in" | "undo", server, ref seconds @ ..] => {
            decide(harness, words[0], server.parse().unwrap(), seconds.first().copied())
        }
        ["weight", server, weight, ref seconds @ ..] => {
            let what = What::Weight(weight.parse().unwrap());
            set(harness, what, server.parse().unwrap(), seconds.first().copied(), false)
        }
        ["verify"] => harness.pass(VERIFY),
        ["wait", seconds] => harness.pass(Duration::from_secs(seconds.parse().unwrap())),
        ["refuse", count] => {
            harness.kernel.fail_next(count.parse().unwrap(), Error::Busy);
            Vec::new()
        }
        ["up" | "down" | "unknown" | "late", ref servers @ ..] => find(harness, words[0], servers),
        _ => {
            by_hand(harness, &words);
            Vec::new()
        }
    };
    let mut lines = Vec::new();
    for event in &events {
        let monitored = match (&event.kind, &harness.director) {
            (EventKind::Checked { member, verdict }, Some(director)) => {
                monitor::line(director.spec(), director.health(), *member, verdict.as_deref())
            }
            _ => None,
        };
        lines.extend(monitored.map(|line| format!("{} {}", line.path.display(), line.text)).or(line(event)));
    }
    if let Some(director) = &mut harness.director {
        let touched = director.take_touched();
        let calls = harness.fallback.due(director.spec(), director.health(), touched);
        lines.extend(calls.iter().map(|call| format!("run {} {}", call.command, call.arguments.join(" "))));
    }
    lines
}

fn anna() -> Owner {
    Owner::Operator("anna".to_owned())
}

/// An operator sets or ends an override.
fn decide(harness: &mut Harness, word: &str, server: SocketAddr, seconds: Option<&str>) -> Vec<Event> {
    let what = match word {
        "undo" => {
            let now = harness.now;
            let _ = harness.director().end_override(None, server, &anna(), now);
            return harness.settle();
        }
        "take-out" => What::Down,
        "keep-in" => What::Up,
        _ => What::Drain,
    };
    set(harness, what, server, seconds, word == "force-drain")
}

/// An operator sets an override.
fn set(
    harness: &mut Harness,
    what: What,
    server: SocketAddr,
    seconds: Option<&str>,
    force: bool,
) -> Vec<Event> {
    let now = harness.now;
    let until = seconds.map(|seconds| now + Duration::from_secs(seconds.parse().unwrap()));
    let decision = Override { what, owner: anna(), reason: "new kernel".to_owned(), since: now, until };
    // A refusal changes nothing, as the table shows.
    let _ = harness.director().override_server(None, server, &decision, force, now);
    harness.settle()
}

/// Sets the result of the checks of these servers.
fn find(harness: &mut Harness, word: &str, servers: &[&str]) -> Vec<Event> {
    let outcome = match word {
        "up" => Outcome::Up,
        "down" => Outcome::Down,
        "late" => LATE,
        _ => Outcome::Unknown(UnknownCause::OwnLimit("no free local port")),
    };
    for server in servers {
        harness.outcomes.insert(server.parse().unwrap(), outcome);
    }
    harness.round()
}

/// A change that an administrator or another program makes with ipvsadm.
fn by_hand(harness: &mut Harness, words: &[&str]) {
    let key = desired::service_key(words[1].parse::<VirtualId>().unwrap());
    let destination = |text: &str| {
        let address: SocketAddr = text.parse().unwrap();
        DestinationKey { address: address.ip(), port: address.port() }
    };
    let operation = match *words {
        ["foreign", _] => Operation::AddService { key, config: ServiceConfig::new("rr") },
        ["admin", _] => Operation::RemoveService { key },
        ["admin", _, address, "-"] => {
            Operation::RemoveDestination { service: key, key: destination(address) }
        }
        ["admin", _, address, weight] => {
            let dest = destination(address);
            let weight = weight.parse().unwrap();
            let table = harness.table();
            match table.services[&key].destinations.get(&dest) {
                Some(config) => Operation::EditDestination {
                    service: key,
                    key: dest,
                    config: DestinationConfig { weight, ..*config },
                },
                None => Operation::AddDestination {
                    service: key,
                    key: dest,
                    config: DestinationConfig::new(ipvs_rs::ForwardingMethod::DirectRoute, weight),
                },
            }
        }
        _ => panic!("no such step: {words:?}"),
    };
    for result in harness.kernel.apply(&[operation]) {
        result.unwrap();
    }
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/steps");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn steps_lead_where_they_led() {
    let mut differ = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let actual = run(&text);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &actual).unwrap();
        } else if actual != text {
            differ.push(format!("{}\n{actual}", path.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn a_service_that_a_listing_leaves_out_is_not_taken_for_gone() {
    let spec = || spec("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq 5\n");
    let mut harness = Harness::new();
    harness.start(spec());
    harness.round();
    let (key, before) = harness.table().services.pop_first().unwrap();
    assert_eq!(before.destinations.len(), 1);
    let writes = harness.kernel.operations();
    harness.kernel.hide(key);
    harness.now += VERIFY;
    let now = harness.now;
    harness.director().tick(now);
    assert_eq!(harness.settle(), []);
    harness.kill();
    harness.start(spec());
    assert_eq!(harness.kernel.operations(), writes);
    assert_eq!(harness.kernel.service(key), Ok(Some(before)));
}

/// R38: although each answer takes four seconds, checks begin every ten seconds.
#[test]
fn the_interval_goes_from_check_to_check() {
    let mut harness = Harness::new();
    harness.start(spec("checkinterval=10\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n"));
    let mut begins = Vec::new();
    while begins.len() < 6 {
        let at = harness.now;
        harness.now = harness.director().health().poll_timeout().unwrap().max(at);
        let now = harness.now;
        for due in harness.due(now).0 {
            begins.push(now);
            harness.now = now + Duration::from_secs(4);
            let later = harness.now;
            harness.director().verdicts(vec![(due.id, Verdict::new(Outcome::Up, "fine".to_owned()))], later);
            harness.settle();
        }
    }
    // The first two checks find the place in the interval.
    let steps: Vec<Duration> = begins.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(steps, [ROUND; 4]);
}

#[test]
fn what_a_stop_could_not_remove_is_still_ours_and_nothing_else() {
    let mut harness = Harness::new();
    let text = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\nvirtual=10.0.0.1:81\n\treal=10.0.0.2:81 masq\n\tcleanstop=no\n";
    harness.start(spec(text));
    harness.round();
    harness.kernel.fail_next(2, Error::Busy);
    harness.stop();
    let refused = desired::service_key("tcp:10.0.0.1:80".parse().unwrap());
    assert_eq!(*harness.director().owned(), BTreeSet::from([refused]));
    harness.kill();
    harness.start(spec(text));
    harness.stop();
    assert!(harness.director().owned().is_empty());
}

/// R65
#[test]
fn a7_a_leaving_server_is_shown_until_it_goes() {
    let text = |host: u8| format!("checktimeout=20\nvirtual=10.0.0.1:80\n\treal=10.0.0.{host}:80 masq\n");
    let mut harness = Harness::new();
    harness.start(spec(&text(2)));
    harness.round();
    let now = harness.now;
    harness.reload(spec(&text(3)));
    let shown = |harness: &Harness| {
        let director = harness.director.as_ref().unwrap();
        let view = View::of(director.spec(), director.health(), director.table(), harness.moment());
        let servers = &view.services[0].servers;
        servers.iter().map(|server| (server.address.to_string(), server.state)).collect::<Vec<_>>()
    };
    let (old, new) = ("10.0.0.2:80".to_owned(), "10.0.0.3:80".to_owned());
    assert_eq!(shown(&harness), [(new.clone(), ShownState::Unknown), (old, ShownState::Leaving)]);
    // It stays for at most this time.
    let latest = now + Duration::from_secs(21);
    let director = harness.director();
    assert_eq!(director.health().leaves_at(director.spec()), Some(latest));
    harness.round();
    assert_eq!(shown(&harness), [(new, ShownState::Up)]);
    assert!(!harness.director().spec().leaving().is_empty());
    // Then it is removed, with its check.
    harness.round();
    assert!(harness.director().spec().leaving().is_empty());
    assert_eq!(harness.director().spec().checks().len(), 1);
}
