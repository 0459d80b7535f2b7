//! The tracker of a file, with a simulated clock and file.

use super::*;

const INTERVAL: Duration = Duration::from_secs(10);

/// A simulated file, and the observations of the tracker with their times in milliseconds.
struct Harness {
    tracker: Tracker,
    start: Instant,
    now: Instant,
    file: Content,
    seen: Vec<(u128, Observed)>,
}

#[expect(clippy::disallowed_methods, reason = "a test needs a start time")]
fn harness(content: &str) -> Harness {
    let start = Instant::now();
    let file = Some(content.as_bytes().to_vec());
    let tracker = Tracker::new(content.as_bytes().to_vec(), INTERVAL, start);
    let mut harness = Harness { tracker, start, now: start, file, seen: Vec::new() };
    harness.pass(1);
    harness
}

impl Harness {
    /// Lets time pass, in milliseconds, with all due reads.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            let observed = match self.tracker.step(self.now) {
                TrackerStep::Read => self.tracker.read(self.file.clone(), self.now),
                TrackerStep::Wait(until) if until <= end => {
                    self.now = until;
                    self.tracker.overdue(self.now)
                }
                TrackerStep::Wait(_) => break,
            };
            self.seen.extend(observed.map(|observed| ((self.now - self.start).as_millis(), observed)));
        }
        self.now = end;
    }

    /// A program changes the file, and the system reports it.
    fn change(&mut self, content: &str, change: FileChange) {
        self.file = Some(content.as_bytes().to_vec());
        self.tracker.reported(change, self.now);
    }

    /// The observations since the last call.
    fn seen(&mut self) -> Vec<(u128, Observed)> {
        std::mem::take(&mut self.seen)
    }
}

fn changed(content: &str) -> Observed {
    Observed::Changed(content.as_bytes().to_vec())
}

/// R70
#[test]
fn a6_a_file_renamed_into_place_counts_after_100_ms() {
    let mut harness = harness("one");
    harness.pass(999);
    harness.change("two", FileChange::Replaced);
    harness.pass(5000);
    assert_eq!(harness.seen(), [(1100, changed("two"))]);
    // Replaced twice: the second content counts.
    harness.change("three", FileChange::Replaced);
    harness.pass(50);
    harness.change("four", FileChange::Replaced);
    harness.pass(5000);
    assert_eq!(harness.seen(), [(6150, changed("four"))]);
}

#[test]
fn a6_a_file_written_in_place_counts_2_s_after_the_close() {
    let mut harness = harness("one");
    harness.pass(999);
    harness.change("", FileChange::Written);
    harness.pass(350);
    harness.change("tw", FileChange::Written);
    // The writer pauses for a long time with the file open.
    harness.pass(30_000);
    harness.change("two", FileChange::Written);
    harness.change("two", FileChange::Closed);
    harness.pass(5000);
    assert_eq!(harness.seen(), [(33_450, changed("two"))]);
}

#[test]
fn a6_lines_appended_one_by_one_are_one_change() {
    let mut harness = harness("one");
    let mut text = String::new();
    for _ in 0..100 {
        text.push('x');
        harness.change(&text, FileChange::Written);
        harness.change(&text, FileChange::Closed);
        harness.pass(350);
    }
    harness.pass(5000);
    assert_eq!(harness.seen(), [(36_751, changed(&text))]);
}

#[test]
fn a6_without_events_two_reads_2_s_apart_count() {
    let mut harness = harness("one");
    harness.pass(20_000);
    harness.file = Some(b"tw".to_vec());
    harness.pass(1000);
    harness.file = Some(b"two".to_vec());
    harness.pass(9000);
    // Read at 20 s ("one"), then at 30 s and 32 s.
    assert_eq!(harness.seen(), []);
    harness.pass(5000);
    assert_eq!(harness.seen(), [(32_000, changed("two"))]);
    // An incomplete first read does not count.
    harness.file = Some(b"thr".to_vec());
    harness.pass(7500);
    harness.file = Some(b"three".to_vec());
    harness.pass(6000);
    assert_eq!(harness.seen(), [(46_000, changed("three"))]);
}

#[test]
fn a6_content_that_ends_as_it_was_is_no_change() {
    let mut harness = harness("one");
    for change in [FileChange::Replaced, FileChange::Closed, FileChange::Unknown] {
        harness.change("o", FileChange::Written);
        harness.pass(500);
        harness.change("one", change);
        harness.pass(60_000);
        assert_eq!(harness.seen(), [], "{change:?}");
    }
}

#[test]
fn a6_without_quiet_the_operator_is_told_once() {
    let mut harness = harness("one");
    for round in 0..100 {
        harness.change(&format!("round {round}"), FileChange::Closed);
        harness.pass(1000);
    }
    assert_eq!(harness.seen(), [(60_001, Observed::Unquiet { open: false })]);
    harness.pass(5000);
    assert_eq!(harness.seen(), [(101_101, changed("round 99"))]);
    // The next period begins with the next change.
    harness.change("open", FileChange::Written);
    harness.pass(200_000);
    assert_eq!(harness.seen(), [(165_001, Observed::Unquiet { open: true })]);
}

#[test]
fn a6_content_that_was_applied_meanwhile_is_no_news() {
    let mut harness = harness("one");
    harness.change("two", FileChange::Written);
    harness.change("two", FileChange::Closed);
    harness.pass(1000);
    // A reload by SIGHUP applies the new content at once.
    harness.tracker.in_force(b"two".to_vec(), INTERVAL, harness.now);
    harness.pass(60_000);
    assert_eq!(harness.seen(), []);
    harness.change("one", FileChange::Replaced);
    harness.pass(200);
    assert_eq!(harness.seen(), [(61_101, changed("one"))]);
}

#[test]
fn a_file_that_is_missing_is_told_once_and_may_come_back() {
    let mut harness = harness("one");
    harness.file = None;
    harness.tracker.reported(FileChange::Replaced, harness.now);
    harness.pass(60_000);
    assert_eq!(harness.seen(), [(101, Observed::Missing)]);
    harness.change("one", FileChange::Replaced);
    harness.pass(60_000);
    assert_eq!(harness.seen(), []);
    harness.file = None;
    harness.pass(20_000);
    assert_eq!(harness.seen().into_iter().map(|(_, seen)| seen).collect::<Vec<_>>(), [Observed::Missing]);
}
