//! The names of test functions are short enough to be read in the output of a test run.

use crate::differences::{function_name, test_functions};
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
