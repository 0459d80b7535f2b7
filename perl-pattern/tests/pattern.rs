//! Tests of the Perl dialect pair by pair, of the places of errors, and of the limits of a match.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use perl_pattern::Pattern;
use proptest::prelude::*;

const PAIRS: &str = include_str!("pairs.txt");

/// A column of the table: `%HH` is a byte.
fn column(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

fn verdict(pattern: &str, subject: &[u8]) -> &'static str {
    match Pattern::parse(pattern).map(|pattern| pattern.is_match(subject)) {
        Err(_) => "refused",
        Ok(Ok(true)) => "match",
        Ok(Ok(false)) => "no",
        Ok(Err(_)) => "limit",
    }
}

/// Each answer is that of Perl. A pattern that the engine cannot express is refused, and the table names the
/// difference.
#[test]
fn answers_are_those_of_the_table() {
    let (mut same, mut refused, mut wrong) = (0, 0, Vec::new());
    for line in PAIRS.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let columns: Vec<&str> = line.split('\t').collect();
        let pattern = String::from_utf8(column(columns[0])).unwrap();
        let ours = verdict(&pattern, &column(columns[1]));
        match columns.get(3) {
            Some(id) if id.starts_with("P-") && ours == "refused" => refused += 1,
            None if ours == columns[2] => same += 1,
            _ => wrong.push(format!("{line}\there: {ours}")),
        }
    }
    println!("{} pairs: {same} as Perl, {refused} refused only here", same + refused + wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(same > 500);
}

#[test]
fn an_error_says_where_it_is() {
    for (pattern, offset, word) in [
        ("OK)", 2, "closes no group"),
        ("ab(c", 2, "has no matching )"),
        ("é[a", 2, "has no matching ]"),
        ("ab*+?", 4, "one quantifier follows another"),
        ("*a", 0, "nothing to repeat"),
        ("a(?R)", 1, "recursion"),
        ("é\\X", 2, "\\X is not supported"),
        ("a(*PRUNE)", 1, "verbs"),
        ("x\\b{wb}", 1, "word boundary"),
        ("(a)\\g{7}", 3, "no group 7"),
        ("é(?<=a+)b", 2, "look-behind"),
        ("a{65535}", 1, "65534"),
        ("aa(?:a{9999}){9999}", 6, "too large"),
        ("[z-a]", 1, "ends before it begins"),
        ("a\\", 1, "ends in a \\"),
    ] {
        let error = Pattern::parse(pattern).unwrap_err();
        assert!(error.message.contains(word), "{pattern}: {error}");
        assert_eq!(error.offset, offset, "{pattern}: {error}");
    }
    let deep = "(".repeat(60) + &")".repeat(60);
    assert_eq!(Pattern::parse(&deep).unwrap_err().offset, 50);
}

/// Each match ends with an answer or at the limit of steps.
#[test]
fn every_match_ends() {
    let text = "a".repeat(5000);
    for (pattern, answer) in
        [("(a+)+$", "match"), ("(a|aa)+$", "match"), ("(x+x+)+y", "no"), ("(a+a+)+y", "no")]
    {
        assert_eq!(verdict(pattern, text.as_bytes()), answer, "{pattern}");
    }
    for pattern in ["(a|aa)+(?!x)$b", "(?=(a+)+$)b", "(?=(a|aa)+$)b", "(a|aa)+\\1b", "(?<!x)(a|a)+(?!y)b"] {
        assert!(matches!(verdict(pattern, text.as_bytes()), "no" | "limit"), "{pattern}");
    }
}

/// A long reply does not exhaust the limit of steps.
#[test]
fn a_long_reply_is_read_to_its_end() {
    let mut text = "lorem ipsum dolor sit amet\n".repeat(20_000).into_bytes();
    text.extend_from_slice(b"UP\n\nOK\n");
    for pattern in [
        "OK$",
        "(?m)^OK$",
        "(?m)^$",
        "OK(?!X)",
        "(?<=O)K",
        "(?=.*OK)",
        "(?s)(?=.*OK)(?=.*UP)",
        "UP(?s)(?=.*OK)",
        "(?>UP\\s+)OK",
    ] {
        assert_eq!(Pattern::parse(pattern).unwrap().is_match(&text), Ok(true), "{pattern}");
    }
}

#[test]
fn patterns_compare_by_their_source() {
    let one = Pattern::parse("OK$").unwrap();
    assert_eq!(one.source(), "OK$");
    assert_eq!(format!("{one:?}"), "/OK$/");
    assert_eq!(one, Pattern::parse("OK$").unwrap());
    assert!(one < Pattern::parse("OK\\Z").unwrap());
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "(", ")", "(?", "(?:", "(?i)", "(?x)", "(?<n>", "(?(1)", "(*", "[", "]", "[^", "[:", ":]", "\\",
            "{", "}", "{1,", "*", "+", "?", "|", "^", "$", ".", "-", "\\p{", "\\x{", "\\g{", "\\k<", "\\c",
            "1", "n>", "#", "é", "a",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_input_panics(pattern in pieces(), subject in prop::collection::vec(any::<u8>(), 0..40)) {
        match Pattern::parse(&pattern) {
            Ok(pattern) => drop(pattern.is_match(&subject)),
            Err(error) => prop_assert!(pattern.is_char_boundary(error.offset), "{pattern}: {error:?}"),
        }
    }
}
