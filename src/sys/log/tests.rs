//! Files that move, hang and fill up. JSON. The packets of syslog and the journal.

#![expect(clippy::disallowed_methods, reason = "a generous limit needs the clock")]

use chrono::DateTime;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

#[test]
fn a_log_file_may_be_moved_away_at_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::new("web.cf", LogDestination::File(path.clone()));
    log.line("one");
    std::fs::rename(&path, dir.path().join("log.1")).unwrap();
    log.line("two");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.ends_with(&format!("|web.cf|{}] two\n", std::process::id())), "{text}");
    assert!(!text.contains("one"));
}

#[test]
fn json_has_the_facts_of_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::new("web.cf", LogDestination::File(path.clone()));
    log.set_json(true);
    log.write(Level::WARN, "one \"two\"\nthree".to_owned(), Fields::default());
    let text = std::fs::read_to_string(&path).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert_eq!((value["level"].as_str(), value["config"].as_str()), (Some("warn"), Some("web.cf")));
    assert_eq!(value["message"], "one \"two\"\nthree");
    assert_eq!(value["pid"], std::process::id());
    assert!(DateTime::parse_from_rfc3339(value["time"].as_str().unwrap()).is_ok());
}

#[test]
fn the_journal_gets_fields_and_a_counted_message() {
    let expected = b"PRIORITY=4\nSYSLOG_IDENTIFIER=ldirectord\nLDIRECTORD_CONFIG=web.cf\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
    assert_eq!(line(Level::WARN, "a\nb").journal_packet(), expected);
}

fn line(level: Level, text: &str) -> LogLine {
    let to =
        LogOutput { target: LogDestination::Nowhere, json: false, name: "web.cf".to_owned(), journald: true };
    LogLine { at: Utc::now(), level, text: text.to_owned(), fields: Fields::default(), to: Arc::new(to) }
}

#[test]
fn an_event_has_its_parts_as_fields() {
    let dir = tempfile::tempdir().unwrap();
    let (path, id) = (dir.path().join("log"), "0123456789abcdef0123456789abcdef");
    let log = Log::new("web.cf", LogDestination::File(path.clone()));
    log.set_json(true);
    let missing: Option<&str> = None;
    tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
        tracing::info!(
            kind = "down",
            message_id = id,
            server = "10.0.0.2:80",
            reason = "said \u{1b}[31m",
            service = missing,
            other = 5,
            "gone"
        );
    });
    let text = std::fs::read_to_string(&path).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((value["event"].as_str(), value["server"].as_str()), (Some("down"), Some("10.0.0.2:80")));
    assert!(!value["reason"].as_str().unwrap().contains('\u{1b}'), "{text}");
    assert_eq!((value.get("service"), value.get("message_id")), (None, None));
    assert_eq!(value["message"], "gone other=5");
}

#[test]
fn the_journal_has_the_fields_of_an_event() {
    let mut line = line(Level::INFO, "gone");
    line.fields =
        Fields::of(&[("message_id", "0123456789abcdef0123456789abcdef"), ("server", "10.0.0.2:80")]);
    let packet = String::from_utf8(line.journal_packet()).unwrap();
    let fields = "MESSAGE_ID=0123456789abcdef0123456789abcdef\nLDIRECTORD_SERVER=10.0.0.2:80\nMESSAGE\n";
    assert!(packet.contains(fields), "{packet}");
}

#[test]
fn syslog_gets_the_severity_of_the_level() {
    // L04
    for (level, start) in [(Level::ERROR, "<27>"), (Level::WARN, "<28>"), (Level::INFO, "<30>")] {
        assert!(line(level, "x").syslog_packet(3).starts_with(start), "{level}");
    }
}

#[test]
fn syslog_is_found_again_after_its_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    assert!(connect_to_syslog(&path).is_none());
    let server = UnixDatagram::bind(&path).unwrap();
    let client = connect_to_syslog(&path).unwrap();
    client.send(line(Level::INFO, "hello").syslog_packet(16).as_bytes()).unwrap();
    let mut buffer = [0; 200];
    let length = server.recv(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(text.starts_with("<134>") && text.ends_with("]: hello"), "{text}");
}

