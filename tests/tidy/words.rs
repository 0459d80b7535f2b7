//! Plain words in comments, string literals and documents, and the width of comments.
//!
//! The words of [`RULES`] make readers stop. A text that must keep such a word, because the original or a third party
//! writes it, has the mark [`ORIGINAL`] on its line or on the line before. In Markdown the mark is [`QUOTED`].

use std::fs;
use std::path::{Path, PathBuf};

use crate::{root, rust_files, texts};

/// Words to avoid in lower case, longer phrases in which they are right, and what to write instead. In a phrase, `"`
/// is a quotation mark, or the begin or end of a string literal.
type Rule = (&'static str, &'static [&'static str], &'static str);

const RULES: &[Rule] = &[
    // A literal that is only this word is a value, such as a user of Debian.
    (
        "nobody",
        &["\" nobody \"", "read by nobody", "given to nobody", "su nobody"],
        "\"no server\", \"no process\", \"no operator\"",
    ),
    ("somebody", &[], "the actor: the operator, another program, the kernel"),
    ("whoever", &[], "the actor: the operator, the process that …"),
    ("one that", &[], "the noun again: \"a server that\""),
    ("so many", &[], "\"N\", \"at most N\" or \"number of\""),
    ("anew", &[], "\"again\""),
    ("mend", &[], "\"fix\""),
    ("mends", &[], "\"fixes\""),
    ("mended", &[], "\"fixed\""),
    ("take up", &["take up to"], "\"apply\""),
    ("takes up", &["takes up to"], "\"applies\""),
    ("taken up", &["taken up to"], "\"applied\""),
    ("is no", &["is no longer", "there is no"], "\"is not a\""),
    ("stands", &[], "\"is\""),
    ("stand behind", &[], "\"follow\", or what the server does"),
    ("parcel", &[], "\"message\""),
    ("parcels", &[], "\"messages\""),
    ("dead", &["dead man", "\" dead \""], "\"down\" or \"failed\""),
    ("alive", &["\" alive \""], "\"up\" or \"running\""),
    ("calm", &[], "\"quiet\", \"unchanged\""),
    ("farewell", &[], "\"the end of the session\""),
    ("goes with", &[], "\"requires\" or \"belongs to\""),
];

/// The mark of Rust code for a line that must keep its words.
const ORIGINAL: &str = "// The original's words.";

/// The mark of Markdown for a line that must keep its words.
const QUOTED: &str = "<!-- words: quoted -->";

/// Folders of Rust code.
const SOURCES: &[&str] = &["src", "tests", "examples", "benches", "ipvs-rs/src", "perl-pattern/src"];

/// Documents outside `docs`.
const PAGES: &[&str] = &["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

/// The longest line with a comment, in characters.
const WIDEST_COMMENT: usize = 120;

/// Separates phrases in a list of words.
const BREAK: &str = ".";

/// A line of text and its number in the file.
type Line = (usize, String);

/// A word in lower case and its line.
type Word = (usize, String);

/// A comment or a string literal. Adjacent lines of `//` are one comment.
struct Text {
    is_comment: bool,
    lines: Vec<Line>,
}

impl Text {
    fn new(is_comment: bool, line: usize, text: &str) -> Text {
        let lines = text.split('\n').enumerate().map(|(below, text)| (line + below, text.to_owned()));
        Text { is_comment, lines: lines.collect() }
    }
}

/// The part of a source that is not scanned yet, and the number of its first line.
struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Scanner<'a> {
    /// Takes the next `length` bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Takes all characters before `end`, and drops `end`.
    fn take_before(&mut self, end: &str) -> &'a str {
        let all = self.rest.len();
        let length = self.rest.find(end);
        let taken = self.take(length.unwrap_or(all));
        self.take(length.map_or(0, |_| end.len()));
        taken
    }

    /// Takes a string literal after its opening quote. An escape sequence becomes a blank, an escaped quote stays.
    fn take_string(&mut self) -> String {
        let mut text = String::new();
        loop {
            let length = self.rest.find(['"', '\\']).unwrap_or(self.rest.len());
            text.push_str(self.take(length));
            if !self.rest.starts_with('\\') {
                self.take(usize::from(!self.rest.is_empty()));
                return text;
            }
            let length: usize = self.rest.chars().take(2).map(char::len_utf8).sum();
            match self.take(length) {
                "\\\"" => text.push('"'),
                "\\\n" => text.push('\n'),
                _ => text.push(' '),
            }
        }
    }

    /// Takes a comment between `/*` and `*/`, which may contain others.
    fn take_block_comment(&mut self) -> &'a str {
        let begin = self.rest;
        let mut depth = 0_usize;
        loop {
            let length = match (self.rest.find("/*"), self.rest.find("*/")) {
                (Some(open), Some(close)) if open < close => {
                    depth += 1;
                    open + 2
                }
                (_, Some(close)) => {
                    depth -= 1;
                    close + 2
                }
                (_, None) => self.rest.len(),
            };
            self.take(length);
            if depth == 0 || self.rest.is_empty() {
                return &begin[..begin.len() - self.rest.len()];
            }
        }
    }

    /// Takes a character literal, or the quote of a lifetime.
    fn take_character(&mut self) {
        let mut next = self.rest.chars().skip(1);
        match (next.next(), next.next()) {
            (Some('\\'), Some(escaped)) => {
                self.take(2 + escaped.len_utf8());
                self.take_before("'");
            }
            (Some(character), Some('\'')) => {
                self.take(2 + character.len_utf8());
            }
            _ => {
                self.take(1);
            }
        }
    }
}

