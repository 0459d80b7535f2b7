//! The rules of the project that a machine can check: directions between modules, no import circles, a header on every
//! file, files of a readable size, a test for each difference from the original, plain words, short and clear names.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/differences.rs"]
mod differences;
#[path = "tidy/impls.rs"]
mod impls;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/summaries.rs"]
mod summaries;
#[path = "tidy/words.rs"]
mod words;

use std::fs;
use std::path::{Path, PathBuf};

/// The modules that each module may use, as in the design. [`LIBRARIES`] are crates of the workspace.
const ALLOWED: &[(&str, &[&str])] = &[
    // The core: no I/O, no clock.
    ("value", &["perl_pattern"]),
    ("config", &["value"]),
    ("spec", &["value", "config"]),
    ("health", &["value", "spec"]),
    ("desired", &["value", "spec", "health", "ipvs_rs"]),
    ("event", &["value", "spec", "health", "ipvs_rs"]),
    ("director", &["value", "spec", "health", "desired", "event", "ipvs_rs"]),
    ("diagnosis", &["value", "spec"]),
    // The shell.
    ("net", &["value"]),
    ("sys", &["value"]),
    ("settings", &["value"]),
    ("check", &["value", "spec", "net", "sys"]),
    ("notify", &["value", "spec", "health", "event", "ipvs_rs", "net", "sys", "settings"]),
    ("report", &["value", "spec", "health", "desired", "event", "diagnosis", "ipvs_rs"]),
    ("control", &["value", "health", "report", "net", "sys"]),
    ("http", &["value", "net", "sys", "settings", "report", "control"]),
    (
        "daemon",
        &[
            "value", "config", "spec", "health", "desired", "event", "director", "ipvs_rs", "net", "sys",
            "settings", "check", "notify", "report", "control", "http",
        ],
    ),
    (
        "cli",
        &[
            "value",
            "config",
            "spec",
            "health",
            "desired",
            "diagnosis",
            "ipvs_rs",
            "net",
            "sys",
            "settings",
            "check",
            "notify",
            "report",
            "control",
            "http",
            "daemon",
        ],
    ),
    ("main", &[]),
];

/// The libraries of the workspace: crates that do not depend on ldirectord. Of them only `ipvs_rs` does I/O.
const LIBRARIES: &[&str] = &["ipvs_rs", "perl_pattern"];

/// The modules of the core, and the names that they must not use: I/O, a clock, a runtime or randomness.
const CORE: &[&str] = &["value", "config", "spec", "health", "desired", "event", "director", "diagnosis"];
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

/// The longest file, in lines without its unit tests.
const LONGEST_FILE: usize = 500;

/// Whether a module may use another.
fn allows(module: &str, used: &str) -> bool {
    let row = ALLOWED.iter().find(|(name, _)| *name == module);
    let (_, allowed) =
        row.unwrap_or_else(|| panic!("module `{module}` has no row in the table of {}", file!()));
    used == module || allowed.contains(&used)
}

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

/// The part of a file before its unit tests. A declaration such as `mod tests;` does not begin them.
fn without_tests(text: &str) -> &str {
    let begins = text.match_indices("\n#[cfg(test)]\n").map(|(at, mark)| (at, &text[at + mark.len()..]));
    let is_inline = |rest: &str| {
        let line = rest.lines().next().unwrap_or_default();
        line.contains("mod ") && line.ends_with('{')
    };
    let inline = begins.filter(|(_, rest)| is_inline(rest)).map(|(at, _)| at).next();
    inline.map_or(text, |at| &text[..at])
}

#[test]
fn a_declared_test_module_does_not_end_a_file() {
    let text = "//! x\n#[cfg(test)]\nmod tests;\nfn a() {}\n\n#[cfg(test)]\nmod more {\n}\n";
    assert_eq!(without_tests(text), "//! x\n#[cfg(test)]\nmod tests;\nfn a() {}\n");
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The libraries and modules that a text names with `LIBRARY::` or `crate::`, each with its line.
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
        let text = fs::read_to_string(&path).unwrap();
        for (line, used) in uses(without_tests(&text)) {
            if !allows(&module, &used) {
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
                wrong.push(format!("{}: {lines} lines, the limit is {LONGEST_FILE}", path.display()));
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

/// All text files below a folder.
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

/// The address for bugs is in one line of Cargo.toml. Packages and manual take it from there.
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
    assert!(before.lines().last().unwrap().contains("The address for bug reports"), "the line has no mark");
}
