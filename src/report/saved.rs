//! The overrides of operators in a saved `show --json`, for `override import`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use serde::Deserialize;

use super::snapshot::Overridden;
use crate::health::{MAINTENANCE, What};
use crate::value::VirtualId;
use crate::value::shown::escaped;

/// The part of a `show --json` that holds overrides. Other fields may differ between releases.
#[derive(Debug, Deserialize)]
pub struct SavedState {
    #[serde(default)]
    name: String,
    #[serde(default)]
    config: String,
    virtuals: Vec<SavedService>,
}

#[derive(Debug, Deserialize)]
struct SavedService {
    id: String,
    servers: Vec<SavedServer>,
}

#[derive(Debug, Deserialize)]
struct SavedServer {
    address: String,
    #[serde(default, rename = "override")]
    overridden: Option<Overridden>,
}

/// An override of a saved state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedOverride {
    /// The virtual service.
    pub service: VirtualId,
    /// The real server.
    pub server: SocketAddr,
    /// What the server did.
    pub what: What,
    /// The reason. Empty if none was given.
    pub note: String,
    /// The user who set it.
    pub owner: String,
    /// How long it still lasts. `None`: without end.
    pub lasts: Option<Duration>,
}

/// An override that is not restored, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedOverride {
    /// The kind, server and service.
    pub about: String,
    /// The reason.
    pub why: String,
}

/// Parses a file with one `show --json`, or with those of several daemons.
///
/// # Errors
/// The text is not what `show --json` prints.
pub fn saved_states(text: &str) -> Result<Vec<SavedState>, String> {
    let all = serde_json::Deserializer::from_str(text).into_iter();
    let states: Vec<SavedState> =
        all.collect::<Result<_, _>>().map_err(|error| format!("not the output of `show --json`: {error}"))?;
    if states.is_empty() {
        return Err("empty, not the output of `show --json`".to_owned());
    }
    Ok(states)
}

impl SavedState {
    /// Whether it is of the daemon with this name or configuration.
    #[must_use]
    pub fn is_of(&self, name: &str, config: &str) -> bool {
        self.name == name || (!self.config.is_empty() && self.config == config)
    }

