//! Differences from the original: `docs/compat.md` lists each with an id, and a test names the id.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::{root, texts};

/// The folders whose tests may name an id.
const FOLDERS: &[&str] = &["src", "examples", "ipvs-rs", "perl-pattern", "tests"];

/// The ids of the differences that `docs/compat.md` lists, in the first column of its tables.
fn differences() -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/compat.md")).unwrap();
    let mut ids = Vec::new();
    for cell in text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()) {
        ids.extend(cell.split(", ").filter(|id| is_id(id)).map(ToOwned::to_owned));
    }
    ids
}

fn is_id(word: &str) -> bool {
    let number = |rest: &str| rest.len() == 2 && rest.bytes().all(|byte| byte.is_ascii_digit());
    word.starts_with("P-") || word.strip_prefix(['B', 'L', 'P', 'R']).is_some_and(number)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '-')
}

/// The test functions of a source, each with its doc comment, its attributes and its body. The layout is that of `rustfmt`, so a
/// function ends at the brace with its own indentation. Functions in `proptest!` count, too.
fn test_functions(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_test = |line: &str| {
        let line = line.trim_start();
        line == "#[test]" || line == "#[tokio::test]" || line.starts_with("#[tokio::test(")
    };
    let belongs = |line: &&str| line.trim_start().starts_with("///") || line.trim_start().starts_with("#[");
    let mut found = Vec::new();
    for at in (0..lines.len()).filter(|at| is_test(lines[*at])) {
        let indentation = &lines[at][..lines[at].len() - lines[at].trim_start().len()];
        let end = format!("{indentation}}}");
        let above = lines[..at].iter().rev().take_while(|line| belongs(line)).count();
        let below = lines[at..].iter().take_while(|line| !line.starts_with(&end)).count();
        found.push(lines[at - above..at + below].join("\n"));
    }
    found
}

/// The parts of a file that name the differences which its tests prove: test functions of Rust, and of files that tests read only the
/// lines that name a difference. A comment elsewhere gives a reason and proves nothing.
fn proofs(path: &Path, text: &str) -> Vec<String> {
    let lines =
        |keep: &dyn Fn(&str) -> bool| text.lines().filter(|line| keep(line)).map(str::to_owned).collect();
    let is_below = |folder: &str| path.to_string_lossy().contains(folder);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => test_functions(text),
        Some("md") => Vec::new(),
        // `id ID… REASON`
        _ if is_below("tests/compat/scenarios/") => lines(&|line| line.starts_with("id ")),
        // `> PHASE OUTCOME ID…: REASON`
        _ if is_below("tests/peers/verdicts/") => lines(&|line| line.starts_with("> ")),
        // `PATTERN TEXT ANSWER ID`
        _ if is_below("perl-pattern/tests/") => lines(&|line| !line.starts_with("# ")),
        // Cases and scripts: the whole file is a test.
        _ if is_below("tests/") => vec![text.to_owned()],
        _ => Vec::new(),
    }
}

fn ids_in(path: &Path, text: &str) -> Vec<String> {
    let proofs = proofs(path, text);
    proofs.iter().flat_map(|proof| words(proof)).filter(|word| is_id(word)).map(ToOwned::to_owned).collect()
}

#[test]
fn only_a_test_proves_a_difference() {
    let program = r#"//! B01
fn f() {} // B02

#[cfg(test)]
mod tests {
    // B03: a comment of the module
    /// B04
    #[test]
    fn one() {
        // B05
    }

    /// B06: a helper
    fn helper() {}

    proptest! {
        #[test]
        fn property(x in 0..9) {
            assert!(x < 9, "B07");
        }
    }

    #[tokio::test(start_paused = true)]
    #[ignore = "B08"]
    async fn two() {
        if true {
            f(); // B09
        }
    }
}
"#;
    let ids = |path: &str, text: &str| ids_in(Path::new(path), text);
    assert_eq!(ids("src/one.rs", program), ["B04", "B05", "B07", "B08", "B09"]);
    assert_eq!(ids("tests/it/one.rs", program), ["B04", "B05", "B07", "B08", "B09"]);
    assert_eq!(ids("src/data.txt", "B10"), [""; 0]);
    assert_eq!(ids("tests/peers/verdicts/README.md", "B11"), [""; 0]);
    assert_eq!(ids("tests/compat/scenarios/a.scenario", "# B12\nid B13 B14 reason\n"), ["B13", "B14"]);
    assert_eq!(ids("tests/peers/verdicts/a.txt", "# B15\n> up down B16: reason\n"), ["B16"]);
    assert_eq!(ids("perl-pattern/tests/pairs.txt", "# P-one\na\tb\trefused\tP-two\n"), ["P-two"]);
    assert_eq!(ids("tests/data/steps/a.steps", "# B17\n"), ["B17"]);
}

#[test]
fn every_difference_is_named_by_a_test() {
    let files = FOLDERS.iter().flat_map(|folder| texts(&root().join(folder)));
    // This file names ids that do not exist.
    let files = files.filter(|(path, _)| !path.ends_with("tests/tidy/differences.rs"));
    let named: BTreeSet<String> = files.flat_map(|(path, text)| ids_in(&path, &text)).collect();
    let ids = differences();
    assert!(ids.len() > 30, "{ids:?}");
    let unnamed: Vec<_> = ids.iter().filter(|id| !named.contains(*id)).collect();
    assert!(unnamed.is_empty(), "docs/compat.md lists differences that no test names: {unnamed:?}");
}

#[test]
fn every_difference_of_a_verdict_has_an_entry() {
    let ids = differences();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, text) in texts(&root().join("tests/peers/verdicts")) {
        for (number, line) in (1..).zip(text.lines()) {
            // `> PHASE OUTCOME ID…: REASON`
            let Some((head, _)) = line.strip_prefix("> ").and_then(|line| line.split_once(": ")) else {
                continue;
            };
            count += 1;
            if !head.split(' ').skip(2).all(|id| ids.iter().any(|known| known == id)) {
                wrong.push(format!("{}:{number}: {line}", path.display()));
            }
        }
    }
    assert!(count > 200, "{count} verdicts");
    assert!(wrong.is_empty(), "not in docs/compat.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_difference_of_a_scenario_has_an_entry() {
    let ids = differences();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, text) in texts(&root().join("tests/compat/scenarios")) {
        for (number, line) in (1..).zip(text.lines()) {
            let Some(reason) = line.strip_prefix("id ") else { continue };
            count += 1;
            let mut named = words(reason).filter(|word| is_id(word)).peekable();
            if named.peek().is_none() || !named.all(|id| ids.iter().any(|known| known == id)) {
                wrong.push(format!("{}:{number}: {line}", path.display()));
            }
        }
    }
    assert!(count > 0, "no scenario differs");
    assert!(wrong.is_empty(), "not in docs/compat.md:\n{}", wrong.join("\n"));
}