/// The comments and string literals of a Rust source.
fn texts_of(source: &str) -> Vec<Text> {
    let mut scanner = Scanner { rest: source, line: 1 };
    let mut found: Vec<Text> = Vec::new();
    // Whether only blanks follow the last comment so far.
    let mut continues = false;
    while let Some(first) = scanner.rest.chars().next() {
        let line = scanner.line;
        let is_blank = first.is_whitespace();
        if scanner.rest.starts_with("//") {
            let length = scanner.rest.find('\n').unwrap_or(scanner.rest.len());
            let text = scanner.take(length).trim_start_matches(['/', '!']);
            match found.last_mut().filter(|_| continues) {
                Some(comment) => comment.lines.push((line, text.to_owned())),
                None => found.push(Text::new(true, line, text)),
            }
            continues = true;
            continue;
        }
        continues &= is_blank;
        if scanner.rest.starts_with("/*") {
            let text = scanner.take_block_comment();
            found.push(Text::new(true, line, text));
        } else if first == '"' {
            scanner.take(1);
            let text = scanner.take_string();
            found.push(Text::new(false, line, &text));
        } else if first == '\'' {
            scanner.take_character();
        } else if first.is_alphanumeric() || first == '_' {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let length = scanner.rest.find(|c: char| !is_part(c)).unwrap_or(scanner.rest.len());
            let name = scanner.take(length);
            let hashes = scanner.rest.len() - scanner.rest.trim_start_matches('#').len();
            if ["r", "br", "cr"].contains(&name) && scanner.rest[hashes..].starts_with('"') {
                scanner.take(hashes + 1);
                let text = scanner.take_before(&format!("\"{}", "#".repeat(hashes)));
                found.push(Text::new(false, line, text));
            }
        } else {
            scanner.take(first.len_utf8());
        }
    }
    found
}

/// Adds the words of a line. Punctuation between phrases becomes [`BREAK`]. A path, an address or a name with
/// punctuation in it, such as `keep-alive` and `dead_time`, is one word.
fn split(line: usize, text: &str, words: &mut Vec<Word>) {
    let mut push = |word: &str| words.push((line, word.to_owned()));
    let mut word = String::new();
    for c in text.to_lowercase().chars().chain([' ']) {
        if !c.is_whitespace() && !"\"'’“”,;()[]<>|*!?…—–`".contains(c) {
            word.push(c);
            continue;
        }
        let bare = word.trim_end_matches(['.', ':']);
        if !bare.is_empty() {
            push(bare);
        }
        if bare.len() < word.len() {
            push(BREAK);
        }
        word.clear();
        match c {
            '"' | '“' | '”' => push("\""),
            '\'' | '’' => {}
            _ if c.is_whitespace() => {}
            _ => push(BREAK),
        }
    }
}

