//! Everything known about one real server, in each virtual service that has it: the answer to `show SERVER`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::counters::Counters;
use super::history::CheckTime;
use super::moment::Moment;
use super::snapshot::{self, DestinationEntry, ServerEntry, VirtualService};
use super::view::ServiceView;
use crate::event::Event;

/// A real server at one moment, as typed values.
#[derive(Clone, Debug)]
pub struct ServerStory {
    /// The name of the daemon.
    pub name: Arc<str>,
    /// The path of its configuration.
    pub config: Arc<str>,
    /// The time of the story.
    pub at: Moment,
    /// The server in each of its virtual services.
    pub members: Vec<MemberStory>,
    /// Renders an event as a JSON object. `None` for an event without words.
    pub render_event: fn(&Event, SystemTime) -> Option<Value>,
}

/// A real server in one virtual service.
#[derive(Clone, Debug)]
pub struct MemberStory {
    /// The service.
    pub service: Arc<ServiceView>,
    /// The index of the server in the view.
    pub index: usize,
    /// Time until its next check. `None` while a check runs, and without a check.
    pub next_check: Option<Duration>,
    /// Its states of the last 24 hours, each with its beginning.
    pub changes: Vec<(SystemTime, &'static str)>,
    /// The times of its last checks, the oldest first.
    pub times: Vec<CheckTime>,
    /// Its last events, the oldest first.
    pub events: Vec<(SystemTime, Event)>,
}

/// The JSON form of a story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoryReport {
    /// The name of the daemon.
    pub name: String,
    /// The path of its configuration.
    pub config: String,
    /// When that was (RFC 3339).
    pub taken_at: String,
    /// The server in each of its virtual services.
    pub servers: Vec<MemberReport>,
}

/// The JSON form of a server in one virtual service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberReport {
    /// The virtual service.
    pub service: ServiceSummary,
    /// As in `show --json`.
    #[serde(flatten)]
    pub server: ServerEntry,
    /// When its standing last changed (RFC 3339).
    pub since: String,
    /// Its destination in the table. Absent if the table does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<DestinationEntry>,
    /// Seconds until its next check. Absent while a check runs, and without a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check_seconds: Option<f64>,
    /// Its states of the last 24 hours, since the start of the daemon.
    #[serde(default)]
    pub states: Vec<StateBegin>,
    /// Its last checks.
    #[serde(default)]
    pub checks: Vec<CheckDuration>,
    /// Its last events, as `events --json` prints them.
    #[serde(default)]
    pub events: Vec<Value>,
}

/// The virtual service of a [`MemberReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// `tcp:10.0.0.1:80`, `fwm:5`.
    pub id: String,
    /// `servicename`. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number of its servers in rotation.
    pub in_rotation: usize,
    /// The number of its servers.
    pub servers: usize,
    /// The configured fallback. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Whether the table has the fallback.
    pub fallback_is_active: bool,
}

/// The beginning of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateBegin {
    /// When it began (RFC 3339).
    pub at: String,
    /// `up`, `down`, `failing`, `unknown`, `draining`, `maintenance` or `leaving`.
    pub state: String,
}

/// The duration of one run of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckDuration {
    /// In milliseconds.
    pub ms: f64,
    /// `up` or `down`.
    pub result: String,
}

impl StoryReport {
    /// Creates the JSON form, with the counters of its services.
    #[must_use]
    pub fn of(story: &ServerStory, counters: &Counters) -> StoryReport {
        StoryReport {
            name: story.name.to_string(),
            config: story.config.to_string(),
            taken_at: snapshot::time(story.at.wall),
            servers: story.members.iter().map(|member| report(member, story, counters)).collect(),
        }
    }
}

fn report(member: &MemberStory, story: &ServerStory, counters: &Counters) -> MemberReport {
    let at = story.at;
    let view = &member.service;
    let mut service = VirtualService::of(view, at).with_counters(view, counters);
    let in_rotation = service.in_rotation();
    let since = snapshot::time(at.wall_at(view.servers[member.index].since));
    let server = service.servers.swap_remove(member.index);
    let destination = service.destination_of(&server).cloned();
    let destinations = service.destinations.as_deref().unwrap_or_default();
    let is_fallback = |found: &DestinationEntry| found.role.as_deref() == Some("fallback");
    let summary = ServiceSummary {
        id: service.id.clone(),
        name: service.name.clone(),
        in_rotation,
        servers: view.servers.len(),
        fallback: service.fallback.clone(),
        fallback_is_active: destinations.iter().any(is_fallback),
    };
    MemberReport {
        service: summary,
        server,
        since,
        destination,
        next_check_seconds: member.next_check.map(|time| snapshot::rounded(time.as_secs_f64())),
        states: member
            .changes
            .iter()
            .map(|(at, state)| StateBegin { at: snapshot::time(*at), state: (*state).to_owned() })
            .collect(),
        checks: member.times.iter().map(check).collect(),
        events: member.events.iter().filter_map(|(at, event)| (story.render_event)(event, *at)).collect(),
    }
}

fn check(time: &CheckTime) -> CheckDuration {
    CheckDuration {
        ms: snapshot::rounded(f64::from(time.ms)),
        result: if time.is_up { "up" } else { "down" }.to_owned(),
    }
}
