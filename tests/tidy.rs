//! The house rules that a machine can check: directions between modules, a header on every file, files of a readable size.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use besides itself: the table of the design. [`LIBRARIES`] are crates of the workspace.
const ALLOWED: &[(&str, &[&str])] = &[
    // The core: no I/O, no clock.
    ("value", &["perl_pattern"]),
    ("config", &["value"]),
    ("plan", &["value", "config"]),
    ("health", &["value", "plan"]),
    ("desired", &["value", "plan", "health", "ipvs_rs"]),
    ("event", &["value", "plan", "health", "ipvs_rs"]),
    ("director", &["value", "plan", "health", "desired", "event", "ipvs_rs"]),
    // The shell.
    ("net", &["value"]),
    ("sys", &["value"]),
    ("settings", &["value"]),
    ("check", &["value", "plan", "net", "sys"]),
    ("notify", &["value", "plan", "health", "event", "ipvs_rs", "net", "sys", "settings"]),
    ("report", &["value", "plan", "health", "desired", "ipvs_rs"]),
    (
        "daemon",
        &[
            "value", "config", "plan", "health", "desired", "event", "director", "ipvs_rs", "net", "sys",
            "settings", "check", "notify", "report",
        ],
    ),
    (
        "cli",
        &[
            "value", "config", "plan", "health", "desired", "ipvs_rs", "net", "sys", "settings", "check",
            "notify", "report", "daemon",
        ],
    ),
    ("main", &[]),
];

/// The libraries of the workspace: crates that know nothing of ldirectord. Of them only `ipvs_rs` does I/O.
const LIBRARIES: &[&str] = &["ipvs_rs", "perl_pattern"];

/// What a core module must not name: it would be I/O, a clock, a runtime or chance.
const CORE: &[&str] = &["value", "config", "plan", "health", "desired", "event", "director"];
const NOT_IN_THE_CORE: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "tokio",
    "SystemTime",
    "rand::",
];

/// Lines of a file without its tests.
const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The part of a file before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The crates and modules that a text names with `crate::`, `ldirectord_rs::` or the name of a library, each with its line.
fn uses(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for library in LIBRARIES.iter().filter(|library| code.contains(&format!("{library}::"))) {
            found.push((number + 1, (*library).to_owned()));
        }
        for part in code.split("crate::").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(!name.is_empty(), "line {}: write one `use crate::…` a module: {line}", number + 1);
            found.push((number + 1, name));
        }
    }
    found
}

#[test]
fn modules_use_only_what_the_design_allows() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        if path.ends_with("src/lib.rs") || path.ends_with("tests.rs") {
            continue;
        }
        let module = module_of(&path);
        let (_, allowed) = ALLOWED
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("module `{module}` has no row in the table of {}", file!()));
        let text = fs::read_to_string(&path).unwrap();
        for (line, used) in uses(without_tests(&text)) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}:{line}: `{module}` must not use `{used}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_does_no_io() {
    let mut wrong = Vec::new();
    let modules = rust_files(&root().join("src"));
    let core = modules.into_iter().filter(|path| CORE.contains(&module_of(path).as_str()));
    for path in core.chain(rust_files(&root().join("perl-pattern/src"))) {
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in NOT_IN_THE_CORE.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{}:{}: `{word}` in the core", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_can_be_read_in_one_go() {
    let mut wrong = Vec::new();
    for directory in ["src", "ipvs-rs", "perl-pattern", "tests", "benches", "examples"] {
        let directory = root().join(directory);
        if !directory.is_dir() {
            continue;
        }
        for path in rust_files(&directory) {
            let text = fs::read_to_string(&path).unwrap();
            if !text.starts_with("//!") {
                wrong.push(format!("{}: no `//!` header", path.display()));
            }
            let lines = without_tests(&text).lines().count();
            if lines > LONGEST_FILE {
                wrong.push(format!("{}: {lines} lines, {LONGEST_FILE} are the limit", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_map_names_every_module() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for (module, _) in ALLOWED.iter().filter(|(module, _)| *module != "main") {
        assert!(map.contains(&format!("[`{module}`]")), "the map in src/lib.rs does not name `{module}`");
        assert!(map.contains(&format!("pub mod {module};")), "src/lib.rs has no module `{module}`");
    }
}

/// All files below a folder, as text where they are text.
fn texts(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(texts(&path));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path, text));
        }
    }
    found
}

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

