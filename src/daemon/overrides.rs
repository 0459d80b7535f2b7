//! The file with the overrides of operators. They survive a reload, restart, stop, crash and reboot.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::notes::NoteWriter;
use crate::desired;
use crate::director::Director;
use crate::health::{Override, OverrideWeight, Owner, ServerId, What};
use crate::net::cause;
use crate::report::Moment;
use crate::sys::command::aside;
use crate::sys::regular;

/// Maximum size of the file in bytes: [`MOST_OVERRIDES`](crate::director::MOST_OVERRIDES) with the longest notes
/// are smaller.
const LARGEST: u64 = 32 * 1024 * 1024;
/// How long a start waits for the file.
const LIMIT: Duration = Duration::from_secs(5);
/// Version of the format. Files of a later version are rejected.
const VERSION: u32 = 2;
/// The version of a file without a `weight`. An earlier release reads it, and rejects version 2 with a clear error: it
/// must not give a server its configured weight without a word.
const VERSION_WITHOUT_WEIGHT: u32 = 1;

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideFile {
    version: u32,
    overrides: Vec<OverrideRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OverrideRecord {
    service: String,
    server: SocketAddr,
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<OverrideWeight>,
    owner: String,
    #[serde(default)]
    note: String,
    /// RFC 3339, as `until`.
    since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// The file for the daemon of this name.
#[must_use]
pub fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.overrides"))
}

impl OverrideFile {
    /// Whether there is no override.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.overrides.is_empty()
    }

    /// The overrides as file content. `now` converts their times.
    pub fn new<'a>(all: impl IntoIterator<Item = (&'a ServerId, &'a Override)>, now: Moment) -> OverrideFile {
        let time = |at| DateTime::<Utc>::from(now.wall_at(at)).to_rfc3339_opts(SecondsFormat::Secs, true);
        let decision = |((service, server), decision): (&ServerId, &Override)| OverrideRecord {
            service: service.qualified(),
            server: *server,
            what: decision.what.as_str().to_owned(),
            weight: decision.what.weight(),
            owner: decision.owner.to_string(),
            note: decision.reason.clone(),
            since: time(decision.since),
            until: decision.until.map(time),
        };
        let overrides: Vec<OverrideRecord> = all.into_iter().map(decision).collect();
        let has_weight = overrides.iter().any(|record| record.weight.is_some());
        OverrideFile { version: if has_weight { VERSION } else { VERSION_WITHOUT_WEIGHT }, overrides }
    }

    /// The overrides in the file. One invalid entry rejects the whole file.
    fn all(&self, now: Moment) -> io::Result<Vec<(ServerId, Override)>> {
        let wrong = |what: String| io::Error::new(ErrorKind::InvalidData, what);
        if !(VERSION_WITHOUT_WEIGHT..=VERSION).contains(&self.version) {
            return Err(wrong(format!(
                "unsupported version {}; this release reads {VERSION_WITHOUT_WEIGHT} to {VERSION}",
                self.version
            )));
        }
        let time = |text: &String| {
            let time = DateTime::parse_from_rfc3339(text);
            time.map(|time| now.instant_at(time.into())).map_err(|_| wrong(format!("invalid time {text:?}")))
        };
        let read = |decision: &OverrideRecord| {
            let service = decision.service.parse();
            let service =
                service.map_err(|_| wrong(format!("invalid virtual service {:?}", decision.service)))?;
            let decided = Override {
                what: What::from_names(&decision.what, decision.weight).map_err(wrong)?,
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

/// Reads the file. A missing file means no overrides.
fn read(path: &Path, now: Moment) -> io::Result<Vec<(ServerId, Override)>> {
    let bytes = match regular::read(path, LARGEST) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let decisions: OverrideFile = serde_json::from_slice(&bytes)?;
    decisions.all(now)
}

/// Starts the thread that writes the file. Without overrides it removes the file. A file that this start could not
/// read is renamed first, so that nothing overwrites it.
///
/// # Errors
/// The system cannot start another thread.
pub fn noted(path: PathBuf, mut is_unreadable: bool) -> io::Result<NoteWriter<OverrideFile>> {
    let consequence = "drain, down, up and weight end with this daemon";
    NoteWriter::start(path.clone(), consequence, move |content| {
        let mut save = || {
            if is_unreadable {
                put_aside(&path)?;
                is_unreadable = false;
            }
            match content {
                Some(content) => write(&path, content),
                None => regular::remove(&path),
            }
        };
        save().map_err(|error| {
            let what = format!("{} cannot be written: {}; {consequence}", path.display(), cause(&error));
            io::Error::new(error.kind(), what)
        })
    })
}

fn write(path: &Path, decisions: &OverrideFile) -> io::Result<()> {
    regular::replace(path, &serde_json::to_vec_pretty(decisions)?, 0o644)
}

/// The overrides of an earlier run.
#[derive(Default)]
pub struct LoadedOverrides {
    /// The overrides.
    pub overrides: Vec<(ServerId, Override)>,
    /// Why the file cannot be read.
    pub unreadable: Option<String>,
}

/// Reads the file within [`LIMIT`], because a file system may hang.
pub async fn find(path: Option<&Path>, now: Moment) -> LoadedOverrides {
    let Some(path) = path else { return LoadedOverrides::default() };
    let file = path.to_owned();
    let error = match tokio::time::timeout(LIMIT, aside(move || read(&file, now))).await {
        Ok(Ok(overrides)) => return LoadedOverrides { overrides, unreadable: None },
        Ok(Err(error)) => cause(&error),
        Err(_) => format!("the file system did not respond within {} s", LIMIT.as_secs()),
    };
    LoadedOverrides {
        overrides: Vec::new(),
        unreadable: Some(format!("{} cannot be read: {error}", path.display())),
    }
}

/// Restores the overrides of an earlier run. If the file is unreadable, drains every server that the kernel has at
/// weight 0 and returns a warning.
pub fn restore(director: &mut Director, found: LoadedOverrides, now: Instant) -> String {
    let Some(unreadable) = found.unreadable else {
        let dropped = director.restore_overrides(found.overrides, now);
        for ((service, server), dropped) in dropped {
            warn!(
                "Override {} of real server dropped: {server} ({}): by {}: it expired, or the configuration no longer has the server",
                dropped.what,
                service.qualified(),
                dropped.owner
            );
        }
        return String::new();
    };
    let is_free = |server: &SocketAddr| !director.is_in_maintenance(*server);
    let drained: Vec<SocketAddr> =
        desired::out_of_rotation(director.spec(), director.table()).into_iter().filter(is_free).collect();
    let warning = format!(
        "{unreadable}: drain, down, up and weight of an earlier run are lost; {} real servers with weight 0 in the kernel's table stay out \
         of rotation; run `ldirectord-rs undo SERVER` for each that may return",
        drained.len()
    );
    error!("{warning}");
    let drain = Override {
        what: What::Drain,
        owner: Owner::Operator("ldirectord-rs".to_owned()),
        reason: format!("{unreadable}; the kernel's table had weight 0"),
        since: now,
        until: None,
    };
    for server in drained {
        // The server is in the spec and out of rotation, so this cannot be refused.
        let _ = director.override_server(None, server, &drain, true, now);
    }
    warning
}

/// Renames an unreadable file, so that the next override does not overwrite it.
fn put_aside(path: &Path) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".unreadable");
    fs::rename(path, aside)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

    use std::collections::BTreeMap;
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::daemon::harness::{Harness, spec};

    fn now() -> Moment {
        // Whole seconds: the file stores no fractions.
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
        write(&path, &OverrideFile::new(&all, now)).unwrap();
        assert_eq!(read(&path, now).unwrap(), [(server, decision.clone())]);
        // A reboot resets the monotonic clock but not the wall clock.
        let later = Moment { instant: now.instant - 7 * minute, wall: now.wall + 3 * minute };
        let found = read(&path, later).unwrap().remove(0).1;
        assert_eq!(found.since, later.instant - 4 * minute);
        assert_eq!(found.until, Some(later.instant - 2 * minute));
    }

    /// An earlier release must not take a file with a weight for a file without one.
    #[test]
    fn only_a_file_with_a_weight_has_a_new_version() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), "web.cf");
        let now = now();
        for (what, version) in [(What::Drain, 1), (What::Weight(OverrideWeight::Percent(50)), 2)] {
            let decision = Override {
                what,
                owner: Owner::Operator("anna".to_owned()),
                reason: String::new(),
                since: now.instant,
                until: None,
            };
            let server = ("fwm:5".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
            let file = OverrideFile::new([(&server, &decision)], now);
            assert_eq!(file.version, version);
            write(&path, &file).unwrap();
            assert_eq!(read(&path, now).unwrap(), [(server, decision)]);
        }
    }

    #[test]
    fn what_has_no_meaning_is_not_read_and_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), "web.cf");
        let large = " ".repeat(33 * 1024 * 1024);
        for text in [
            "",
            "{}",
            r#"{"version":3,"overrides":[]}"#,
            r#"{"version":1,"overrides":[{"service":"x","server":"10.0.0.2:80","what":"drain","owner":"a","since":"2026-01-01T00:00:00Z"}]}"#,
            r#"{"version":1,"overrides":[{"service":"fwm:5","server":"10.0.0.2:80","what":"drain","owner":"a","since":"now"}]}"#,
            r#"{"version":1,"overrides":[{"service":"fwm:5","server":"10.0.0.2:80","what":"explode","owner":"a","since":"2026-01-01T00:00:00Z"}]}"#,
            r#"{"version":2,"overrides":[{"service":"fwm:5","server":"10.0.0.2:80","what":"weight","owner":"a","since":"2026-01-01T00:00:00Z"}]}"#,
            large.as_str(),
        ] {
            fs::write(&path, text).unwrap();
            assert!(read(&path, now()).is_err(), "{text:.100}");
        }
    }

    /// An unreadable file stays where it is until something is saved, and is kept then.
    #[tokio::test]
    async fn an_unreadable_file_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), "web.cf");
        fs::write(&path, "{ half").unwrap();
        let mut harness = Harness::new();
        harness.start(spec("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n"));
        // A server at weight 0 would be drained.
        harness.round();
        let _ = harness.director().take_overrides_changed();
        let found = find(Some(&path), now()).await;
        let is_unreadable = found.unreadable.is_some();
        let warning = restore(harness.director(), found, now().instant);
        assert!(is_unreadable && warning.contains("web.cf.overrides cannot be read"), "{warning}");
        assert!(!harness.director().take_overrides_changed(), "nothing to save");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ half");
        let mut notes = noted(path.clone(), true).unwrap();
        notes.write(OverrideFile::new(&BTreeMap::new(), now()), now().instant);
        let attempt = notes.next().await;
        assert!(notes.take(attempt, now().instant).unwrap());
        let aside = directory.path().join("web.cf.overrides.unreadable");
        assert_eq!(fs::read_to_string(aside).unwrap(), "{ half");
    }

    /// An override that expired while no daemon ran, and one of a server that is gone.
    #[test]
    fn what_no_longer_applies_is_dropped() {
        let mut harness = Harness::new();
        harness.start(spec("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n"));
        let of = "tcp:10.0.0.1:80".parse().unwrap();
        let saved = |until| Override {
            what: What::Up,
            owner: Owner::Operator("anna".to_owned()),
            reason: String::new(),
            since: harness.now,
            until,
        };
        let all = vec![
            ((of, "10.0.0.2:80".parse().unwrap()), saved(Some(harness.now))),
            ((of, "10.0.0.9:80".parse().unwrap()), saved(None)),
        ];
        let now = harness.now;
        assert_eq!(harness.director().restore_overrides(all.clone(), now), all);
        assert!(harness.director().overrides().is_empty() && harness.director().take_overrides_changed());
    }

    /// Whatever the daemon accepts can be read at the next start.
    #[test]
    fn the_largest_file_can_be_read() {
        let longest = Override {
            what: What::Drain,
            owner: Owner::Operator("a".repeat(64)),
            reason: "\"".repeat(256),
            since: now().instant,
            until: Some(now().instant),
        };
        let server = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
        let service = "tcp:[2001:db8:1111:2222:3333:4444:5555:7777]:65535".parse().unwrap();
        let ids = vec![(service, server); crate::director::MOST_OVERRIDES];
        let content = OverrideFile::new(ids.iter().map(|id| (id, &longest)), now());
        let size = serde_json::to_vec_pretty(&content).unwrap().len() as u64;
        assert!(size <= LARGEST, "{size} bytes");
    }
}
