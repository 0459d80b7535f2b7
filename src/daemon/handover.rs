//! Hands "up since" and "down since" of every server over to the next daemon at a restart. The next daemon uses an
//! entry only if the note is less than 10 minutes old and the kernel's table agrees.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::director::Director;
use crate::health::{Known, ServerId};
use crate::report::Moment;
use crate::sys::command::aside;
use crate::sys::regular;

/// Maximum size of the note in bytes: some 100,000 servers.
const LARGEST: u64 = 16 * 1024 * 1024;
const VERSION: u32 = 1;
/// Maximum age of a note.
const FRESH: Duration = Duration::from_secs(600);
/// Time limit for the file system.
const LIMIT: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct HandoverNote {
    version: u32,
    /// RFC 3339. `since` as well.
    at: String,
    servers: Vec<HandoverServer>,
}

#[derive(Serialize, Deserialize)]
struct HandoverServer {
    service: String,
    server: SocketAddr,
    up: bool,
    since: String,
}

/// The path of the note for the daemon of this name.
pub(super) fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.health"))
}

/// Whether the daemon of this name ended for a restart and no new daemon has started yet.
#[must_use]
pub fn is_in_progress(directory: &Path, name: &str) -> bool {
    path(directory, name).exists()
}

/// Writes the note. A failure is harmless: the next daemon then counts from its own start.
pub(super) async fn leave(path: PathBuf, director: &Director, now: Moment) {
    let text = |at| time(now.wall_at(at));
    let server = |((service, server), known): (ServerId, Known)| HandoverServer {
        service: service.qualified(),
        server,
        up: known.is_up,
        since: text(known.since),
    };
    let servers = director.known().into_iter().map(server).collect();
    let note = HandoverNote { version: VERSION, at: time(now.wall), servers };
    let write = move || -> io::Result<()> { regular::replace(&path, &serde_json::to_vec(&note)?, 0o600) };
    drop(tokio::time::timeout(LIMIT, aside(write)).await);
}

/// Reads and removes the note of the previous daemon. Returns nothing if it is too old.
pub(super) async fn take(path: Option<&Path>, now: Moment) -> Vec<(ServerId, Known)> {
    let Some(path) = path.map(Path::to_owned) else { return Vec::new() };
    let found = tokio::time::timeout(LIMIT, aside(move || read(&path, now))).await;
    found.ok().flatten().unwrap_or_default()
}

fn read(path: &Path, now: Moment) -> Option<Vec<(ServerId, Known)>> {
    let bytes = regular::read(path, LARGEST).ok()?;
    let _ = fs::remove_file(path);
    let note: HandoverNote = serde_json::from_slice(&bytes).ok()?;
    let wall = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from);
    let age = now.wall.duration_since(wall(&note.at)?).ok()?;
    if note.version != VERSION || age > FRESH {
        return None;
    }
    let server = |server: &HandoverServer| {
        let since = now.instant_at(wall(&server.since)?).min(now.instant);
        Some(((server.service.parse().ok()?, server.server), Known { is_up: server.up, since }))
    };
    Some(note.servers.iter().filter_map(server).collect())
}

fn time(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

    use std::time::Instant;

    use super::*;
    use crate::daemon::harness::{Harness, spec};

    const TEXT: &str =
        "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n\tquiescent=no\n";

    fn moment(harness: &Harness) -> Moment {
        Moment { instant: harness.now, wall: SystemTime::UNIX_EPOCH + FRESH * 1_000_000 }
    }

    /// One of two servers goes down, then the next daemon starts `later` on the same table.
    async fn since(later: Duration) -> Vec<Duration> {
        let directory = tempfile::tempdir().unwrap();
        let mut harness = Harness::new();
        harness.start(spec(TEXT));
        harness.round();
        let begin = harness.now;
        harness.outcomes.insert("10.0.0.3:80".parse().unwrap(), crate::value::Outcome::Down);
        harness.round();
        let now = moment(&harness);
        let path = path(directory.path(), "web.cf");
        leave(path.clone(), harness.director(), now).await;
        harness.kill();
        let then = Moment { instant: now.instant + later, wall: now.wall + later };
        harness.now = then.instant;
        harness.start(spec(TEXT));
        let known = take(Some(&path), then).await;
        harness.director().know(&known);
        assert!(!path.exists());
        let all = harness.director().known();
        all.values().map(|known| known.since.saturating_duration_since(begin)).collect()
    }

    #[tokio::test]
    async fn a_fresh_note_is_believed_and_an_old_one_is_not() {
        let seconds = Duration::from_secs;
        assert_eq!(since(seconds(60)).await, [seconds(0), seconds(10)]);
        assert_eq!(since(seconds(601)).await, [seconds(611), seconds(611)]);
    }

    /// Another program has removed the server in the meantime.
    #[test]
    fn what_the_kernel_has_otherwise_begins_anew() {
        let mut harness = Harness::new();
        harness.start(spec(TEXT));
        let (of, now) = ("tcp:10.0.0.1:80".parse().unwrap(), harness.now);
        let known = Known { is_up: true, since: now - Duration::from_secs(100) };
        harness.director().know(&[((of, "10.0.0.2:80".parse().unwrap()), known)]);
        assert!(harness.director().known().values().all(|known| known.since == now && !known.is_up));
    }

    #[test]
    fn rubbish_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let now = Moment { instant: Instant::now(), wall: SystemTime::now() };
        for text in
            ["", "[]", "{\"version\":1}", "{\"version\":2,\"at\":\"2026-01-01T00:00:00Z\",\"servers\":[]}"]
        {
            fs::write(path(directory.path(), "x"), text).unwrap();
            assert_eq!(read(&path(directory.path(), "x"), now), None, "{text}");
        }
    }
}
