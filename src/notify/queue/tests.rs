//! The queue with a delivery that is not mail.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::backlog::{Backlog, MAX_BYTES, QueuedMessage};
use super::destination::{PATIENCE, RETRY_PAUSE};
use super::*;

/// A message of the test, for some recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    title: &'static str,
    to: Vec<char>,
    size: usize,
}

fn note(title: &'static str) -> Note {
    Note { title, to: Vec::new(), size: 10 }
}

impl QueueItem for Note {
    fn size(&self) -> usize {
        self.size
    }

    fn title(&self) -> &str {
        self.title
    }

    fn split(&self) -> Vec<Note> {
        self.to.iter().map(|to| Note { to: vec![*to], ..self.clone() }).collect()
    }
}

/// The attempts: when, what, for whom.
type Attempts = Arc<Mutex<Vec<(Duration, &'static str, Vec<char>)>>>;

type Answer = Result<Vec<Rejected<Note>>, DeliveryFailure>;

/// Gives these answers, then accepts everything.
struct Script {
    begin: Instant,
    answers: VecDeque<Answer>,
    attempts: Attempts,
}

impl Delivery for Script {
    type Message = Note;

    async fn deliver(&mut self, note: &Note) -> Answer {
        let attempt = (self.begin.elapsed(), note.title, note.to.clone());
        self.attempts.lock().unwrap().push(attempt);
        self.answers.pop_front().unwrap_or(Ok(Vec::new()))
    }
}

fn script(answers: impl IntoIterator<Item = Answer>) -> (Script, Attempts) {
    let attempts = Attempts::default();
    let script = Script {
        begin: Instant::now(),
        answers: answers.into_iter().collect(),
        attempts: Arc::clone(&attempts),
    };
    (script, attempts)
}

fn wording() -> Wording {
    Wording {
        failed: "failed to call webhook",
        delivery: "webhook",
        destination: "https://example.net/".to_owned(),
        limit: "[webhook] queue",
        advice: "check [webhook]",
    }
}

fn closed() -> Answer {
    Err(DeliveryFailure::Closed("connection refused".to_owned()))
}

fn not_now() -> Answer {
    Err(DeliveryFailure::NotNow("busy".to_owned()))
}

fn never() -> Answer {
    Err(DeliveryFailure::Never("unknown".to_owned()))
}

/// Delivers these notes with these answers, for this time of the paused clock. Returns the attempts with their seconds.
async fn deliver(
    answers: impl IntoIterator<Item = Answer>,
    notes: &[Note],
    time: Duration,
) -> (Arc<DestinationQueue<Note>>, Vec<(u64, &'static str, String)>) {
    let queue = Arc::new(DestinationQueue::new(100, wording()));
    let (script, attempts) = script(answers);
    notes.iter().for_each(|note| queue.push(note.clone()));
    let task = tokio::spawn(Arc::clone(&queue).run(script));
    tokio::time::sleep(time).await;
    task.abort();
    let attempts = attempts.lock().unwrap();
    let attempt = |(at, title, to): &(Duration, &'static str, Vec<char>)| {
        (at.as_secs(), *title, to.iter().collect::<String>())
    };
    (queue, attempts.iter().map(attempt).collect())
}

#[tokio::test(start_paused = true)]
async fn a_closed_destination_is_retried_with_growing_pauses() {
    let answers = std::iter::repeat_with(closed).take(8);
    let (queue, attempts) = deliver(answers, &[note("one"), note("two")], Duration::from_secs(600)).await;
    let times: Vec<u64> = attempts.iter().map(|(at, ..)| *at).collect();
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 123, 183, 183]);
    let titles: Vec<&str> = attempts.iter().map(|(_, title, _)| *title).collect();
    assert!(titles[..9].iter().all(|title| *title == "one") && titles[9] == "two", "{titles:?}");
    let backlog = queue.backlog();
    assert_eq!((backlog.len(), backlog.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_is_retried_for_a_day_and_delays_no_other() {
    // The first message is rejected, the second is accepted, and then the first is rejected each time.
    let answers = [not_now(), Ok(Vec::new())].into_iter().chain(std::iter::repeat_with(not_now).take(5000));
    let (queue, attempts) = deliver(answers, &[note("one"), note("two")], 2 * PATIENCE).await;
    assert_eq!(
        attempts[..3].iter().map(|(at, title, _)| (*at, *title)).collect::<Vec<_>>(),
        [(0, "one"), (0, "two"), (RETRY_PAUSE.as_secs(), "one")]
    );
    let (last, ..) = attempts.last().unwrap();
    assert_eq!(*last, PATIENCE.as_secs(), "not tried again after a day");
    let backlog = queue.backlog();
    assert_eq!((backlog.len(), backlog.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_rejected_for_good_is_dropped() {
    let (queue, attempts) = deliver([never()], &[note("one"), note("two")], PATIENCE).await;
    assert_eq!(attempts, [(0, "one", String::new()), (0, "two", String::new())]);
    assert_eq!(queue.backlog().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_bad_recipient_does_not_keep_a_message_from_the_others() {
    let for_two = Note { to: vec!['a', 'b'], ..note("one") };
    // As a whole it is rejected, and then for the first recipient.
    let (_, attempts) = deliver([never(), never()], std::slice::from_ref(&for_two), PATIENCE).await;
    let to: Vec<&str> = attempts.iter().map(|(_, _, to)| to.as_str()).collect();
    assert_eq!(to, ["ab", "a", "b"]);
    // It is accepted, but not for the second recipient, who is tried again.
    let part = Note { to: vec!['b'], ..for_two.clone() };
    let rejected = Rejected { message: part, failure: DeliveryFailure::NotNow("full".to_owned()) };
    let (_, attempts) = deliver([Ok(vec![rejected])], &[for_two], PATIENCE).await;
    assert_eq!(attempts, [(0, "one", "ab".to_owned()), (RETRY_PAUSE.as_secs(), "one", "b".to_owned())]);
}

/// A server that rejects slowly may take longer for all retries than the pause before the next.
#[tokio::test(start_paused = true)]
async fn a_new_message_waits_for_one_retry_at_most() {
    let mut backlog = Backlog::new(10);
    let now = Instant::now();
    for title in ["one", "two", "three"] {
        backlog.push_retry(QueuedMessage { retry_at: Some(now), ..QueuedMessage::new(note(title)) });
    }
    assert!(!backlog.push(note("new")));
    let order = std::iter::from_fn(|| backlog.next(now)).map(|entry| entry.message.title);
    assert_eq!(order.collect::<Vec<_>>(), ["one", "new", "two", "three"]);
}

#[test]
fn b8_a_queue_is_bounded_in_number_and_bytes() {
    let mut backlog = Backlog::new(2);
    assert!(!backlog.push(note("one")) && !backlog.push(note("two")));
    assert!(backlog.push(note("three")), "the first that is dropped");
    assert!(!backlog.push(note("four")));
    assert_eq!(backlog.titles(), ["three", "four"]);
    assert_eq!((backlog.take_lost(), backlog.take_lost(), backlog.lost_since_start()), (2, 0, 2));

    let mut backlog = Backlog::new(usize::MAX);
    for _ in 0..40 {
        backlog.push(Note { size: 1024 * 1024 + 1, ..note("large") });
    }
    assert!(backlog.bytes() <= MAX_BYTES && backlog.len() == 15, "{}", backlog.len());
    assert_eq!(backlog.lost_since_start(), 25);
}

/// Never answers.
struct Silent;

impl Delivery for Silent {
    type Message = Note;

    async fn deliver(&mut self, _: &Note) -> Answer {
        std::future::pending().await
    }
}

#[tokio::test]
async fn the_end_delivers_the_rest_without_waiting_for_silence() {
    let mut queues = Queues::new("test", 1000);
    let (script, attempts) = script([]);
    let mut script = Some(script);
    for _ in 0..500 {
        queues.send("good", note("one"), |_| (wording(), script.take().unwrap())).unwrap();
    }
    queues.send("silent", note("one"), |_| (wording(), Silent)).unwrap();
    let begin = Instant::now();
    queues.finish(Duration::from_secs(2)).await;
    assert_eq!(attempts.lock().unwrap().len(), 500);
    assert!(begin.elapsed() < Duration::from_secs(20));
}
