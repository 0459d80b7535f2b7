//! The corpus in `tests/data/corpus`: small configurations, and how the original reads each.
//!
//! A case begins with `=== name`. Then come the lines of its configuration: `|` before a line, `-` before a last line
//! without its newline. In them `\t`, `\r`, `\\` and `\xHH` are bytes, and `\{N:c}` is N times c. The recording
//! follows: `original accepted` and what the original understood, or `original refused LINE: message`. Where ours
//! differs on purpose, the same follows for `ours`, and `id NAME` names the entry of `docs/compat.md` with the
//! reason.

#![allow(dead_code, reason = "each of its users needs a part")]

use std::fmt::Write as _;

/// One configuration.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub text: Vec<u8>,
    /// The lines recorded from the original.
    pub original: Vec<String>,
    /// Ours, where it differs.
    pub ours: Vec<String>,
    /// The reason for a difference.
    pub id: Option<String>,
    /// The lines of its text and its comments as in the file.
    written: Vec<String>,
}

/// A file: its first lines, and its cases.
#[derive(Debug, Default)]
pub struct File {
    head: Vec<String>,
    pub cases: Vec<Case>,
}

impl File {
    pub fn parse(text: &str) -> File {
        let mut file = File::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix("=== ") {
                file.cases.push(Case::new(name));
            } else if let Some(case) = file.cases.last_mut() {
                case.line(line);
            } else {
                file.head.push(line.to_owned());
            }
        }
        file
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut out = self.head.join("\n");
        out.push('\n');
        for case in &self.cases {
            let _ = write!(out, "\n=== {}\n", case.name);
            for line in case.written.iter().chain(&case.original) {
                let _ = writeln!(out, "{line}");
            }
            if let Some(id) = &case.id {
                for line in &case.ours {
                    let _ = writeln!(out, "{line}");
                }
                let _ = writeln!(out, "id {id}");
            }
        }
        out
    }
}

impl Case {
    fn new(name: &str) -> Case {
        let nothing = Vec::new();
        Case {
            name: name.to_owned(),
            text: Vec::new(),
            original: Vec::new(),
            ours: nothing,
            id: None,
            written: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(text) = line.strip_prefix('|') {
            self.text.extend(unescape(text));
            self.text.push(b'\n');
            self.written.push(line.to_owned());
        } else if let Some(text) = line.strip_prefix('-') {
            self.text.extend(unescape(text));
            self.written.push(line.to_owned());
        } else if line.starts_with('#') {
            self.written.push(line.to_owned());
        } else if let Some(id) = line.strip_prefix("id ") {
            self.id = Some(id.to_owned());
        } else if line.starts_with("ours ") || !self.ours.is_empty() {
            self.ours.push(line.to_owned());
        } else {
            self.original.push(line.to_owned());
        }
    }
}

/// The bytes of a written line.
fn unescape(written: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let (kind, tail) = after.split_at(1);
        rest = match kind {
            "t" | "r" | "\\" => {
                bytes.push(match kind {
                    "t" => b'\t',
                    "r" => b'\r',
                    _ => b'\\',
                });
                tail
            }
            "x" => {
                bytes.push(u8::from_str_radix(&tail[..2], 16).unwrap_or_else(|_| panic!("{written}")));
                &tail[2..]
            }
            "{" => {
                let (run, tail) = tail.split_once('}').unwrap_or_else(|| panic!("{written}"));
                let (count, sign) = run.split_once(':').unwrap_or_else(|| panic!("{written}"));
                bytes.extend(sign.repeat(count.parse().unwrap_or_else(|_| panic!("{written}"))).bytes());
                tail
            }
            _ => panic!("an unknown escape in {written}"),
        };
    }
    bytes.extend(rest.bytes());
    bytes
}

/// Escapes bytes outside printable ASCII, the backslash and the double quote. Long runs are written once.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => _ = write!(out, "\\x{byte:02x}"),
            0x20..0x7f => out.push(char::from(byte)),
            _ => _ = write!(out, "\\x{byte:02x}"),
        }
    }
    out.push('"');
    short(&out)
}

/// A character that repeats 80 times or more is written once.
pub fn short(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(sign) = rest.chars().next() {
        let tail = rest.trim_start_matches(sign);
        let run = &rest[..rest.len() - tail.len()];
        if run.len() >= 80 && sign.is_ascii() && sign != '\\' {
            let _ = write!(out, "\\{{{}:{sign}}}", run.len());
        } else {
            out.push_str(run);
        }
        rest = tail;
    }
    out
}
