//! Finds import circles between the parts of a module.
//!
//! The files and folders of one folder are the parts of a module. An arrow between two files counts in the innermost
//! folder that holds both files: as an arrow between the two parts to which the files belong. So
//! `check/http/exchange.rs` → `check/content.rs` is an arrow from `http` to `content`. A file may use its parent and
//! a parent its children: they are one module in several files.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use crate::modules::{Arrow, Crate, ModulePath};

/// By module: the parts that each of its parts uses, with one example of an arrow.
type Parts = BTreeMap<String, BTreeMap<String, Arrow>>;

/// The circles among arrows, each as a line that lists its arrows.
pub(crate) fn circles(arrows: &[Arrow]) -> Vec<String> {
    let mut levels: BTreeMap<ModulePath, Parts> = BTreeMap::new();
    for arrow in arrows {
        let common = arrow.from.iter().zip(&arrow.to).take_while(|(one, other)| one == other).count();
        if let (Some(from), Some(to)) = (arrow.from.get(common), arrow.to.get(common)) {
            let parts = levels.entry(arrow.from[..common].to_vec()).or_default();
            parts.entry(from.clone()).or_default().entry(to.clone()).or_insert_with(|| arrow.clone());
        }
    }
    levels.values().flat_map(circles_of_parts).collect()
}

/// The shortest circle through each arrow, each circle once.
fn circles_of_parts(parts: &Parts) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (from, uses) in parts {
        for to in uses.keys() {
            let Some(mut circle) = way(parts, to, from) else { continue };
            circle.push(to.clone());
            if seen.insert(circle.iter().cloned().collect::<BTreeSet<_>>()) {
                let arrows = circle.windows(2).map(|pair| &parts[&pair[0]][&pair[1]]);
                let arrows =
                    arrows.map(|arrow| format!("{} → {}", arrow.from.join("::"), arrow.to.join("::")));
                found.push(arrows.collect::<Vec<_>>().join(", "));
            }
        }
    }
    found
}

/// The shortest way from one part to another, including both.
fn way(parts: &Parts, from: &str, to: &str) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![from.to_owned()]]);
    let mut seen = BTreeSet::from([from.to_owned()]);
    while let Some(way) = ways.pop_front() {
        let last = way.last()?;
        if last == to {
            return Some(way);
        }
        for next in parts.get(last).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(next.clone()) {
                ways.push_back(way.iter().chain([next]).cloned().collect());
            }
        }
    }
    None
}

#[test]
fn a_circle_is_found() {
    let circles = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(path, text)| (Path::new(*path), *text));
        circles(&Crate::read(files).arrows())
    };
    let root = ("lib.rs", "mod one; mod two;");
    // Two files of one folder.
    let one = ("one.rs", "use crate::two::Two; pub struct One;");
    assert_eq!(circles(&[root, one, ("two.rs", "pub struct Two;")]), [""; 0]);
    assert_eq!(
        circles(&[root, one, ("two.rs", "use super::one::One; pub struct Two;")]),
        ["two → one, one → two"]
    );
    // In a body, in a macro, through a re-export.
    for body in [
        "fn f() { let _ = crate::one::One; }",
        "fn f() { println!(\"{}\", super::one::f()); }",
        "use crate::One;",
    ] {
        let root = ("lib.rs", "mod one; mod two; pub use one::One;");
        assert_eq!(circles(&[root, one, ("two.rs", body)]), ["two → one, one → two"], "{body}");
    }
    // Folders: no two files use each other.
    let http =
        [("http/mod.rs", "mod page; pub struct Http;"), ("http/page.rs", "use crate::content::Content;")];
    let content = ("content.rs", "use crate::http::Http; pub struct Content;");
    let found = circles(&[("lib.rs", "mod http; mod content;"), http[0], http[1], content]);
    assert_eq!(found, ["http::page → content, content → http"]);
    // Three parts.
    let three = [
        ("one.rs", "use crate::two::Two; pub struct One;"),
        ("two.rs", "use crate::three::Three; pub struct Two;"),
        ("three.rs", "use crate::one::One; pub struct Three;"),
    ];
    assert_eq!(circles(&[("lib.rs", "mod one; mod two; mod three;"), three[0], three[1], three[2]]).len(), 1);
}

#[test]
fn a_parent_and_a_test_close_no_circle() {
    let files = [
        ("lib.rs", "mod one; mod two; #[cfg(test)] mod tests;"),
        ("one/mod.rs", "mod part; use part::Part; pub struct One;"),
        ("one/part.rs", "use super::One; use crate::two::Two; pub struct Part;"),
        ("two.rs", "pub struct Two; #[cfg(test)] mod tests { use crate::one::One; }"),
        ("tests.rs", "use crate::one::One; use crate::two::Two;"),
    ];
    let arrows = Crate::read(files.map(|(path, text)| (Path::new(path), text))).arrows();
    assert!(arrows.len() >= 2, "{arrows:?}");
    assert_eq!(circles(&arrows), [""; 0]);
}

#[test]
fn no_module_has_an_import_circle() {
    let mut found = Vec::new();
    for folder in ["src", "ipvs-rs/src", "perl-pattern/src"] {
        let arrows = Crate::of(folder).arrows();
        assert!(arrows.len() > 5, "{folder}: {arrows:?}");
        found.extend(circles(&arrows).iter().map(|circle| format!("{folder}: {circle}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
