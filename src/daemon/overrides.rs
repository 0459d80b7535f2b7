//! What operators decided about servers, in a file: it outlives a reload, a restart, a stop, a crash and a reboot.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tracing::error;

use super::notes::Notes;
use crate::desired;
use crate::director::Director;
use crate::health::{Override, Owner, ServerId, What};
use crate::net::cause;
use crate::report::Moment;
use crate::sys::command::aside;
use crate::sys::regular;

/// Bytes of the file: some thousands of decisions.
const LARGEST: u64 = 1024 * 1024;
/// How long a start waits for it.
const LIMIT: Duration = Duration::from_secs(2);
/// The version of the file. One of a later release is not read.
const VERSION: u32 = 1;

/// What operators decided, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decisions {
    version: u32,
    overrides: Vec<Decision>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Decision {
    service: String,
    server: SocketAddr,
    what: What,
    owner: String,
    #[serde(default)]
    note: String,
    /// RFC 3339, as the next one.
    since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// The file for the daemon of this name.
#[must_use]
pub fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.overrides"))
}

impl Decisions {
    /// Whether there is nothing to note.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.overrides.is_empty()
    }

    /// What is to be noted at this moment.
    pub fn new<'a>(all: impl IntoIterator<Item = (&'a ServerId, &'a Override)>, now: Moment) -> Decisions {
        let time = |at| DateTime::<Utc>::from(now.wall_at(at)).to_rfc3339_opts(SecondsFormat::Secs, true);
        let decision = |((service, server), decision): (&ServerId, &Override)| Decision {
            service: service.qualified(),
            server: *server,
            what: decision.what,
            owner: decision.owner.to_string(),
            note: decision.reason.clone(),
            since: time(decision.since),
            until: decision.until.map(time),
        };
        Decisions { version: VERSION, overrides: all.into_iter().map(decision).collect() }
    }

    /// What was noted, at this moment. When a part of it has no meaning, none of it counts.
    fn all(&self, now: Moment) -> io::Result<Vec<(ServerId, Override)>> {
        let wrong = |what: String| io::Error::new(ErrorKind::InvalidData, what);
        if self.version != VERSION {
            return Err(wrong(format!("it has version {}, and this release reads {VERSION}", self.version)));
        }
        let time = |text: &String| {
            let time = DateTime::parse_from_rfc3339(text);
            time.map(|time| now.instant_at(time.into())).map_err(|_| wrong(format!("no time: {text:?}")))
        };
        let read = |decision: &Decision| {
            let service = decision.service.parse();
            let service =
                service.map_err(|_| wrong(format!("no virtual service: {:?}", decision.service)))?;
            let decided = Override {
                what: decision.what,
                owner: Owner::Operator(decision.owner.clone()),
                reason: decision.note.clone(),
                since: time(&decision.since)?,
                until: decision.until.as_ref().map(time).transpose()?,
            };
            Ok(((service, decision.server), decided))
        };
        self.overrides.iter().map(read).collect()
    }
}

/// Reads the file; nothing was decided where there is none.
fn read(path: &Path, now: Moment) -> io::Result<Vec<(ServerId, Override)>> {
    let bytes = match regular::read(path, LARGEST) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let decisions: Decisions = serde_json::from_slice(&bytes)?;
    decisions.all(now)
}

