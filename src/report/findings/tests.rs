//! Findings at 80 columns. `UPDATE_GOLDEN=1 cargo test --lib findings` writes the expected text again.

use std::fs;
use std::path::Path;

use super::*;
use crate::diagnosis::Topic;

fn finding(topic: Topic, level: FindingLevel, what: &str, why: &str, remedy: &str) -> Finding {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Finding { topic, level, what: what.to_owned(), why: given(why), remedy: given(remedy) }
}

fn examples() -> Vec<Finding> {
    use FindingLevel::{Error, Note, Ok, Warning};
    use Topic::{Addresses, Daemon, Descriptors, File, Forwarding, Kernel, Sysctl};
    let forwarding = "tcp:192.0.2.25:25 forwards by masq: no packet of a client reaches the 4 servers";
    vec![
        finding(File, Ok, "10 virtual services, 50 real servers, no warning", "", ""),
        finding(Kernel, Ok, "6.1.0-28-amd64, ip_vs loaded, schedulers: wlc rr", "", ""),
        finding(Daemon, Note, "none runs for this file", "", ""),
        finding(
            Addresses,
            Note,
            "192.0.2.20 to 192.0.2.53 (9) are not on this machine",
            "right on a standby director",
            "",
        ),
        finding(
            Forwarding,
            Error,
            "net.ipv4.ip_forward = 0, needed: 1",
            forwarding,
            "sysctl -w net.ipv4.ip_forward=1",
        ),
        finding(
            Sysctl,
            Warning,
            "net.ipv4.vs.expire_nodest_conn = 0, recommended: 1",
            "clients of a removed server wait for a time-out\u{1b}[2J",
            "sysctl -w net.ipv4.vs.expire_nodest_conn=1",
        ),
        finding(Descriptors, Ok, "1,024 for 50 checks", "", ""),
    ]
}

#[test]
fn findings_are_as_recorded() {
    let look =
        |utf8, width| ListingStyle { width, colour: false, utf8, all: false, down: false, phases: false };
    let parts = ["ldirectord-rs 2.0.0", "/etc/ha.d/ldirectord.cf", "lb1.fra.example.net"].map(str::to_owned);
    let mut found = String::new();
    for (title, look) in [
        ("80 columns", look(true, Some(80))),
        ("48 columns", look(true, Some(48))),
        ("no terminal, ASCII", look(false, None)),
    ] {
        let rows = findings(&examples(), look);
        let text = format!("{}\n\n{rows}\n\n{}", heading(&parts, look), last_line(&examples(), 12, look));
        if let Some(width) = look.width {
            let widest = text.lines().map(unicode_width::UnicodeWidthStr::width).max();
            assert!(widest <= Some(width), "{title}: {widest:?}\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text:?}");
        found.push_str(&format!("== {title}\n{text}\n\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/diagnosis/rendered.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(&path).unwrap_or_default());
}

#[test]
fn the_last_line_counts_and_has_the_worst_mark() {
    let look =
        ListingStyle { width: Some(80), colour: false, utf8: false, all: false, down: false, phases: false };
    let warning = finding(Topic::Sysctl, FindingLevel::Warning, "", "", "");
    let error = finding(Topic::Forwarding, FindingLevel::Error, "", "", "");
    assert_eq!(last_line(&[], 0, look), "+ no error, no warning, no server not up");
    assert_eq!(last_line(std::slice::from_ref(&warning), 0, look), "! no error, 1 warning, no server not up");
    assert_eq!(last_line(&[], 1, look), "x no error, no warning, 1 server not up");
    assert_eq!(last_line(&[error, warning], 2, look), "x 1 error, 1 warning, 2 servers not up");
    let coloured = last_line(&[], 2, ListingStyle { colour: true, ..look });
    assert!(coloured.starts_with("\u{1b}[1;31mx"), "{coloured:?}");
}
