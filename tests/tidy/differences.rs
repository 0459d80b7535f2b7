//! Differences from the original: `docs/compat.md` has a section for each with an id, and a test names the id.
//! `UPDATE_GOLDEN=1 cargo test tidy` writes the indices of the page again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{root, texts};

/// The folders whose tests may name an id.
const FOLDERS: &[&str] = &["src", "examples", "ipvs-rs", "perl-pattern", "tests"];

/// The labelled lines of a section in their order, and those that may be left out.
const LABELS: [&str; 8] =
    ["Original", "ldirectord-rs", "Why", "Old behaviour", "Directives", "Settings", "Commands", "Tests"];
const OPTIONAL: [&str; 3] = ["Directives", "Settings", "Commands"];

/// The section of one difference.
struct Section {
    /// The heading of level 2 above it.
    topic: String,
    /// The id, a space and the title.
    heading: String,
    /// Labels and texts.
    lines: Vec<(String, String)>,
}

impl Section {
    fn id(&self) -> &str {
        self.heading.split(' ').next().unwrap_or_default()
    }

    /// The texts between backticks in the line with this label.
    fn quoted(&self, label: &str) -> Vec<&str> {
        let lines = self.lines.iter().filter(|(found, _)| found == label);
        lines.flat_map(|(_, text)| text.split('`').skip(1).step_by(2)).collect()
    }

    /// The target of a link to the section, as GitHub makes it from the heading.
    fn anchor(&self) -> String {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        self.heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    }
}

fn page() -> PathBuf {
    root().join("docs/compat.md")
}

/// The sections of the page. A line `- *Label*: text` may continue in lines that are indented. Other text in a
/// section has an empty label.
fn sections(page: &str) -> Vec<Section> {
    let mut topic = String::new();
    let mut inside = false;
    let mut sections: Vec<Section> = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut topic);
            inside = false;
        } else if let Some(heading) = line.strip_prefix("### ") {
            sections.push(Section { topic: topic.clone(), heading: heading.to_owned(), lines: Vec::new() });
            inside = true;
        } else if inside && !line.is_empty() {
            let lines = &mut sections.last_mut().unwrap().lines;
            if let Some((label, text)) = line.strip_prefix("- *").and_then(|rest| rest.split_once("*: ")) {
                lines.push((label.to_owned(), text.to_owned()));
            } else if line.starts_with("  ")
                && let Some((_, text)) = lines.last_mut()
            {
                text.push(' ');
                text.push_str(line.trim());
            } else {
                lines.push((String::new(), line.to_owned()));
            }
        }
    }
    sections
}

/// The ids of the differences that `docs/compat.md` has sections for.
fn differences() -> Vec<String> {
    let text = fs::read_to_string(page()).unwrap();
    sections(&text).iter().map(|section| section.id().to_owned()).collect()
}

/// The sections in the order of their ids, each as a link with its heading.
fn index_by_id(sections: &[Section]) -> String {
    let mut lines: Vec<String> =
        sections.iter().map(|section| format!("- [{}](#{})\n", section.heading, section.anchor())).collect();
    lines.sort();
    format!("\n{}\n", lines.concat())
}

/// The directives, the settings and the commands that the sections name, each with links to its sections in the order
/// of their ids.
fn index_by_name(sections: &[Section]) -> String {
    let mut index = String::new();
    for label in OPTIONAL {
        let mut names: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for section in sections {
            let link = format!("[{}](#{})", section.id(), section.anchor());
            for name in section.quoted(label) {
                names.entry(name).or_default().insert(section.id(), link.clone());
            }
        }
        index.push_str(&format!("\n**{label}**\n\n"));
        for (name, links) in names {
            let links: Vec<String> = links.into_values().collect();
            index.push_str(&format!("- `{name}`: {}\n", links.join(", ")));
        }
    }
    index.push('\n');
    index
}

/// The page with this index between the marker comments of this name.
fn with_index(page: &str, name: &str, index: &str) -> String {
    let begin = format!("<!-- {name} -->\n");
    let end = "<!-- end -->";
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("no {end} after {begin}"));
    format!("{before}{begin}{index}{end}{after}")
}

