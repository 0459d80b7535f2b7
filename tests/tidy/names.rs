//! The names of test functions are short enough to be read in the output of a test run, and the name of a type that
//! several modules see is the name of one type only.

use std::collections::BTreeMap;

use syn::{Item, Visibility};

use crate::differences::{function_name, test_functions};
use crate::modules::{Crate, is_test};
use crate::words::shown;
use crate::{root, rust_files};

/// The longest name of a test function, in characters.
const LONGEST_TEST_NAME: usize = 60;

/// Folders with tests.
const FOLDERS: &[&str] = &["src", "tests", "examples", "benches", "ipvs-rs", "perl-pattern", "fuzz"];

/// The names of the test functions of a source that are too long.
fn long_test_names(source: &str) -> Vec<String> {
    let tests = test_functions(source);
    let names = tests.iter().filter_map(|test| function_name(test));
    names.filter(|name| name.len() > LONGEST_TEST_NAME).map(str::to_owned).collect()
}

#[test]
fn names_of_tests_are_not_too_long() {
    let mut wrong = Vec::new();
    for path in FOLDERS.iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let source = std::fs::read_to_string(&path).unwrap();
        wrong.extend(long_test_names(&source).into_iter().map(|name| format!("{}: {name}", shown(&path))));
    }
    assert!(
        wrong.is_empty(),
        "names of tests with more than {LONGEST_TEST_NAME} characters:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_long_name_of_a_test_is_found() {
    let (long, short) = ("a".repeat(61), "b".repeat(60));
    let source = format!(
        "/// Text.\n#[tokio::test]\nasync fn {long}() {{\n}}\n\n#[test]\nfn {short}() {{\n}}\n\nfn not_a_test_{long}() {{\n}}\n"
    );
    assert_eq!(long_test_names(&source), [long]);
}

/// The types that the modules of a source define, each with whether other modules see it. Test code is left out.
fn types(items: &[Item]) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for item in items {
        let (attributes, name, visibility) = match item {
            Item::Struct(item) => (&item.attrs, &item.ident, &item.vis),
            Item::Enum(item) => (&item.attrs, &item.ident, &item.vis),
            Item::Union(item) => (&item.attrs, &item.ident, &item.vis),
            Item::Trait(item) => (&item.attrs, &item.ident, &item.vis),
            Item::Type(item) => (&item.attrs, &item.ident, &item.vis),
            Item::Mod(item) => {
                let inside = item.content.as_ref().filter(|_| !is_test(&item.attrs));
                found.extend(inside.map(|(_, items)| types(items)).unwrap_or_default());
                continue;
            }
            _ => continue,
        };
        // A type may have another definition for a feature or in tests.
        if !attributes.iter().any(|attribute| attribute.path().is_ident("cfg")) {
            found.push((name.to_string(), !matches!(visibility, Visibility::Inherited)));
        }
    }
    found
}

/// The names that a visible type has and another type, too, each with the files. Private types of different modules
/// may share a name.
fn ambiguous<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut places: BTreeMap<String, (bool, Vec<&str>)> = BTreeMap::new();
    for (path, text) in sources {
        for (name, is_visible) in types(&syn::parse_file(text).unwrap().items) {
            let place = places.entry(name).or_default();
            place.0 |= is_visible;
            place.1.push(path);
        }
    }
    let twice = places.into_iter().filter(|(_, (is_visible, files))| *is_visible && files.len() > 1);
    twice.map(|(name, (_, files))| format!("{name}: {}", files.join(", "))).collect()
}

#[test]
fn a_visible_type_has_a_name_of_its_own() {
    let (folder, modules) = (root().join("src"), Crate::of("src"));
    let paths = rust_files(&folder).into_iter();
    let paths = paths.filter(|path| modules.contains(path.strip_prefix(&folder).unwrap()));
    let sources: Vec<_> = paths.map(|path| (shown(&path), std::fs::read_to_string(path).unwrap())).collect();
    assert!(sources.len() > 100, "{}", sources.len());
    let wrong = ambiguous(sources.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    assert!(wrong.is_empty(), "one name for two types:\n{}", wrong.join("\n"));
}

#[test]
fn one_name_for_two_types_is_found() {
    let found = |one: &str, two: &str| ambiguous([("one.rs", one), ("two.rs", two)]);
    assert_eq!(found("pub struct A;", "mod inner { enum A {} }"), ["A: one.rs, two.rs"]);
    assert_eq!(found("pub(super) trait A {}", "pub type A = u8;"), ["A: one.rs, two.rs"]);
    assert_eq!(found("struct A;", "struct A;"), [""; 0]);
    assert_eq!(found("pub struct A;", "#[cfg(test)] mod tests { struct A; }"), [""; 0]);
    assert_eq!(found("pub struct A;", "fn f() { struct A; }"), [""; 0]);
}