/// Reads a pipe until the text is there.
fn read_until(pipe: &mut std::fs::File, words: &str) -> String {
    use std::io::Read;
    let mut text = String::new();
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while !text.contains(words) {
        assert!(std::time::Instant::now() < limit, "{words} is not in {text}");
        let mut buffer = [0; 4096];
        match pipe.read(&mut buffer) {
            Ok(length) => text.push_str(std::str::from_utf8(&buffer[..length]).unwrap()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        thread::yield_now();
    }
    text
}

#[test]
fn b3_a_pipe_that_is_not_read_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let log = Log::new("web.cf", LogDestination::File(path.clone()));
    log.probe(Duration::from_secs(10)).unwrap();
    *log.queue() = Some(WriteQueue::new(QUEUE_LIMIT));
    log.start_writer().unwrap();
    let long = "x".repeat(10_000);
    for number in 0..200 {
        log.line(&format!("{number} {long}"));
    }
    // The process may exit now, after at most a second.
    log.finish();
    let options = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path);
    let mut pipe = options.unwrap();
    read_until(&mut pipe, "] 50 xx");
    log.line("the last");
    let text = read_until(&mut pipe, "the last");
    assert!(text.contains("log lines before this one were dropped"), "{}", &text[text.len() - 500..]);
    let numbers: Vec<u32> =
        text.lines().filter_map(|line| line.split_once("] ")?.1.split_once(" x")?.0.parse().ok()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn b3_lines_wait_for_their_writer_and_keep_their_target() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let log = Log::new("web.cf", LogDestination::File(one.clone()));
    *log.queue() = Some(WriteQueue::new(QUEUE_LIMIT));
    log.line("before");
    assert!(!one.exists());
    log.redirect(LogDestination::File(two.clone()));
    log.line("after");
    log.finish();
    assert!(std::fs::read_to_string(&one).unwrap().ends_with("] before\n"));
    assert!(std::fs::read_to_string(&two).unwrap().ends_with("] after\n"));
}

#[test]
fn b3_lines_of_a_file_that_was_not_writable_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::fs::create_dir(&path).unwrap();
    let log = Log::new("web.cf", LogDestination::File(path.clone()));
    assert!(log.probe(Duration::from_secs(10)).is_err());
    log.line("one");
    log.line("two");
    std::fs::remove_dir(&path).unwrap();
    log.line("three");
    log.line("four");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| line.split_once("] ").unwrap().1).collect();
    assert!(lines[0].starts_with("2 log lines before this one could not be written: "), "{text}");
    assert_eq!(lines[1..], ["three", "four"]);
}

#[test]
fn c4_lines_of_libraries_are_not_for_the_operator() {
    let filter = own_targets(Level::INFO);
    for own in ["ldirectord_rs", "ldirectord_rs::daemon::run", "ipvs_rs"] {
        assert!(filter.would_enable(own, &Level::INFO), "{own}");
        assert!(!filter.would_enable(own, &Level::DEBUG), "{own}");
    }
    for library in ["notify::inotify", "rustls", "ldap3_proto", "log"] {
        assert!(!filter.would_enable(library, &Level::ERROR), "{library}");
    }
}

/// A disk that becomes full accepts a part of a write. `/dev/full` accepts nothing.
#[test]
fn lines_that_are_in_the_file_are_not_counted_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (full, good) = (LogDestination::File("/dev/full".into()), LogDestination::File(path.clone()));
    let line = |text: &str, target: &LogDestination| {
        let to =
            LogOutput { target: target.clone(), json: false, name: "web.cf".to_owned(), journald: false };
        let mut line = line(Level::INFO, text);
        line.to = Arc::new(to);
        (line, 0)
    };
    let mut sinks = Sinks::default();
    sinks.write(&[line("one", &full), line("two", &full), line("three", &good)]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("2 log lines before this one could not be written") && text.ends_with("three\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2);
    // A fragment is ended first.
    sinks.is_cut = true;
    sinks.failed = Some((1, io::ErrorKind::StorageFull.into()));
    std::fs::write(&path, "fragm").unwrap();
    sinks.write(&[line("four", &good)]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("fragm\n[") && text.lines().count() == 3 && !sinks.is_cut, "{text}");
}