fn is_id(word: &str) -> bool {
    let number = |rest: &str| rest.len() == 2 && rest.bytes().all(|byte| byte.is_ascii_digit());
    word.starts_with("P-") || word.strip_prefix(['B', 'L', 'P', 'R']).is_some_and(number)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '-')
}

/// The test functions of a source, each with its doc comment, its attributes and its body. The layout is that of
/// `rustfmt`, so a function ends at the brace with its own indentation. Functions in `proptest!` count, too.
pub(crate) fn test_functions(text: &str) -> Vec<String> {
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

/// The parts of a file that name the differences which its tests prove: test functions of Rust, and of files that
/// tests read only the lines that name a difference. A comment elsewhere gives a reason and proves nothing.
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
        _ if is_below("tests/real_servers/verdicts/") => lines(&|line| line.starts_with("> ")),
        // `PATTERN TEXT ANSWER ID`
        _ if is_below("perl-pattern/tests/") => lines(&|line| !line.starts_with("# ")),
        // Cases and scripts: the whole file is a test.
        _ if is_below("tests/") => vec![text.to_owned()],
        _ => Vec::new(),
    }
}

/// The name of a test function, from its source with doc comment and attributes.
pub(crate) fn function_name(proof: &str) -> Option<&str> {
    let is_code = |line: &&str| !line.starts_with("//") && !line.starts_with("#[");
    let code = proof.lines().map(str::trim_start).find(is_code)?;
    let (_, rest) = code.split_once("fn ")?;
    rest.split(['(', '<']).next()
}

/// The name of a file that tests read: its last directory and its own name.
fn file_name(path: &Path) -> String {
    let parts: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

/// The ids that tests of this file name, each with the name of the test.
fn named_in(path: &Path, text: &str) -> BTreeSet<(String, String)> {
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let mut named = BTreeSet::new();
    for proof in proofs(path, text) {
        let name =
            if is_rust { function_name(&proof).unwrap_or_default().to_owned() } else { file_name(path) };
        for id in words(&proof).filter(|word| is_id(word)) {
            named.insert((id.to_owned(), name.clone()));
        }
    }
    named
}

/// The files whose tests may name an id.
fn files() -> impl Iterator<Item = (PathBuf, String)> {
    let files = FOLDERS.iter().flat_map(|folder| texts(&root().join(folder)));
    // This file names ids that do not exist.
    files.filter(|(path, _)| !path.ends_with("tests/tidy/differences.rs"))
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
    assert_eq!(ids("tests/real_servers/verdicts/README.md", "B11"), [""; 0]);
    assert_eq!(ids("tests/compat/scenarios/a.scenario", "# B12\nid B13 B14 reason\n"), ["B13", "B14"]);
    assert_eq!(ids("tests/real_servers/verdicts/a.txt", "# B15\n> up down B16: reason\n"), ["B16"]);
    assert_eq!(ids("perl-pattern/tests/pairs.txt", "# P-one\na\tb\trefused\tP-two\n"), ["P-two"]);
    assert_eq!(ids("tests/data/steps/a.steps", "# B17\n"), ["B17"]);
}

#[test]
fn every_difference_is_named_by_a_test() {
    let named: BTreeSet<String> = files().flat_map(|(path, text)| ids_in(&path, &text)).collect();
    let ids = differences();
    assert!(ids.len() > 30, "{ids:?}");
    let unnamed: Vec<_> = ids.iter().filter(|id| !named.contains(*id)).collect();
    assert!(unnamed.is_empty(), "docs/compat.md lists differences that no test names: {unnamed:?}");
}

#[test]
fn each_section_of_a_difference_is_complete() {
    let text = fs::read_to_string(page()).unwrap();
    let directives = fs::read_to_string(root().join("src/config/directive/table.rs")).unwrap();
    let settings = fs::read_to_string(root().join("etc/ldirectord-rs.toml")).unwrap();
    let is_setting = |name: &str| {
        name.split_once(' ').is_some_and(|(section, key)| {
            let after = settings.split_once(&format!("\n{section}\n"));
            let keys = after.and_then(|(_, after)| after.split("\n[").next());
            keys.is_some_and(|keys| keys.contains(&format!("\n#{key} = ")))
        })
    };
    let named: BTreeSet<(String, String)> = files().flat_map(|(path, text)| named_in(&path, &text)).collect();
    let sections = sections(&text);
    let mut wrong = Vec::new();
    let mut ids = BTreeSet::new();
    for section in &sections {
        let id = section.id();
        let mut complain = |what: String| wrong.push(format!("{}: {what}", section.heading));
        if !is_id(id) || section.heading.len() <= id.len() + 1 {
            complain("the heading must be an id and a title".to_owned());
        }
        if !ids.insert(id) {
            complain("the id has two sections".to_owned());
        }
        let labels: Vec<&str> = section.lines.iter().map(|(label, _)| label.as_str()).collect();
        let expected: Vec<&str> =
            LABELS.into_iter().filter(|label| !OPTIONAL.contains(label) || labels.contains(label)).collect();
        if labels != expected {
            complain(format!("the lines are {labels:?} and must be {expected:?}"));
        }
        for name in section.quoted("Directives") {
            if !directives.contains(&format!("\"{name}\"")) {
                complain(format!("`{name}` is not a directive"));
            }
        }
        for name in section.quoted("Settings") {
            if !is_setting(name) {
                complain(format!("`{name}` is not a setting"));
            }
        }
        let tests = section.quoted("Tests");
        if tests.is_empty() {
            complain("no test is named".to_owned());
        }
        for test in tests {
            if !named.contains(&(id.to_owned(), test.to_owned())) {
                complain(format!("no test {test} names {id}"));
            }
        }
    }
    for pair in sections.windows(2) {
        if pair[0].topic == pair[1].topic && pair[0].id() >= pair[1].id() {
            wrong.push(format!("{} must be before {}", pair[1].heading, pair[0].heading));
        }
    }
    assert!(wrong.is_empty(), "docs/compat.md:\n{}", wrong.join("\n"));
}

#[test]
fn indices_of_differences_are_current() {
    let text = fs::read_to_string(page()).unwrap();
    let sections = sections(&text);
    let current = with_index(&text, "index by id", &index_by_id(&sections));
    let current = with_index(&current, "index by name", &index_by_name(&sections));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(page(), current).unwrap();
    } else {
        assert!(
            current == text,
            "the indices of docs/compat.md are out of date; run UPDATE_GOLDEN=1 cargo test tidy"
        );
    }
}