/// Has the file written by a thread. Without a decision there is no file.
///
/// # Errors
/// When the system has no thread left.
pub fn noted(path: PathBuf) -> io::Result<Notes<Decisions>> {
    let consequence = "what operators decided about servers ends with this daemon";
    Notes::start(path.clone(), consequence, move |decisions| {
        let result = match decisions {
            Some(decisions) => write(&path, decisions),
            None => fs::remove_file(&path).or_else(|error| match error.kind() {
                ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        result.map_err(|error| {
            let what = format!("{} cannot be written: {}; {consequence}", path.display(), cause(&error));
            io::Error::new(error.kind(), what)
        })
    })
}

fn write(path: &Path, decisions: &Decisions) -> io::Result<()> {
    regular::replace(path, &serde_json::to_vec_pretty(decisions)?, 0o644)
}

/// What was decided about servers in an earlier run.
#[derive(Default)]
pub struct Found {
    /// The decisions.
    pub decisions: Vec<(ServerId, Override)>,
    /// Why they are not known; the file was put aside then.
    pub unreadable: Option<String>,
}

/// Reads the file within a time limit, since a file system may hang; nothing was decided where there is none.
pub async fn find(path: Option<&Path>, now: Moment) -> Found {
    let Some(path) = path else { return Found::default() };
    let file = path.to_owned();
    let reading = tokio::time::timeout(LIMIT, aside(move || read(&file, now)));
    let error = match reading.await {
        Ok(Ok(decisions)) => return Found { decisions, unreadable: None },
        Ok(Err(error)) => {
            let file = path.to_owned();
            // Where it cannot be renamed either, it is replaced by the next decision.
            let _ = tokio::time::timeout(LIMIT, aside(move || put_aside(&file))).await;
            cause(&error)
        }
        Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
    };
    Found { decisions: Vec::new(), unreadable: Some(format!("{} cannot be read: {error}", path.display())) }
}

/// Has a director take over what operators decided in an earlier run. Where that is not known, no server that the kernel has at weight 0 comes in by
/// itself, and the text says so.
pub fn restore(director: &mut Director, found: Found, now: Instant) -> String {
    director.restore_overrides(found.decisions, now);
    let Some(unreadable) = found.unreadable else { return String::new() };
    let drained = desired::out_of_rotation(director.plan(), director.table());
    let warning = format!(
        "{unreadable}: what operators decided about servers is not known; {} real servers that have weight 0 in the kernel's table stay \
         out of rotation, each until ldirectord-rs undo SERVER",
        drained.len()
    );
    error!("{warning}");
    let decided = Override {
        what: What::Drain,
        owner: Owner::Operator("ldirectord-rs".to_owned()),
        reason: format!("{unreadable}; the kernel's table had weight 0"),
        since: now,
        until: None,
    };
    for server in drained {
        // It is in the plan, and does not take traffic.
        let _ = director.override_server(None, server, &decided, true, now);
    }
    warning
}

/// Puts a file aside that cannot be read, so that it is not lost when the next decision is written.
fn put_aside(path: &Path) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".unreadable");
    fs::rename(path, aside)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test begins now")]

    use std::collections::BTreeMap;
    use std::time::{Instant, SystemTime};

    use super::*;

    fn now() -> Moment {
        // Whole seconds: the file has no others.
        Moment { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000) }
    }

    #[test]
    fn decisions_outlive_the_daemon_and_a_reboot() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), "web.cf");
        let now = now();
        assert_eq!(read(&path, now).unwrap(), []);
        let minute = Duration::from_secs(60);
        let server: ServerId = ("tcp:10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let decision = Override {
            what: What::Drain,
            owner: Owner::Operator("anna".to_owned()),
            reason: "new \"kernel\"".to_owned(),
            since: now.instant - minute,
            until: Some(now.instant + minute),
        };
        let all = BTreeMap::from([(server, decision.clone())]);
        write(&path, &Decisions::new(&all, now)).unwrap();
        assert_eq!(read(&path, now).unwrap(), [(server, decision.clone())]);
        // After a reboot the clock that only runs forward begins anew, and that of the wall goes on.
        let later = Moment { instant: now.instant - 7 * minute, wall: now.wall + 3 * minute };
        let found = read(&path, later).unwrap().remove(0).1;
        assert_eq!(found.since, later.instant - 4 * minute);
        assert_eq!(found.until, Some(later.instant - 2 * minute));
    }

    #[test]
    fn what_has_no_meaning_is_not_read_and_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), "web.cf");
        let large = " ".repeat(2 * 1024 * 1024);
        for text in [
            "",
            "{}",
            r#"{"version":2,"overrides":[]}"#,
            r#"{"version":1,"overrides":[{"service":"x","server":"10.0.0.2:80","what":"drain","owner":"a","since":"2026-01-01T00:00:00Z"}]}"#,
            r#"{"version":1,"overrides":[{"service":"fwm:5","server":"10.0.0.2:80","what":"drain","owner":"a","since":"now"}]}"#,
            r#"{"version":1,"overrides":[{"service":"fwm:5","server":"10.0.0.2:80","what":"explode","owner":"a","since":"2026-01-01T00:00:00Z"}]}"#,
            large.as_str(),
        ] {
            fs::write(&path, text).unwrap();
            assert!(read(&path, now()).is_err(), "{text:.100}");
        }
        put_aside(&path).unwrap();
        assert_eq!(read(&path, now()).unwrap(), []);
        assert!(directory.path().join("web.cf.overrides.unreadable").exists());
    }
}