/// The part of a file of `src` that is a test; `test_modules` are the files that their parents declare under `#[cfg(test)]`.
fn tests_of<'a>(path: &Path, text: &'a str, test_modules: &BTreeSet<PathBuf>) -> &'a str {
    let in_tests = path.components().any(|part| part.as_os_str() == "tests");
    if in_tests || path.ends_with("tests.rs") || test_modules.contains(path) {
        return text;
    }
    text.find("\n#[cfg(test)]\nmod tests {").map_or("", |begin| &text[begin..])
}

/// The files of modules without a body that stand under `#[cfg(test)]`: `#[cfg(test)] mod steps;`.
fn test_modules(files: &[(PathBuf, String)]) -> BTreeSet<PathBuf> {
    let declared = |(path, text): &(PathBuf, String)| {
        let names = text
            .split("\n#[cfg(test)]\nmod ")
            .skip(1)
            .filter_map(|rest| rest.lines().next()?.strip_suffix(';'));
        let folder = if path.ends_with("mod.rs") {
            path.parent().unwrap().to_owned()
        } else {
            path.with_extension("")
        };
        names.map(|name| folder.join(format!("{name}.rs"))).collect::<Vec<_>>()
    };
    files.iter().flat_map(declared).collect()
}

fn ids_in(text: &str) -> impl Iterator<Item = String> {
    words(text).filter(|word| is_id(word)).map(ToOwned::to_owned)
}

/// An id in a comment of the program says why, and proves nothing.
#[test]
fn d5_an_id_in_the_program_is_not_a_test() {
    let text = "//! B01\nfn f() {} // B02\n\n#[cfg(test)]\nmod tests {\n    // B03\n}\n";
    let ids = |path: &str, text: &str, modules: &BTreeSet<PathBuf>| {
        ids_in(tests_of(Path::new(path), text, modules)).collect::<Vec<_>>()
    };
    let none = BTreeSet::new();
    assert_eq!(ids("src/one.rs", text, &none), ["B03"]);
    assert_eq!(ids("src/one.rs", "// B01\n\n#[cfg(test)]\nmod tests;\n// B02\n", &none), [""; 0]);
    for path in ["src/one/tests.rs", "src/one/tests/two.rs"] {
        assert_eq!(ids(path, "// B04", &none), ["B04"]);
    }
    let parent = (PathBuf::from("src/one/mod.rs"), "mod two;\n#[cfg(test)]\nmod steps;\n".to_owned());
    let modules = test_modules(&[parent]);
    assert_eq!(ids("src/one/steps.rs", "// B05", &modules), ["B05"]);
    assert_eq!(ids("src/one/two.rs", "// B06", &modules), [""; 0]);
}

#[test]
fn every_difference_is_named_by_a_test() {
    let source = texts(&root().join("src"));
    let modules = test_modules(&source);
    let in_source =
        source.iter().flat_map(|(path, text)| ids_in(tests_of(path, text, &modules)).collect::<Vec<_>>());
    let tests = [texts(&root().join("tests")), texts(&root().join("perl-pattern/tests"))].concat();
    // This file names ids that do not exist.
    let others =
        tests.iter().filter(|(path, _)| !path.ends_with("tidy.rs")).flat_map(|(_, text)| ids_in(text));
    let named: BTreeSet<String> = in_source.chain(others).collect();
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

/// The owner writes the address for bugs into one line; packages and manual take it from there.
#[test]
fn the_address_for_bugs_stands_in_one_line() {
    let address = env!("CARGO_PKG_AUTHORS").split(['<', '>']).nth(1).unwrap();
    let mut places = Vec::new();
    for name in [
        "src",
        "ipvs-rs",
        "perl-pattern",
        "docs",
        "etc",
        "examples",
        "packaging",
        "tests",
        "benches",
        "fuzz",
        "Cargo.toml",
        "Makefile",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ] {
        let path = root().join(name);
        let texts = if path.is_dir() {
            texts(&path)
        } else {
            vec![(path.clone(), fs::read_to_string(&path).unwrap_or_default())]
        };
        for (path, text) in texts {
            let lines = text.lines().enumerate().filter(|(_, line)| line.contains(address));
            places.extend(lines.map(|(number, _)| format!("{}:{}", path.display(), number + 1)));
        }
    }
    assert_eq!(places.len(), 1, "{places:#?}");
    assert!(places[0].contains("Cargo.toml:"), "{places:?}");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (before, _) = manifest.split_once("\nauthors = [").unwrap();
    assert!(before.lines().last().unwrap().contains("The owner's address goes here"), "the line has no mark");
}