    /// The name of its daemon.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The overrides to restore at this time, and those that are not restored. `up` and `weight` come first: without
    /// them a `drain` could be refused that was possible before.
    ///
    /// # Errors
    /// An address, a virtual service or an override is invalid.
    pub fn overrides(&self, now: SystemTime) -> Result<(Vec<SavedOverride>, Vec<SkippedOverride>), String> {
        let (mut found, mut skipped, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for service in &self.virtuals {
            for server in &service.servers {
                let Some(decision) = &server.overridden else { continue };
                let wrong =
                    |what: &str| format!("{} of {}: {what}", escaped(&server.address), escaped(&service.id));
                let id: VirtualId = service.id.parse().map_err(|_| wrong("invalid virtual service"))?;
                let address: SocketAddr =
                    server.address.parse().map_err(|_| wrong("invalid address of a server"))?;
                if !seen.insert((id, address)) {
                    continue;
                }
                let about = || format!("{} {address} of {}", escaped(&decision.what), id.qualified());
                if decision.owner == MAINTENANCE {
                    let why = "maintenancedir decides about it".to_owned();
                    skipped.push(SkippedOverride { about: about(), why });
                    continue;
                }
                let lasts = lasts(decision, now).map_err(|error| wrong(&error))?;
                if lasts == Some(Duration::ZERO) {
                    let until = decision.until.as_deref().unwrap_or_default();
                    let why = format!("it expired at {}", escaped(until));
                    skipped.push(SkippedOverride { about: about(), why });
                    continue;
                }
                let weight = decision.weight.as_deref().map(str::parse).transpose();
                let weight = weight.map_err(|error| wrong(&format!("weight: {error}")))?;
                found.push(SavedOverride {
                    service: id,
                    server: address,
                    what: What::from_names(&decision.what, weight).map_err(|error| wrong(&error))?,
                    note: decision.note.clone(),
                    owner: decision.owner.clone(),
                    lasts,
                });
            }
        }
        found.sort_by_key(|saved| matches!(saved.what, What::Drain | What::Down));
        Ok((found, skipped))
    }
}

/// How long an override still lasts, in whole seconds. Zero: it has expired. `None`: it has no end.
fn lasts(decision: &Overridden, now: SystemTime) -> Result<Option<Duration>, String> {
    let Some(until) = &decision.until else { return Ok(None) };
    let until: SystemTime = DateTime::parse_from_rfc3339(until)
        .map_err(|_| format!("until: invalid time {}", escaped(until)))?
        .into();
    let left = until.duration_since(now).unwrap_or_default();
    let rounded_up = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    Ok(Some(Duration::from_secs(rounded_up)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(servers: &str) -> String {
        format!(
            r#"{{"name":"web.cf","config":"/etc/ha.d/web.cf","later":1,"virtuals":[{{"id":"tcp:10.0.0.1:80","scheduler":"wrr","servers":[{servers}]}}]}}"#
        )
    }

    fn server(last: u8, decision: &str) -> String {
        format!(r#"{{"address":"10.0.0.{last}:80","state":"up","override":{{{decision}}}}}"#)
    }

    const NOW: u64 = 1_800_000_000;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn time(seconds: u64) -> String {
        DateTime::<chrono::Utc>::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_rfc3339()
    }

    #[test]
    fn overrides_of_operators_are_found() {
        let set = |what: &str, more: &str| {
            format!(r#""what":"{what}","owner":"anna","note":"kernel","since":"2026-11-30T00:00:00Z"{more}"#)
        };
        let until = |seconds: u64| format!(r#","until":"{}""#, time(seconds));
        let maintenance = r#""what":"down","owner":"maintenancedir","note":"x","since":""#;
        let text = state(
            &[
                server(2, &set("drain", &until(NOW + 90))),
                server(3, &set("down", &until(NOW - 1))),
                server(4, &set("weight", r#","weight":"50%""#)),
                server(5, &format!("{maintenance}\"")),
                server(2, &set("down", "")),
                r#"{"address":"10.0.0.9:80","state":"up"}"#.to_owned(),
            ]
            .join(","),
        );
        let states = saved_states(&text).unwrap();
        assert!(states[0].is_of("web.cf", "/x.cf") && states[0].is_of("x", "/etc/ha.d/web.cf"));
        assert!(!states[0].is_of("x", ""));
        let (found, skipped) = states[0].overrides(now()).unwrap();
        let said = |saved: &SavedOverride| (saved.what.to_string(), saved.server.to_string(), saved.lasts);
        assert_eq!(
            found.iter().map(said).collect::<Vec<_>>(),
            [
                ("weight 50%".to_owned(), "10.0.0.4:80".to_owned(), None),
                ("drain".to_owned(), "10.0.0.2:80".to_owned(), Some(Duration::from_secs(90))),
            ]
        );
        let about: Vec<String> = skipped.iter().map(|one| format!("{}: {}", one.about, one.why)).collect();
        assert_eq!(
            about,
            [
                format!("down 10.0.0.3:80 of tcp:10.0.0.1:80: it expired at {}", time(NOW - 1)),
                "down 10.0.0.5:80 of tcp:10.0.0.1:80: maintenancedir decides about it".to_owned(),
            ]
        );
    }

    #[test]
    fn several_daemons_may_be_in_one_file() {
        let text = format!("{}\n{}\n", state(""), state(""));
        assert_eq!(saved_states(&text).unwrap().len(), 2);
    }

    #[test]
    fn what_is_not_such_a_file_is_refused() {
        for text in ["", " \n", "virtual=10.0.0.1:80", "{}", "[1]", "{\"virtuals\":[", "7"] {
            assert!(saved_states(text).unwrap_err().contains("show --json"), "{text}");
        }
        let owner = r#""owner":"anna","note":"","since":"""#;
        for decision in [
            format!(r#""what":"explode",{owner}"#),
            format!(r#""what":"weight",{owner}"#),
            format!(r#""what":"weight","weight":"0",{owner}"#),
            format!(r#""what":"drain","until":"tomorrow",{owner}"#),
        ] {
            let states = saved_states(&state(&server(2, &decision))).unwrap();
            let error = states[0].overrides(now()).unwrap_err();
            assert!(error.starts_with("10.0.0.2:80 of tcp:10.0.0.1:80: "), "{error}");
        }
    }
}
