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
fn world(content: &str) -> Harness {
    let start = Instant::now();
    let file = Some(content.as_bytes().to_vec());
    let tracker = Tracker::new(content.as_bytes().to_vec(), INTERVAL, start);
    let mut world = Harness { tracker, start, now: start, file, seen: Vec::new() };
    world.pass(1);
    world
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
    let mut world = world("one");
    world.pass(999);
    world.change("two", FileChange::Replaced);
    world.pass(5000);
    assert_eq!(world.seen(), [(1100, changed("two"))]);
    // Replaced twice: the second content counts.
    world.change("three", FileChange::Replaced);
    world.pass(50);
    world.change("four", FileChange::Replaced);
    world.pass(5000);
    assert_eq!(world.seen(), [(6150, changed("four"))]);
}

#[test]
fn a6_a_file_written_in_place_counts_2_s_after_the_close() {
    let mut world = world("one");
    world.pass(999);
    world.change("", FileChange::Written);
    world.pass(350);
    world.change("tw", FileChange::Written);
    // The writer pauses for a long time with the file open.
    world.pass(30_000);
    world.change("two", FileChange::Written);
    world.change("two", FileChange::Closed);
    world.pass(5000);
    assert_eq!(world.seen(), [(33_450, changed("two"))]);
}

#[test]
fn a6_lines_appended_one_by_one_are_one_change() {
    let mut world = world("one");
    let mut text = String::new();
    for _ in 0..100 {
        text.push('x');
        world.change(&text, FileChange::Written);
        world.change(&text, FileChange::Closed);
        world.pass(350);
    }
    world.pass(5000);
    assert_eq!(world.seen(), [(36_751, changed(&text))]);
}

#[test]
fn a6_without_events_two_reads_2_s_apart_count() {
    let mut world = world("one");
    world.pass(20_000);
    world.file = Some(b"tw".to_vec());
    world.pass(1000);
    world.file = Some(b"two".to_vec());
    world.pass(9000);
    // Read at 20 s ("one"), then at 30 s and 32 s.
    assert_eq!(world.seen(), []);
    world.pass(5000);
    assert_eq!(world.seen(), [(32_000, changed("two"))]);
    // An incomplete first read does not count.
    world.file = Some(b"thr".to_vec());
    world.pass(7500);
    world.file = Some(b"three".to_vec());
    world.pass(6000);
    assert_eq!(world.seen(), [(46_000, changed("three"))]);
}

#[test]
fn a6_content_that_ends_as_it_was_is_no_change() {
    let mut world = world("one");
    for change in [FileChange::Replaced, FileChange::Closed, FileChange::Unknown] {
        world.change("o", FileChange::Written);
        world.pass(500);
        world.change("one", change);
        world.pass(60_000);
        assert_eq!(world.seen(), [], "{change:?}");
    }
}

#[test]
fn a6_without_quiet_the_operator_is_told_once() {
    let mut world = world("one");
    for round in 0..100 {
        world.change(&format!("round {round}"), FileChange::Closed);
        world.pass(1000);
    }
    assert_eq!(world.seen(), [(60_001, Observed::Unquiet { open: false })]);
    world.pass(5000);
    assert_eq!(world.seen(), [(101_101, changed("round 99"))]);
    // The next period begins with the next change.
    world.change("open", FileChange::Written);
    world.pass(200_000);
    assert_eq!(world.seen(), [(165_001, Observed::Unquiet { open: true })]);
}

#[test]
fn a6_content_that_was_applied_meanwhile_is_no_news() {
    let mut world = world("one");
    world.change("two", FileChange::Written);
    world.change("two", FileChange::Closed);
    world.pass(1000);
    // A reload by SIGHUP applies the new content at once.
    world.tracker.in_force(b"two".to_vec(), INTERVAL, world.now);
    world.pass(60_000);
    assert_eq!(world.seen(), []);
    world.change("one", FileChange::Replaced);
    world.pass(200);
    assert_eq!(world.seen(), [(61_101, changed("one"))]);
}

#[test]
fn a_file_that_is_missing_is_told_once_and_may_come_back() {
    let mut world = world("one");
    world.file = None;
    world.tracker.reported(FileChange::Replaced, world.now);
    world.pass(60_000);
    assert_eq!(world.seen(), [(101, Observed::Missing)]);
    world.change("one", FileChange::Replaced);
    world.pass(60_000);
    assert_eq!(world.seen(), []);
    world.file = None;
    world.pass(20_000);
    assert_eq!(world.seen().into_iter().map(|(_, seen)| seen).collect::<Vec<_>>(), [Observed::Missing]);
}
