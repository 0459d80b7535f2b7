//! Notes that cannot be written, and notes that hang.

#![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc as channel;

use super::*;
use crate::daemon::owned::{Owned, OwnedServices};
use crate::desired;

const GENEROUS: Duration = Duration::from_secs(20);

fn owned(ports: &[u16]) -> Owned {
    let key = |port| desired::service_key(format!("tcp:10.0.0.1:{port}").parse().unwrap());
    Owned { services: ports.iter().map(key).collect(), ..Owned::default() }
}

async fn take(notes: &mut NoteWriter<Owned>, now: Instant) -> io::Result<bool> {
    let attempt = tokio::time::timeout(GENEROUS, notes.next()).await.unwrap();
    notes.take(attempt, now)
}

#[tokio::test]
async fn b3_what_cannot_be_written_is_said_once_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("none");
    let file = || OwnedServices::open(directory.join("services"));
    let (mut notes, start) = (file().noted().unwrap(), Instant::now());
    notes.write(owned(&[80]), start);
    assert!(notes.is_pending());
    let error = take(&mut notes, start).await.unwrap_err().to_string();
    assert!(error.contains("services cannot be written: "), "{error}");
    assert_eq!((notes.is_pending(), notes.poll_timeout()), (false, Some(start + RETRY)));
    notes.write(owned(&[80]), start + RETRY);
    assert!(!take(&mut notes, start + RETRY).await.unwrap(), "reported already");
    assert_eq!(notes.poll_timeout(), Some(start + 2 * RETRY));
    fs::create_dir(&directory).unwrap();
    notes.write(owned(&[80]), start + 2 * RETRY);
    assert!(take(&mut notes, start + 2 * RETRY).await.unwrap());
    assert_eq!((notes.poll_timeout(), file().read()), (None, owned(&[80]).services));
    // Unchanged content is not written again.
    notes.write(owned(&[80]), start + 3 * RETRY);
    assert!(!notes.is_pending());
    notes.remove(start + 3 * RETRY);
    assert!(take(&mut notes, start + 3 * RETRY).await.unwrap());
    assert_eq!(file().left().unwrap(), None);
}

/// The file system takes the first note and does not answer.
#[tokio::test]
async fn b3_a_note_that_hangs_holds_nothing_up() {
    let (release, gate) = channel::channel::<()>();
    let (begun, begins) = channel::channel();
    let (seen, written) = channel::channel();
    let write = move |owned: Option<&Owned>| {
        begun.send(()).unwrap();
        let _ = gate.recv();
        seen.send(owned.cloned()).unwrap();
        Ok(())
    };
    let mut notes =
        NoteWriter::start(PathBuf::from("/run/web.cf.services"), "services may stay", write).unwrap();
    let start = Instant::now();
    notes.write(owned(&[1]), start);
    begins.recv_timeout(GENEROUS).unwrap();
    for last in 2..=100 {
        notes.write(owned(&(1..=last).collect::<Vec<u16>>()), start);
    }
    assert!(notes.is_pending());
    assert_eq!((notes.poll_timeout(), notes.late(start)), (Some(start + LATE), None));
    assert!(notes.late(start + LATE).unwrap().starts_with("/run/web.cf.services was not written within"));
    assert_eq!((notes.late(start + LATE), notes.poll_timeout()), (None, None), "reported once");
    drop(release);
    // The first one was in progress; of the others only the newest is written.
    assert!(take(&mut notes, start).await.unwrap());
    assert!(notes.is_pending());
    assert!(take(&mut notes, start).await.unwrap());
    assert!(!notes.is_pending());
    let ports = |owned: Owned| owned.services.len();
    let all: BTreeSet<usize> = written.try_iter().flatten().map(ports).collect();
    assert_eq!(all, BTreeSet::from([1, 100]));
}
