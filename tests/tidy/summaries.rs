//! The first sentence of a documentation comment is one sentence: it has no semicolon.

use crate::words::{shown, sources};

/// The first sentences of the documentation comments of a source, each with its line.
fn summaries(source: &str) -> Vec<(usize, String)> {
    let text_of = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map(|text| text.trim().to_owned())
    };
    let lines: Vec<Option<String>> = source.lines().map(text_of).collect();
    let begins = |at: &usize| lines[*at].is_some() && (*at == 0 || lines[at - 1].is_none());
    let summary = |at: usize| {
        let paragraph = lines[at..].iter().map_while(|line| line.as_deref().filter(|text| !text.is_empty()));
        let paragraph = paragraph.collect::<Vec<_>>().join(" ");
        // Code is not text.
        let text: String = paragraph.split('`').step_by(2).collect();
        (at + 1, text.split(". ").next().unwrap_or_default().to_owned())
    };
    (0..lines.len()).filter(begins).map(summary).collect()
}

#[test]
fn summaries_have_no_semicolon() {
    let mut wrong = Vec::new();
    for (path, text) in &sources() {
        let found = summaries(text).into_iter().filter(|(_, summary)| summary.contains(';'));
        wrong.extend(found.map(|(line, _)| format!("{}:{line}", shown(path))));
    }
    assert!(wrong.is_empty(), "summaries with a semicolon: write two sentences:\n{}", wrong.join("\n"));
}

#[test]
fn a_semicolon_in_a_summary_is_found() {
    let source = "//! One; two.\n//! Three.\n\n/// `a;b` is code. Later; fine.\nfn x() {}\n/// Four\n/// and; five\nfn y() {}\n";
    let found: Vec<usize> =
        summaries(source).into_iter().filter(|(_, text)| text.contains(';')).map(|(line, _)| line).collect();
    assert_eq!(found, [1, 6]);
}