/// The words of Markdown outside code.
fn words_of_markdown(lines: &[Line]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut fence: Option<&str> = None;
    // The number of backticks that began the code around the present place.
    let mut open = 0;
    for (line, text) in lines {
        let trimmed = text.trim_start();
        if let Some(mark) = fence {
            if trimmed.starts_with(mark) {
                fence = None;
            }
            continue;
        }
        fence = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        if fence.is_some() || trimmed.is_empty() {
            open = 0;
            words.push((*line, BREAK.to_owned()));
            continue;
        }
        let mut rest = text.as_str();
        while let Some(at) = rest.find('`') {
            let (before, after) = rest.split_at(at);
            let ticks = after.len() - after.trim_start_matches('`').len();
            if open == 0 {
                split(*line, before, &mut words);
                words.push((*line, BREAK.to_owned()));
                open = ticks;
            } else if open == ticks {
                open = 0;
            }
            rest = &after[ticks..];
        }
        if open == 0 {
            split(*line, rest, &mut words);
        }
    }
    words
}

/// The words of the comments and string literals of a Rust source.
fn words_of_rust(source: &str) -> Vec<Word> {
    let mut words = Vec::new();
    for Text { is_comment, lines } in texts_of(source) {
        let first = lines.first().map_or(0, |(line, _)| *line);
        if is_comment {
            words.extend(words_of_markdown(&lines));
        } else {
            words.push((first, "\"".to_owned()));
            for (line, text) in &lines {
                split(*line, text, &mut words);
            }
            words.push((first, "\"".to_owned()));
        }
        words.push((first, BREAK.to_owned()));
    }
    words
}

/// Whether a phrase begins at this word.
fn begins_at(words: &[Word], at: usize, phrase: &str) -> bool {
    let mut words = words[at..].iter().map(|(_, word)| word.as_str());
    phrase.split(' ').all(|word| words.next() == Some(word))
}

/// The line and the rule of each word to avoid, except on lines that carry the mark or follow it.
fn find(text: &str, words: &[Word], mark: &str) -> Vec<(usize, Rule)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_marked = |line: usize| {
        lines
            .get(line.saturating_sub(2)..line)
            .is_some_and(|above| above.iter().any(|line| line.contains(mark)))
    };
    let mut found = Vec::new();
    for (at, (line, _)) in words.iter().enumerate() {
        for rule in RULES.iter().filter(|(avoided, ..)| begins_at(words, at, avoided)) {
            let is_part = |phrase: &&str| {
                let before = phrase.split(' ').count() - 1;
                (at.saturating_sub(before)..=at).any(|start| begins_at(words, start, phrase))
            };
            if !rule.1.iter().any(is_part) && !is_marked(*line) {
                found.push((*line, *rule));
            }
        }
    }
    found
}

/// What is wrong with the words of a Rust source.
fn find_in_rust(source: &str) -> Vec<(usize, Rule)> {
    find(source, &words_of_rust(source), ORIGINAL)
}

/// What is wrong with the words of a document.
fn find_in_markdown(text: &str) -> Vec<(usize, Rule)> {
    let lines: Vec<Line> = (1..).zip(text.lines().map(str::to_owned)).collect();
    find(text, &words_of_markdown(&lines), QUOTED)
}

/// The numbers of the lines that have a comment and are too long.
fn wide_comments(source: &str) -> Vec<usize> {
    let comments = texts_of(source).into_iter().filter(|text| text.is_comment);
    let numbers = comments.flat_map(|text| text.lines).map(|(line, _)| line);
    let lines: Vec<&str> = source.lines().collect();
    // The row of a table cannot be broken.
    let is_row = |text: &str| text.trim_start().trim_start_matches(['/', '!']).trim_start().starts_with('|');
    let is_wide = |line: &usize| {
        lines.get(line - 1).is_some_and(|text| text.chars().count() > WIDEST_COMMENT && !is_row(text))
    };
    numbers.filter(is_wide).collect()
}

/// The Rust files of the repository, each with its text.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let paths = SOURCES.iter().flat_map(|folder| rust_files(&root().join(folder)));
    paths.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// The documents of the repository, each with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let is_document = |path: &Path| path.extension().is_some_and(|extension| extension == "md");
    let docs = texts(&root().join("docs")).into_iter().filter(|(path, _)| is_document(path));
    let pages = PAGES.iter().map(|name| root().join(name)).filter(|path| path.is_file());
    docs.chain(pages.map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))).collect()
}