#[test]
fn sections_and_indices() {
    let text = "# Page\n\n<!-- a -->\nold\n<!-- end -->\n\n## One\n\nText.\n\n### R02 Second, `x`\n\n- *Original*: a\n  b\n\
                - *Directives*: `d`, `c`\nstray\n\n## Two\n\n### R01 First\n\n- *Directives*: `c`\n";
    let sections = sections(text);
    let of = |index: usize| -> Vec<(&str, &str)> {
        sections[index].lines.iter().map(|(label, text)| (label.as_str(), text.as_str())).collect()
    };
    assert_eq!(of(0), [("Original", "a b"), ("Directives", "`d`, `c`"), ("", "stray")]);
    assert_eq!(of(1), [("Directives", "`c`")]);
    assert_eq!([&sections[0].topic, &sections[1].topic], ["One", "Two"]);
    assert_eq!(sections[0].anchor(), "r02-second-x");
    assert_eq!(index_by_id(&sections), "\n- [R01 First](#r01-first)\n- [R02 Second, `x`](#r02-second-x)\n\n");
    let names = index_by_name(&sections);
    assert!(
        names.contains("\n- `c`: [R01](#r01-first), [R02](#r02-second-x)\n- `d`: [R02](#r02-second-x)\n")
    );
    assert!(with_index(text, "a", "new\n").starts_with("# Page\n\n<!-- a -->\nnew\n<!-- end -->\n\n## One"));
}

#[test]
fn a_test_has_its_name() {
    assert_eq!(function_name("/// Of fn x.\n#[test]\nasync fn name() {"), Some("name"));
    assert_eq!(
        function_name("    #[test]\n    // A comment.\n    fn property(x in 0..9) {"),
        Some("property")
    );
    assert_eq!(file_name(Path::new("/a/tests/data/steps/one.steps")), "steps/one.steps");
}

#[test]
fn every_difference_of_a_verdict_has_an_entry() {
    let ids = differences();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, text) in texts(&root().join("tests/real_servers/verdicts")) {
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
