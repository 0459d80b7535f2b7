//! Findings about the machine for people: a row for each, and the last line of `check`.

#[cfg(test)]
mod tests;

use super::listing::ListingStyle;
use super::listing::lines::{Paint, PaintedLine, appended, wrapped};
use crate::diagnosis::{Finding, FindingLevel};

/// The columns of a topic with the gap after it.
const TOPIC: usize = 14;

/// The first line of `check`: the program, the file and the machine, as far as the width allows.
#[must_use]
pub fn heading(parts: &[String], look: ListingStyle) -> String {
    let Some((first, others)) = parts.split_first() else { return String::new() };
    let lines = vec![PaintedLine::of(Paint::Dim, first)];
    let lines = others.iter().fold(lines, |lines, part| appended(lines, Paint::Dim, part, look.width));
    text(&lines, look)
}

/// A row for each finding: mark, topic, what was found. Below it why, and what to do.
#[must_use]
pub fn findings(findings: &[Finding], look: ListingStyle) -> String {
    let lines: Vec<PaintedLine> = findings.iter().flat_map(|finding| row(finding, look)).collect();
    text(&lines, look)
}

/// The last line: the numbers of errors, of warnings and of servers that are down.
#[must_use]
pub fn last_line(findings: &[Finding], down: usize, look: ListingStyle) -> String {
    let number = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (number(FindingLevel::Error), number(FindingLevel::Warning));
    let level = match (errors + down, warnings) {
        (0, 0) => FindingLevel::Ok,
        (0, _) => FindingLevel::Warning,
        _ => FindingLevel::Error,
    };
    let count = |number: usize, noun: &str, nouns: &str| match number {
        0 => format!("no {noun}"),
        1 => format!("1 {noun}"),
        _ => format!("{number} {nouns}"),
    };
    let counts = [
        count(errors, "error", "errors"),
        count(warnings, "warning", "warnings"),
        count(down, "server not up", "servers not up"),
    ];
    let mut line = PaintedLine::of(paint(level), mark(level, look));
    line.push(
        if level == FindingLevel::Error { Paint::Bad } else { Paint::Plain },
        format!(" {}", counts.join(", ")),
    );
    line.text(look.colour)
}

fn row(finding: &Finding, look: ListingStyle) -> Vec<PaintedLine> {
    let mut head = PaintedLine::of(paint(finding.level), mark(finding.level, look));
    head.push(Paint::Plain, format!(" {:TOPIC$}", finding.topic.as_str()));
    let mut lines = wrapped(head, &finding.what, look.width);
    let below = [("why", &finding.why), ("do", &finding.remedy)];
    for (word, text) in below.into_iter().filter_map(|(word, text)| Some((word, text.as_ref()?))) {
        let mut head = PaintedLine::of(Paint::Plain, " ".repeat(TOPIC + 2));
        head.push(Paint::Dim, format!("{word:6}"));
        lines.extend(wrapped(head, text, look.width));
    }
    lines
}

fn mark(level: FindingLevel, look: ListingStyle) -> &'static str {
    match (level, look.utf8) {
        (FindingLevel::Ok, true) => "●",
        (FindingLevel::Ok, false) => "+",
        (FindingLevel::Note, true) => "○",
        (FindingLevel::Note, false) => "-",
        (FindingLevel::Warning, true) => "▲",
        (FindingLevel::Warning, false) => "!",
        (FindingLevel::Error, true) => "✖",
        (FindingLevel::Error, false) => "x",
    }
}

fn paint(level: FindingLevel) -> Paint {
    match level {
        FindingLevel::Ok => Paint::Good,
        FindingLevel::Note => Paint::Dim,
        FindingLevel::Warning => Paint::Warning,
        FindingLevel::Error => Paint::Bad,
    }
}

fn text(lines: &[PaintedLine], look: ListingStyle) -> String {
    let lines: Vec<String> = lines.iter().map(|line| line.text(look.colour)).collect();
    lines.join("\n")
}
