//! Listings at several widths. `UPDATE_GOLDEN=1 cargo test --lib listing` writes the expected ones again.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::rows::short;
use super::{ListingStyle, render, story};
use crate::report::StateSnapshot;

/// What is printed about a file in `tests/data/show`, in each of the looks that it is expected in.
fn check<T: DeserializeOwned>(name: &str, render: impl Fn(&T, ListingStyle) -> String) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/show");
    let text = fs::read_to_string(directory.join(format!("{name}.json"))).unwrap();
    let snapshot: T = serde_json::from_str(&text).unwrap();
    let look =
        |width, all| ListingStyle { width, colour: false, utf8: true, all, down: false, phases: false };
    let looks = [
        ("80 columns", look(Some(80), false)),
        ("80 columns, --all", look(Some(80), true)),
        ("140 columns", look(Some(140), false)),
        ("no terminal, ASCII", ListingStyle { utf8: false, ..look(None, false) }),
    ];
    let mut found = String::new();
    for (title, look) in looks {
        let listing = render(&snapshot, look);
        if let Some(width) = look.width {
            let widest = listing.lines().map(unicode_width::UnicodeWidthStr::width).max();
            assert!(widest <= Some(width), "{name}, {title}: {widest:?}\n{listing}");
        }
        found.push_str(&format!("== {title}\n{listing}\n\n"));
    }
    let path = directory.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn listings_are_as_recorded() {
    for name in ["healthy", "bad-night", "starting", "check", "old"] {
        check(name, render);
    }
}

#[test]
fn the_story_of_a_server_is_as_recorded() {
    check("story", story);
}

#[test]
fn colours_only_surround_the_same_text() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/show");
    let text = fs::read_to_string(directory.join("bad-night.json")).unwrap();
    let snapshot: StateSnapshot = serde_json::from_str(&text).unwrap();
    let look =
        ListingStyle { width: Some(80), colour: true, utf8: true, all: true, down: false, phases: false };
    let coloured = render(&snapshot, look);
    assert!(
        coloured.contains("\u{1b}[1;31mNO SERVER LEFT") || coloured.contains("\u{1b}[1;31m   NO SERVER LEFT")
    );
    let plain = anstream::adapter::strip_str(&coloured).to_string();
    let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n"), render(&snapshot, ListingStyle { colour: false, ..look }));
}

#[test]
fn durations_are_short() {
    for (seconds, expected) in [
        (0.4, "0s"),
        (59.9, "59s"),
        (60.0, "1m"),
        (3599.0, "59m"),
        (11_520.0, "3h12m"),
        (2_124_000.0, "24d14h"),
    ] {
        assert_eq!(short(seconds), expected);
    }
}

/// Two lines with the same address and different checks: the failed one takes the destination out of the table.
#[test]
fn a_failed_twin_explains_a_missing_server() {
    let listing = |second: &str| {
        let server = |state| {
            format!(
                r#"{{"address":"10.0.0.2:80","method":"masq","weight":1,"state":"{state}","failures":0,"last_check":null}}"#
            )
        };
        let servers = [server("up"), server(second)].join(",");
        let text = format!(
            r#"{{"virtuals":[{{"id":"tcp:10.0.0.1:80","scheduler":"wrr","servers":[{servers}],"destinations":[]}}]}}"#
        );
        render(&serde_json::from_str(&text).unwrap(), ListingStyle::default())
    };
    assert!(listing("up").contains("NOT IN THE TABLE"), "{}", listing("up"));
    assert!(listing("down").contains("NO SERVER LEFT"), "{}", listing("down"));
}

/// Only overrides of operators, at the time of the snapshot.
#[test]
fn the_summary_counts_old_overrides_without_an_end() {
    let listing = |more: &str| {
        let decision = format!(
            r#""override":{{"what":"weight","weight":"50%","owner":"anna","note":"","since":"2026-11-28T05:00:00+00:00"{more}}}"#
        );
        let server = format!(
            r#"{{"address":"10.0.0.2:80","method":"masq","weight":2,"state":"up","failures":0,"last_check":null,{decision}}}"#
        );
        let text = format!(
            r#"{{"taken_at":"2026-11-29T06:00:00+01:00","virtuals":[{{"id":"tcp:10.0.0.1:80","scheduler":"wrr","servers":[{server}],"destinations":[]}}]}}"#
        );
        render(&serde_json::from_str(&text).unwrap(), ListingStyle::default())
    };
    let old = listing("");
    assert!(old.contains("1 override   1 override older than a day without an end"), "{old}");
    assert!(old.contains("weight 50% by anna; its check: not checked yet"), "{old}");
    let ends = listing(r#","until":"2026-12-01T05:00:00+00:00""#);
    assert!(ends.contains("1 override") && !ends.contains("older than a day"), "{ends}");
}
