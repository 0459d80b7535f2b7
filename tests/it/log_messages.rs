//! `docs/log-messages.md`: the list of all log messages.

use std::fs;
use std::path::Path;

/// A shorter beginning does not identify a message.
const SHORTEST: usize = 12;

/// The page has the beginning of each message of the daemon, up to its first placeholder.
#[test]
fn each_log_message_is_in_the_manual() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/log-messages.md")).unwrap();
    let mut beginnings = Vec::new();
    for folder in ["src/daemon", "src/notify", "src/http"] {
        collect(&root.join(folder), &mut beginnings);
    }
    assert!(beginnings.len() >= 30, "only {} messages found", beginnings.len());
    beginnings.retain(|beginning| !page.contains(beginning.as_str()));
    assert!(beginnings.is_empty(), "not in docs/log-messages.md: {beginnings:#?}");
}

/// Adds the beginnings of the messages in all sources of a folder.
fn collect(folder: &Path, beginnings: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, beginnings);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for call in ["info!(", "warn!(", "error!("] {
            let literals = source.split(call).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
            beginnings.extend(literals.map(beginning).filter(|text| text.len() >= SHORTEST));
        }
    }
}

/// The text of a string literal, without its first quote, up to its first placeholder or its end.
fn beginning(literal: &str) -> String {
    let mut text = String::new();
    let mut rest = literal.chars();
    while let Some(sign) = rest.next() {
        match sign {
            '"' | '{' => break,
            '\\' => match rest.next() {
                // The literal continues after the indentation of the next line.
                Some('\n') => rest = rest.as_str().trim_start().chars(),
                Some(escaped) => text.push(escaped),
                None => break,
            },
            _ => text.push(sign),
        }
    }
    text
}