/// A path as messages show it.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn texts_use_plain_words() {
    let mut wrong = Vec::new();
    let mut report = |path: &Path, found: Vec<(usize, Rule)>| {
        let path = shown(path);
        let lines = found
            .iter()
            .map(|(line, (word, _, instead))| format!("{path}:{line}: \"{word}\": write {instead}"));
        wrong.extend(lines);
    };
    // This file has to name the words.
    for (path, text) in sources().iter().filter(|(path, _)| !path.ends_with("tests/tidy/words.rs")) {
        report(path, find_in_rust(text));
    }
    for (path, text) in &documents() {
        report(path, find_in_markdown(text));
    }
    assert!(wrong.is_empty(), "{} lines with words to avoid:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn comments_are_not_too_wide() {
    let mut wrong = Vec::new();
    for (path, text) in &sources() {
        let lines = wide_comments(text);
        wrong.extend(
            lines
                .iter()
                .map(|line| format!("{}:{line}: a comment over {WIDEST_COMMENT} characters", shown(path))),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_in_comments_and_literals_are_found() {
    let found = |source: &str| -> Vec<(usize, &'static str)> {
        find_in_rust(source).into_iter().map(|(line, (words, ..))| (line, words)).collect()
    };
    for (source, expected) in [
        ("// Nobody knows.", (1, "nobody")),
        ("let x = 1; // somebody's", (1, "somebody")),
        ("\n/// An item that is no\n/// file.", (2, "is no")),
        ("/// This is\n/// no file.", (1, "is no")),
        ("//! Tells whoever asks:", (1, "whoever")),
        ("/* a /* b */\n dead */ fn f() {}", (2, "dead")),
        ("f(\"one that fails\");", (1, "one that")),
        ("f(\"a\\\n   anew\");", (2, "anew")),
        ("f(\"x\\n\\talive\");", (1, "alive")),
        ("f(b\"it stands\");", (1, "stands")),
        ("f(r#\"a \"quoted\" parcel\"#);", (1, "parcel")),
        ("f(r\"\\\"); g(\"calm\");", (1, "calm")),
        ("f('\"'); g(\"mended\");", (1, "mended")),
        ("f('\\''); g(\"mend\");", (1, "mend")),
        ("fn f<'a>(a: &'a str) { g(\"so many\") }", (1, "so many")),
        ("f(\"http://x\"); // It goes with y.", (1, "goes with")),
        ("f(\"taken up\"); // taken up to here", (1, "taken up")),
        ("f(r#type, \"farewell\");", (1, "farewell")),
    ] {
        assert_eq!(found(source), [expected], "{source}");
    }
    assert_eq!(found("// dead\n// alive\nf(\"is dead\", \"is alive\");").len(), 4);
}

#[test]
fn code_and_exceptions_are_not_found() {
    for source in [
        "let dead = alive(nobody);",
        "fn anew<'dead>(calm: &'dead str) {}",
        "let stands = 'd'; let is = no!();",
        "// It is no longer there, and there is no other.",
        "/// There is\n/// no file, and it is\n/// no longer needed.",
        "// What it is. No file.",
        "f(\"what it is\", \"no file\");",
        "// one\nlet x = 1;\n// that",
        "// keepalive, keep-alive, deadline, a dead man's switch, `dead`, understands, standstill",
        "/// ```\n/// let dead = 1;\n/// ```",
        "f(\"GET /alive.html HTTP/1.1\");",
        "f(\"{dead} of {alive}\"); f(Some(\"dead\"), \"alive\");",
        "f(\"USER\", \"nobody\"); g(\"a.cf cannot be read by nobody\"); h(\"the user \\\"nobody\\\"\");",
        "// It may take up to 10 s.",
        "f(\"all dead\"); // The original's words.",
        "// The original's words.\nf(\"all dead\");",
    ] {
        let found: Vec<_> =
            find_in_rust(source).into_iter().map(|(line, (words, ..))| (line, words)).collect();
        assert!(found.is_empty(), "{source}: {found:?}");
    }
    assert_eq!(find_in_rust("// The original's words.\nf();\nf(\"all dead\");").len(), 1);
}

#[test]
fn words_of_documents_are_found() {
    let found = |text: &str| find_in_markdown(text).len();
    assert_eq!(found("A server is\nno good.\n\n- alive, `dead`, \"calm\"\n"), 3);
    assert_eq!(found("```\nnobody\n```\n\n`so\nmany`, ``a ` dead``\n\nThere is no\nother.\n"), 0);
    assert_eq!(found("<!-- words: quoted -->\n| all dead |\n"), 0);
    assert_eq!(found("An open ` tick\n\nends: dead\n"), 1);
}

#[test]
fn wide_comments_are_found() {
    let wide = "ü".repeat(118);
    assert_eq!(wide_comments(&format!("//{wide}\n// {wide}\nlet x = \"{wide}\";\nf(); // {wide}")), [2, 4]);
}
